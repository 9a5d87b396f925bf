//! Read buffers that were let go, for the next read: no allocation and, above all, no fresh pages for each frame. And the
//! runs of write queues, so that a connection that is idle keeps none.
//!
//! May import: nothing of the project. Must never: keep a buffer that anyone else can still see, or one of unknown size.
//!
//! A flow of frames of some tens of KiB takes and frees buffers of that size all the time. The C library's allocator
//! gives the free end of its heap back to the kernel above 128 KiB, so each such buffer came back as pages to be faulted
//! in and zeroed: more than half of what a Produce of 100 kB cost.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// The largest buffer that is kept, in bytes.
pub(super) const LARGEST: usize = 256 * 1024;
/// How many each thread keeps: with those of the largest size 4 MiB.
const KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// How many runs each thread keeps: of 1 KiB each.
const RUNS_KEPT: usize = 64;

thread_local! {
    static RUNS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty run with room for `size` bytes at least: one that was given back, where it is as large.
pub(super) fn take_run(size: usize) -> Vec<u8> {
    let kept = RUNS.with_borrow_mut(Vec::pop).filter(|run| run.capacity() >= size);
    kept.unwrap_or_else(|| Vec::with_capacity(size))
}

/// Takes back a run whose bytes are written. All are of one size; whoever has a larger one lets it go.
pub(super) fn give_run(mut run: Vec<u8>) {
    run.clear();
    RUNS.with_borrow_mut(|runs| {
        if runs.len() < RUNS_KEPT {
            runs.push(run);
        }
    });
}

/// An empty buffer with room for `size` bytes.
pub(super) fn take(size: usize) -> BytesMut {
    if let Some(mut buffer) = POOL.with_borrow_mut(Vec::pop)
        && buffer.try_reclaim(size)
    {
        // Not more, or a read would end somewhere in the next frame, whose start must then be moved.
        drop(buffer.split_off(size));
        return buffer;
    }
    // Too small: frames have grown. It is not put back, so that the pool follows them.
    BytesMut::with_capacity(size)
}

/// Takes back the buffer that bytes lie in, if nobody else holds a part of it. For whoever is done with a frame; a frame that
/// is simply dropped frees its buffer instead.
pub fn recycle(bytes: Bytes) {
    if let Ok(buffer) = bytes.try_into_mut() {
        give(buffer);
    }
}

/// Takes back a buffer, unless others hold a part of it, or it is too large to be kept.
pub(super) fn give(mut buffer: BytesMut) {
    buffer.clear();
    let size_fits = buffer.try_reclaim(SMALLEST) && !buffer.try_reclaim(LARGEST + 1);
    if size_fits {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        });
    }
}

/// What is smaller is not a read buffer.
const SMALLEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> usize {
        POOL.with_borrow(Vec::len)
    }

    fn filled(size: usize) -> BytesMut {
        let mut buffer = BytesMut::with_capacity(size);
        buffer.resize(size, 7);
        buffer
    }

    #[test]
    fn the_last_frame_of_a_buffer_brings_all_of_it_back() {
        let mut buffer = filled(100_000);
        let place = buffer.as_ptr();
        let first = buffer.split_to(60_000).freeze();
        let second = buffer.split_to(40_000).freeze();
        drop(buffer);
        recycle(first);
        assert_eq!(kept(), 0, "a part of it is still seen");
        recycle(second);
        assert_eq!(kept(), 1);
        let again = take(90_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert_eq!(again.capacity(), 90_000);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn neither_huge_nor_tiny_nor_foreign_bytes_are_kept() {
        let mut huge = filled(LARGEST + 1);
        let tail = huge.split_off(LARGEST - 9).freeze();
        drop(huge);
        recycle(tail);
        recycle(filled(10).freeze());
        recycle(Bytes::from_static(b"static"));
        recycle(Bytes::from(vec![0; 1000]));
        assert_eq!(kept(), 0);
    }

    #[test]
    fn the_pool_is_bounded_and_follows_a_growing_size() {
        for _ in 0..KEPT + 4 {
            give(filled(SMALLEST));
        }
        assert_eq!(kept(), KEPT);
        let larger = take(SMALLEST * 2);
        assert_eq!(larger.capacity(), SMALLEST * 2);
        assert_eq!(kept(), KEPT - 1);
    }
}
