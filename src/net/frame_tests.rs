use std::future::poll_fn;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut out = i32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(payload);
    out
}

async fn tcp_pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    (Stream::Tcp(ours), peer)
}

async fn next(reader: &mut FrameReader, stream: &mut Stream) -> Result<Option<Bytes>, FrameError> {
    timeout(LONG, poll_fn(|cx| reader.poll_frame(cx, stream))).await.expect("no frame in time")
}

async fn poll_once(reader: &mut FrameReader, stream: &mut Stream) -> Poll<Result<Option<Bytes>, FrameError>> {
    // A test polls far more often than it waits; without this it would use up the runtime's budget for one turn.
    tokio::task::yield_now().await;
    poll_fn(|cx| Poll::Ready(reader.poll_frame(cx, stream))).await
}

/// Polls once: tells whether the reader waits.
async fn waits(reader: &mut FrameReader, stream: &mut Stream) -> bool {
    poll_once(reader, stream).await.is_pending()
}

#[tokio::test]
async fn frames_of_one_read_come_out_one_by_one_without_another_read() {
    let (mut stream, mut peer) = tcp_pair().await;
    let mut reader = FrameReader::new(1000);
    let bytes: Vec<u8> =
        [framed(b"one"), framed(b""), framed(b"three"), framed(b"half")[..6].to_vec()].concat();
    peer.write_all(&bytes).await.unwrap();
    assert_eq!(next(&mut reader, &mut stream).await.unwrap().unwrap(), "one");
    // On loopback one small write arrives whole; the other three are here already.
    assert_eq!(reader.buffered(), bytes.len() - 7);
    assert_eq!(reader.next_buffered().unwrap().unwrap(), "");
    assert_eq!(reader.next_buffered().unwrap().unwrap(), "three");
    assert!(reader.next_buffered().unwrap().is_none());
    assert_eq!(reader.buffered(), 6);
    peer.write_all(b"lf").await.unwrap();
    assert_eq!(reader.taken(), bytes.len() as u64 - 6);
    assert_eq!(next(&mut reader, &mut stream).await.unwrap().unwrap(), "half");
    assert_eq!(reader.taken(), bytes.len() as u64 + 2);
    drop(peer);
    assert!(next(&mut reader, &mut stream).await.unwrap().is_none());
}

#[tokio::test]
async fn an_idle_reader_holds_no_buffer() {
    let (mut stream, mut peer) = tcp_pair().await;
    let mut reader = FrameReader::new(1 << 20);
    for size in [5, 300_000, 5] {
        assert!(waits(&mut reader, &mut stream).await);
        assert_eq!(reader.buf.capacity(), 0);
        let payload = vec![7; size];
        let bytes = framed(&payload);
        let (sent, got) = tokio::join!(peer.write_all(&bytes), next(&mut reader, &mut stream));
        sent.unwrap();
        assert_eq!(got.unwrap().unwrap(), payload);
    }
    assert!(waits(&mut reader, &mut stream).await);
    assert_eq!(reader.buf.capacity(), 0);
}

#[tokio::test]
async fn a_flow_of_large_frames_is_read_in_place() {
    let (ours, mut peer) = tokio::io::duplex(1 << 20);
    let mut stream = Stream::Memory(ours);
    let mut reader = FrameReader::new(1 << 20);
    let bytes = framed(&vec![1; 100_000]);
    peer.write_all(&bytes).await.unwrap();
    next(&mut reader, &mut stream).await.unwrap().unwrap();
    for _ in 0..3 {
        peer.write_all(&bytes).await.unwrap();
        peer.write_all(&bytes).await.unwrap();
        next(&mut reader, &mut stream).await.unwrap().unwrap();
        // The fresh buffer took one frame to the byte: the next starts in a buffer of its own.
        assert_eq!(reader.buffered(), 0);
        next(&mut reader, &mut stream).await.unwrap().unwrap();
        assert_eq!(reader.buffered(), 0);
    }
}

#[tokio::test]
async fn one_huge_frame_does_not_make_small_requests_dear() {
    let (ours, mut peer) = tokio::io::duplex(16 << 20);
    let mut stream = Stream::Memory(ours);
    let mut reader = FrameReader::new(16 << 20);
    peer.write_all(&framed(&vec![1; 8 << 20])).await.unwrap();
    next(&mut reader, &mut stream).await.unwrap().unwrap();
    for i in 0..100 {
        peer.write_all(&framed(b"small")).await.unwrap();
        let frame = next(&mut reader, &mut stream).await.unwrap().unwrap();
        assert!(reader.buf.capacity() <= FRESH_MAX);
        if i > 60 {
            assert!(reader.buf.capacity() <= READ_SIZE);
        }
        drop(frame);
        assert!(waits(&mut reader, &mut stream).await);
    }
}

#[tokio::test]
async fn lengths_that_cannot_be_are_refused_before_anything_is_buffered_for_them() {
    for (prefix, want) in [
        (i32::MAX, "the peer announced a frame of 2147483647 bytes; at most 1000 are allowed"),
        (1001, "the peer announced a frame of 1001 bytes; at most 1000 are allowed"),
        (-1, "the peer announced a frame of -1 bytes; a length can't be negative"),
        (i32::MIN, "the peer announced a frame of -2147483648 bytes; a length can't be negative"),
    ] {
        let (mut stream, mut peer) = tcp_pair().await;
        let mut reader = FrameReader::new(1000);
        peer.write_all(&framed(b"good")).await.unwrap();
        peer.write_all(&prefix.to_be_bytes()).await.unwrap();
        assert_eq!(next(&mut reader, &mut stream).await.unwrap().unwrap(), "good");
        for _ in 0..2 {
            let err = next(&mut reader, &mut stream).await.unwrap_err();
            assert_eq!(err.to_string(), want);
        }
        assert!(reader.buf.capacity() <= READ_SIZE);
    }
}

