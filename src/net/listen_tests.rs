use super::*;

const OPTIONS: ListenOptions = ListenOptions { backlog: 16 };

#[tokio::test]
async fn an_address_in_use_is_named_with_advice() {
    let first = bind("127.0.0.1:0".parse().unwrap(), &OPTIONS).unwrap();
    let addr = first.local_addr().unwrap();
    let err = bind(addr, &OPTIONS).unwrap_err().to_string();
    assert!(err.starts_with(&format!("can't listen on {addr}: another process listens there")), "{err}");
    drop(first);
    bind(addr, &OPTIONS).unwrap();
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_with_advice() {
    // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
    let err = bind("192.0.2.1:0".parse().unwrap(), &OPTIONS).unwrap_err().to_string();
    assert!(err.contains("192.0.2.1 is not an address of this machine"), "{err}");
}

#[test]
fn every_error_gets_advice() {
    let addr: SocketAddr = "127.0.0.1:80".parse().unwrap();
    let text = |kind| ListenError { addr, source: io::Error::from(kind) }.to_string();
    assert!(text(io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
    assert!(text(io::ErrorKind::OutOfMemory).contains("out of memory"));
}

#[tokio::test]
async fn ipv6_leaves_the_ipv4_port_free() {
    let Ok(v6) = bind("[::]:0".parse().unwrap(), &OPTIONS) else {
        assert!(!std::path::Path::new("/proc/net/if_inet6").exists(), "IPv6 is there and can't be bound");
        return;
    };
    let port = v6.local_addr().unwrap().port();
    bind(SocketAddr::new("127.0.0.1".parse().unwrap(), port), &OPTIONS).unwrap();
}

#[tokio::test]
async fn accepted_sockets_get_their_options() {
    let listener = bind("127.0.0.1:0".parse().unwrap(), &OPTIONS).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, addr) = accept(&listener).await;
    assert_eq!(addr, peer.local_addr().unwrap());
    let options =
        SocketOptions { keepalive: Duration::from_secs(30), user_timeout: Duration::from_millis(7_500) };
    accepted(&stream, &options).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(7_500)));
}

#[test]
fn only_errors_of_the_listener_pause_it() {
    let of = |errno: rustix::io::Errno| concerns_one_connection(&errno.into());
    assert!(of(rustix::io::Errno::CONNABORTED));
    for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOMEM] {
        assert!(!of(errno), "{errno}");
    }
}

#[test]
fn a_lasting_failure_is_logged_once_a_second() {
    let (last, start) = (Mutex::new(None), Instant::now());
    let logged: Vec<u64> =
        (0..3_000).filter(|ms| log_now(&last, start + Duration::from_millis(*ms))).collect();
    assert_eq!(logged, [0, 1_000, 2_000]);
}
