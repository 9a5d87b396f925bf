use std::future::poll_fn;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

async fn poll_once(queue: &mut WriteQueue, stream: &mut Stream) -> Poll<io::Result<()>> {
    // A test polls far more often than it waits; without this it would use up the runtime's budget for one turn.
    tokio::task::yield_now().await;
    poll_fn(|cx| Poll::Ready(queue.poll_write(cx, stream))).await
}

fn bytes(len: usize, fill: u8) -> Bytes {
    Bytes::from(vec![fill; len])
}

#[test]
fn short_pieces_share_a_run_and_long_ones_are_not_copied() {
    let mut q = WriteQueue::new(1000);
    let long = bytes(100_000, 1);
    q.push_frame([bytes(8, 2), bytes(40, 3)]).unwrap();
    q.push_frame([bytes(8, 4), long.clone()]).unwrap();
    q.push_frame([bytes(3, 5)]).unwrap();
    assert_eq!(q.segments.len(), 3);
    assert!(matches!(&q.segments[1], Segment::Shared(b) if b.as_ptr() == long.as_ptr()));
    assert_eq!(q.segments[0].unsent()[..4], [0, 0, 0, 48]);
    assert_eq!(q.segments[0].unsent()[52..56], 100_008_i32.to_be_bytes());
    assert_eq!(q.len_bytes(), 4 + 48 + 4 + 100_008 + 4 + 3);
    assert_eq!(q.pushed_total(), q.len_bytes() as u64);
    assert!(q.is_full());
}

#[test]
fn empty_pieces_leave_nothing_behind() {
    let mut q = WriteQueue::new(1);
    q.push(Bytes::new());
    assert!(q.is_empty());
    q.push_frame(Vec::new()).unwrap();
    assert_eq!(q.len_bytes(), 4);
}

#[test]
fn full_is_from_the_limit_on() {
    let mut q = WriteQueue::new(10);
    q.push(bytes(9, 0));
    assert!(!q.is_full());
    q.push(bytes(1, 0));
    assert!(q.is_full());
    q.push(bytes(5000, 0));
    assert_eq!(q.len_bytes(), 5010);
}

#[test]
fn a_frame_that_no_prefix_can_announce_is_refused_whole() {
    let mut q = WriteQueue::new(10);
    let gib = Bytes::from(vec![0; 1 << 30]);
    let err = q.push_frame([gib.clone(), gib]).unwrap_err();
    assert_eq!(err, FrameTooLong { len: 1 << 31 });
    assert!(q.is_empty());
}

#[tokio::test]
async fn the_counters_tell_whether_a_frame_has_begun_to_leave() {
    let (ours, mut peer) = duplex(10);
    let mut stream = Stream::Memory(ours);
    let mut q = WriteQueue::new(1000);
    let first = q.pushed_total();
    q.push_frame([bytes(6, 1)]).unwrap();
    let second = q.pushed_total();
    q.push_frame([bytes(600, 2)]).unwrap();
    assert_eq!(q.written_total(), 0);
    assert!(poll_once(&mut q, &mut stream).await.is_pending());
    assert!(q.written_total() > first, "the first frame has left");
    assert!(q.written_total() <= second, "not a byte of the second has left");
    let mut got = [0; 10];
    peer.read_exact(&mut got).await.unwrap();
    assert_eq!(got, [0, 0, 0, 6, 1, 1, 1, 1, 1, 1]);
    assert!(poll_once(&mut q, &mut stream).await.is_pending());
    assert!(q.written_total() > second, "a part of the second has left");
    assert_eq!(q.len_bytes(), 604 - 10);
    q.clear();
    assert!(q.is_empty());
    assert_eq!((q.len_bytes(), q.pushed_total()), (0, q.written_total()));
}

/// Frames as requests in parts are: what was written for them, and slices of what is kept. Wherever a write ends, at each
/// boundary between two pieces and one byte to either side of it, the counters say exactly which frames have left, in part
/// or whole.
#[tokio::test]
async fn wherever_a_vectored_write_ends_the_counters_are_exact() {
    let kept = bytes(9_000, 7);
    let frames = || {
        let (head, tail) = (bytes(90, 1), bytes(700, 3));
        [
            vec![head.clone(), kept.slice(..5_000), bytes(20, 2), kept.slice(5_000..), tail.clone()],
            vec![bytes(30, 4)],
            vec![head, kept.slice(100..4_300), Bytes::new()],
            vec![kept.slice(..600), kept.slice(..600)],
        ]
    };
    let mut want = Vec::new();
    let (mut ends, mut cuts) = (Vec::new(), Vec::new());
    for frame in frames() {
        let len: usize = frame.iter().map(Bytes::len).sum();
        want.extend_from_slice(&i32::try_from(len).unwrap().to_be_bytes());
        cuts.push(want.len());
        for piece in frame {
            want.extend_from_slice(&piece);
            cuts.push(want.len());
        }
        ends.push(want.len() as u64);
    }
    for cut in cuts.into_iter().flat_map(|cut| [cut - 1, cut, cut + 1]).filter(|cut| *cut <= want.len()) {
        // The pipe takes this much and no more until it is read.
        let (ours, mut peer) = duplex(cut);
        let mut stream = Stream::Memory(ours);
        let mut q = WriteQueue::new(1_000);
        let mut told = Vec::new();
        for frame in frames() {
            q.push_frame(frame).unwrap();
            told.push(q.pushed_total());
        }
        assert_eq!(told, ends);
        assert_eq!(poll_once(&mut q, &mut stream).await.is_ready(), cut == want.len());
        assert_eq!(q.written_total(), cut as u64);
        let left = |written: u64| ends.iter().filter(|end| **end <= written).count();
        let mut got = vec![0; cut];
        peer.read_exact(&mut got).await.unwrap();
        assert!(got == want[..cut]);
        assert_eq!(left(q.written_total()), ends.iter().filter(|end| **end <= got.len() as u64).count());
        assert_eq!(q.len_bytes(), want.len() - cut);
        while !q.is_empty() {
            let _ = poll_once(&mut q, &mut stream).await;
            let mut part = vec![0; usize::try_from(q.written_total()).unwrap() - got.len()];
            peer.read_exact(&mut part).await.unwrap();
            got.extend_from_slice(&part);
        }
        assert!(got == want, "the rest follows from byte {cut} on");
    }
    assert!(kept.iter().all(|b| *b == 7), "what is kept for a replay is as it was");
}

