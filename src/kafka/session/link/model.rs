//! A link to the model check's brokers. Tests only: it is plugged in instead of being dialled, and can be copied while
//! nothing lies in its buffers, unwritten or unread.

use super::{Due, Link, Open, State};
use crate::kafka::cluster::{DialError, Dialed, Peer, Versions};
use crate::kafka::model::print::Print;
use crate::kafka::wire;
use crate::net::{FrameReader, Stream, WriteQueue};
use std::sync::Arc;

impl Link {
    /// Whether it is being dialled.
    pub(in crate::kafka::session) fn is_dialing(&self) -> bool {
        matches!(self.state, State::Dialing(_))
    }

    /// What becomes of the dialling: a connection, or none.
    pub(in crate::kafka::session) fn dialed(&mut self, stream: Option<Stream>) {
        let versions = || {
            let mut answer = wire::response(18).unwrap().new();
            let mut produce = answer.new_struct("api_keys");
            produce.set_i16("max_version", 11);
            answer.push_struct("api_keys", produce);
            Arc::new(Versions::new(answer))
        };
        let peer = Peer { at: ([127, 0, 0, 1], 1).into(), since: crate::time::now(), proven: true };
        let result = stream.map(|stream| Dialed {
            stream,
            peer,
            versions: versions(),
            identity: None,
            renew_at: None,
            session: None,
        });
        let result = result.ok_or(DialError::UnknownNode(self.node));
        self.state = State::Dialing(Box::pin(std::future::ready(result)));
    }

    /// A copy on another stream, which is taken if the link is open.
    pub(in crate::kafka::session) fn copy(&self, stream: &mut Option<Stream>) -> Self {
        let state = match &self.state {
            State::Closed => State::Closed,
            State::Dialing(_) => State::Dialing(Box::pin(std::future::pending())),
            State::Open(open) => {
                assert!(open.out.is_empty() && open.reader.buffered() == 0 && open.silent.is_empty());
                // What was written counts from here: the ends of what is out lie behind.
                let due = open.due.iter().map(|due| Due { end: 0, ..*due }).collect();
                self.metrics.connections.inc();
                self.metrics.in_flight.add(i64::try_from(open.due.len()).unwrap());
                State::Open(Box::new(Open {
                    stream: stream.take().unwrap(),
                    reader: FrameReader::new(self.max_frame),
                    out: WriteQueue::new(self.write_queue),
                    due,
                    versions: Arc::clone(&open.versions),
                    silent: open.silent.clone(),
                    had_silent: open.had_silent,
                    renewing: None,
                    renewals: Arc::clone(&self.renewals),
                }))
            }
        };
        let metrics = Arc::clone(&self.metrics);
        Self {
            node: self.node,
            state,
            metrics,
            max_frame: self.max_frame,
            write_queue: self.write_queue,
            credentials: self.credentials.clone(),
            message: self.message,
            unjudged: self.unjudged,
            client_id: self.client_id.clone(),
            bound: self.bound,
            renewals: Arc::clone(&self.renewals),
            was_open: self.was_open,
            peer: self.peer,
            refusals: self.refusals,
        }
    }

    /// Prints what is out on it.
    pub(in crate::kafka::session) fn print(&self, print: &mut Print) {
        print.put(&(self.node, self.is_open(), self.is_closed()));
        if let State::Open(open) = &self.state {
            print.put(&open.due.iter().map(|due| (due.slot, due.part)).collect::<Vec<_>>());
        }
    }
}