#[tokio::test]
async fn a_close_inside_a_frame_is_told_from_one_between_frames() {
    for (bytes, have, want) in [(&[0][..], 1, 4), (&[0, 0, 0, 9], 4, 13), (&[0, 0, 0, 9, 1, 2], 6, 13)] {
        let (mut stream, mut peer) = tcp_pair().await;
        let mut reader = FrameReader::new(1000);
        peer.write_all(bytes).await.unwrap();
        drop(peer);
        match next(&mut reader, &mut stream).await {
            Err(FrameError::Truncated { have: h, want: w }) => assert_eq!((h, w), (have, want)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reset_is_an_error() {
    let (mut stream, peer) = tcp_pair().await;
    let mut reader = FrameReader::new(1000);
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let err = next(&mut reader, &mut stream).await.unwrap_err();
    assert!(matches!(&err, FrameError::Io(e) if e.kind() == io::ErrorKind::ConnectionReset), "{err}");
}

/// A peer claims 900 MB and sends what it likes: the capacity follows what has arrived.
#[tokio::test]
async fn a_claimed_length_costs_only_what_is_really_sent() {
    let (ours, mut peer) = tokio::io::duplex(1 << 20);
    let mut stream = Stream::Memory(ours);
    let mut reader = FrameReader::new(1_000_000_000);
    peer.write_all(&900_000_000_i32.to_be_bytes()).await.unwrap();
    let mut arrived = PREFIX;
    for step in [1, 10, 1000, 30_000, 40_000, 65_536, 100_000, 300_000, 1_000_000, 1_000_000] {
        peer.write_all(&vec![0; step]).await.unwrap();
        arrived += step;
        assert!(waits(&mut reader, &mut stream).await);
        assert_eq!(reader.buffered(), arrived);
        let capacity = reader.buf.capacity();
        assert!(capacity <= 2 * arrived + READ_SIZE, "{capacity} bytes held after {arrived} arrived");
    }
}

#[test]
fn compact_copies_only_small_slices() {
    let big = Bytes::from(vec![0; READ_SIZE]);
    let small = big.slice(10..20);
    let kept = compact(small.clone());
    assert_eq!(kept, small);
    assert_ne!(kept.as_ptr(), small.as_ptr());
    assert_eq!(compact(big.clone()).as_ptr(), big.as_ptr());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the cuts: what was framed comes out, each frame once and in order, within the memory bound.
    #[test]
    fn any_chunking_gives_the_same_frames(
        sizes in prop::collection::vec(prop_oneof![0_usize..50, 0_usize..5_000, 60_000_usize..200_000], 0..12),
        cuts in prop::collection::vec(prop_oneof![1_usize..20, 1_usize..100_000], 1..40),
        keep in any::<bool>(),
    ) {
        let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        rt.block_on(async move {
            let payloads: Vec<Vec<u8>> = sizes.iter().enumerate()
                .map(|(i, n)| (0..*n).map(|b| u8::try_from((b * 7 + i) % 251).unwrap()).collect())
                .collect();
            let bytes: Vec<u8> = payloads.iter().flat_map(|p| framed(p)).collect();
            let (ours, mut peer) = tokio::io::duplex(bytes.len().max(1));
            let mut stream = Stream::Memory(ours);
            let mut reader = FrameReader::new(200_000);
            let (mut got, mut arrived, mut cuts) = (Vec::new(), 0, cuts.iter().cycle());
            let mut kept = Vec::new();
            while arrived < bytes.len() {
                let n = (*cuts.next().unwrap()).min(bytes.len() - arrived);
                peer.write_all(&bytes[arrived..arrived + n]).await.unwrap();
                arrived += n;
                loop {
                    let Poll::Ready(frame) = poll_once(&mut reader, &mut stream).await else { break };
                    let frame = frame.unwrap().unwrap();
                    got.push(frame.to_vec());
                    if keep { kept.push(frame); }
                    assert!(reader.buf.capacity() <= 2 * (arrived + reader.largest) + READ_SIZE);
                }
            }
            drop(peer);
            assert!(next(&mut reader, &mut stream).await.unwrap().is_none());
            assert!(got == payloads);
        });
    }

    /// Random bytes: frames or an error, never more than the cap in one frame, never more memory than the bound.
    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..5_000)) {
        let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        rt.block_on(async move {
            let (ours, mut peer) = tokio::io::duplex(bytes.len().max(1));
            peer.write_all(&bytes).await.unwrap();
            drop(peer);
            let mut stream = Stream::Memory(ours);
            let mut reader = FrameReader::new(i32::MAX as usize);
            let mut sum = 0;
            loop {
                match next(&mut reader, &mut stream).await {
                    Ok(Some(frame)) => sum += PREFIX + frame.len(),
                    Ok(None) => { assert_eq!(sum, bytes.len()); break }
                    Err(FrameError::Io(e)) => panic!("{e}"),
                    Err(FrameError::Truncated { have, .. }) => { assert_eq!(sum + have, bytes.len()); break }
                    Err(_) => break,
                }
            }
            assert!(reader.buf.capacity() <= 2 * bytes.len() + READ_SIZE);
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
        });
    }
}