#[tokio::test]
async fn an_empty_queue_holds_no_big_allocation() {
    let (ours, mut peer) = duplex(1 << 20);
    let mut stream = Stream::Memory(ours);
    let mut q = WriteQueue::new(1000);
    for _ in 0..300 {
        q.push_frame([bytes(600, 1)]).unwrap();
    }
    assert!(poll_once(&mut q, &mut stream).await.is_ready());
    assert!(q.is_empty() && q.segments.capacity() <= KEEP_SEGMENTS);
    let mut got = vec![0; 300 * 604];
    peer.read_exact(&mut got).await.unwrap();
    assert!(got.chunks(604).all(|f| f[..4] == 600_i32.to_be_bytes() && f[4..].iter().all(|b| *b == 1)));
    // The run is used again: the steady state allocates nothing for a prefix.
    let run = pool::take_run(1);
    let place = run.as_ptr();
    assert_eq!(run.capacity(), RUN_SIZE, "the queue keeps none for itself");
    pool::give_run(run);
    q.push_frame([bytes(5, 1)]).unwrap();
    assert_eq!(q.segments[0].unsent().as_ptr(), place);
}

#[tokio::test]
async fn a_closed_peer_is_an_error() {
    let (ours, peer) = duplex(10);
    drop(peer);
    let mut stream = Stream::Memory(ours);
    let mut q = WriteQueue::new(1000);
    q.push(bytes(1, 1));
    assert!(
        matches!(poll_once(&mut q, &mut stream).await, Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::BrokenPipe)
    );
    assert_eq!(q.written_total(), 0);
}

#[tokio::test]
async fn large_frames_pass_a_real_socket_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut stream = Stream::Tcp(listener.accept().await.unwrap().0);
    let mut q = WriteQueue::new(1000);
    let mut want = Vec::new();
    for i in 0..40_u8 {
        let part = bytes(usize::from(i) * 9_000, i);
        want.extend_from_slice(&i32::try_from(part.len()).unwrap().to_be_bytes());
        want.extend_from_slice(&part);
        q.push_frame([part]).unwrap();
    }
    let mut got = vec![0; want.len()];
    let write = poll_fn(|cx| q.poll_write(cx, &mut stream));
    let (sent, read) =
        timeout(Duration::from_secs(30), async { tokio::join!(write, peer.read_exact(&mut got)) })
            .await
            .unwrap();
    sent.unwrap();
    read.unwrap();
    assert!(got == want);
    assert_eq!(q.written_total(), want.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is pushed and however little the stream takes at a time: the same bytes arrive, and after each step
    /// the counters agree with what arrived.
    #[test]
    fn what_is_pushed_arrives_in_order(
        pushes in prop::collection::vec((prop_oneof![0_usize..40, 400_usize..1_200], any::<bool>()), 1..100),
        pipe in 1_usize..3_000,
        polls in prop::collection::vec(any::<bool>(), 1..50),
    ) {
        let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        rt.block_on(async move {
            let (ours, mut peer) = duplex(pipe);
            let mut stream = Stream::Memory(ours);
            let mut q = WriteQueue::new(5_000);
            let (mut want, mut got, mut polls) = (Vec::new(), Vec::new(), polls.iter().cycle());
            let mut fill = 0_u8;
            for (len, frame) in pushes {
                fill = fill.wrapping_add(1);
                if frame {
                    want.extend_from_slice(&i32::try_from(2 * len).unwrap().to_be_bytes());
                    q.push_frame(vec![bytes(len, fill); 2]).unwrap();
                    want.extend_from_slice(&vec![fill; 2 * len]);
                } else {
                    q.push(bytes(len, fill));
                    want.extend_from_slice(&vec![fill; len]);
                }
                assert_eq!(q.pushed_total(), want.len() as u64);
                if *polls.next().unwrap() {
                    let _ = poll_once(&mut q, &mut stream).await;
                    let taken = usize::try_from(q.written_total()).unwrap();
                    assert_eq!(q.len_bytes(), want.len() - taken);
                    let mut part = vec![0; taken - got.len()];
                    peer.read_exact(&mut part).await.unwrap();
                    got.extend_from_slice(&part);
                    assert!(want.starts_with(&got));
                }
            }
            while !q.is_empty() {
                let _ = poll_once(&mut q, &mut stream).await;
                let mut part = vec![0; usize::try_from(q.written_total()).unwrap() - got.len()];
                peer.read_exact(&mut part).await.unwrap();
                got.extend_from_slice(&part);
            }
            assert!(got == want);
            assert_eq!((q.len_bytes(), q.written_total()), (0, want.len() as u64));
        });
    }
}
