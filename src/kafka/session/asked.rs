//! What lay unread in the client's socket when another of its connections asked ([`Order`](crate::kafka::order::Order)): up to where
//! that is, and when it is read.

use super::Session;

/// A window that the kernel has closed has more than this in it, in bytes: the smallest that it begins with is 64 KiB. Where it isn't
/// closed though so much has arrived, there is soon nothing unread, which answers, too.
const CLOSED: usize = 32 << 10;
/// What may lie in the client's own socket behind a closed window, in bytes: Linux' `net.ipv4.tcp_wmem` ends at 4 MiB where nobody has
/// changed it.
const BEHIND: u64 = 4 << 20;

/// A question that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    number: u64,
    /// What begins before this byte of the client's was there when it was asked.
    exact: u64,
    /// It is answered when so many bytes are taken: as many may have been written by then.
    upto: u64,
}

impl Session {
    /// Notes how far the client's stream has come by now, if another connection has asked; and answers what has been asked before, if
    /// that is read.
    pub(super) fn look_at_question(&mut self) {
        if let Some(asked) = self.question.filter(|asked| self.reader.taken() >= asked.upto) {
            self.answer(asked);
        }
        if self.question.is_some() {
            return;
        }
        let Some(number) = self.own.asked() else { return };
        let (exact, upto) = self.client.unread().map_or((u64::MAX, u64::MAX), |unread| {
            let exact = self.reader.taken() + (self.reader.buffered() + unread) as u64;
            // Whether there is room by now says nothing of the window: it may have been made just now.
            (exact, if unread > CLOSED { exact + BEHIND } else { exact })
        });
        self.question = Some(Asked { number, exact, upto });
    }

    /// Answers what was asked if nothing lies unread, or nothing will be read any more. `is_read`: the last look found nothing.
    pub(super) fn answer_question(&mut self, is_read: bool) {
        while let Some(asked) = self.question {
            let nothing =
                self.reader.buffered() == 0 && self.client.unread().map_or(is_read, |bytes| bytes == 0);
            let is_over = self.eof || self.is_draining || self.lost.is_some();
            let is_switched = self.is_bypassing() != self.cluster.is_bypassed();
            if !nothing && !is_over && !is_switched {
                return;
            }
            self.answer(asked);
            self.look_at_question(); // what was asked meanwhile has woken nobody
        }
    }

    fn answer(&mut self, asked: Asked) {
        self.question = None;
        self.cluster.order.has_read(&self.own, asked.number);
    }

    /// Whether a frame that was taken just now, of `len` bytes with its prefix, was there when others asked, or may have been.
    pub(super) fn was_there(&self, len: usize) -> bool {
        self.question.is_none_or(|asked| {
            let began = self.reader.taken().saturating_sub(len as u64);
            began < asked.exact || self.own.asked().is_some_and(|number| number > asked.number)
        })
    }
}
