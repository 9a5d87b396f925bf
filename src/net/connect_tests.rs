use tokio::net::TcpListener;

use super::*;
use crate::dns::DnsOptions;

const OPTIONS: ConnectOptions = ConnectOptions {
    timeout: Duration::from_secs(20),
    stagger: Duration::from_millis(50),
    keepalive: Duration::from_secs(30),
    user_timeout: Duration::from_secs(10),
};

/// No server answers behind it: literal addresses and the hosts file only.
fn resolver() -> Resolver {
    let servers = vec!["127.0.0.1:1".parse().unwrap()];
    let timeout = Duration::from_millis(200);
    Resolver::new(DnsOptions { servers, min_ttl: Duration::ZERO, timeout }, None).unwrap()
}

/// A socket whose queue of unaccepted connections is full: the kernel drops further SYNs, as a firewall would. Keep
/// what is returned alive.
async fn black_hole(ip: &str) -> (SocketAddr, socket2::Socket, Vec<TcpStream>) {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = format!("{ip}:0").parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let mut fill = Vec::new();
    let patience = Duration::from_millis(700);
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(addr)).await {
        fill.push(stream.unwrap());
        assert!(fill.len() < 50, "the queue is never full");
    }
    (addr, socket, fill)
}

fn addrs(list: &[&str], port: u16) -> Vec<SocketAddr> {
    list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect()
}

#[test]
fn families_take_turns() {
    let ips = |l: &[&str]| l.iter().map(|s| s.parse().unwrap()).collect::<Vec<IpAddr>>();
    assert_eq!(
        interleave(&ips(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1", "::2"])),
        ips(&["::1", "10.0.0.1", "::2", "10.0.0.2", "10.0.0.3"])
    );
    assert_eq!(interleave(&ips(&["10.0.0.1"])), ips(&["10.0.0.1"]));
    assert!(interleave(&[]).is_empty());
}

/// Not encrypted.
fn plain() -> Secure<'static> {
    static TLS: std::sync::LazyLock<(Tls, config::Tls)> = std::sync::LazyLock::new(Default::default);
    Secure { tls: &TLS.0, options: &TLS.1 }
}

fn socket_of(stream: &Stream) -> &TcpStream {
    let Stream::Tcp(socket) = stream else { panic!("{stream:?}") };
    socket
}

#[tokio::test]
async fn a_literal_address_connects_with_its_options_set() {
    for ip in ["127.0.0.1", "::1"] {
        let Ok(listener) = TcpListener::bind((ip, 0)).await else {
            assert!(ip == "::1" && !std::path::Path::new("/proc/net/if_inet6").exists(), "{ip}");
            continue;
        };
        let addr = listener.local_addr().unwrap();
        let got = connect(&resolver(), ip, addr.port(), &OPTIONS, plain()).await.unwrap();
        assert_eq!((got.addr, got.stream.peer_addr().unwrap()), (addr, addr));
        let socket = SockRef::from(socket_of(&got.stream));
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(10)));
    }
}

#[tokio::test]
async fn a_name_of_the_hosts_file_connects() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // The machine may have ::1 for this name as well; nothing listens there.
    let got = connect(&resolver(), "localhost", port, &OPTIONS, plain()).await.unwrap();
    assert_eq!(got.addr, listener.local_addr().unwrap());
}

#[tokio::test]
async fn a_refused_address_gives_way_at_once() {
    let listener = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let start = Instant::now();
    let slow = ConnectOptions { stagger: Duration::from_secs(15), ..OPTIONS };
    let got = race(addrs(&["127.0.0.1", "127.0.0.2", "127.0.0.3"], port), &slow).await.unwrap();
    assert_eq!(got.1, listener.local_addr().unwrap());
    assert!(start.elapsed() < slow.stagger, "the next address waited for its turn");
}

#[tokio::test]
async fn an_address_that_swallows_everything_gives_way_after_the_head_start() {
    let (dead, _socket, _fill) = black_hole("127.0.0.4").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = listener.local_addr().unwrap();
    let start = Instant::now();
    let got = race(vec![dead, live], &OPTIONS).await.unwrap();
    assert_eq!(got.1, live);
    assert!(start.elapsed() >= OPTIONS.stagger);
}

#[tokio::test]
async fn the_error_names_every_address_and_its_reason() {
    let (dead, _socket, _fill) = black_hole("127.0.0.5").await;
    let refused: SocketAddr = {
        let gone = TcpListener::bind("127.0.0.6:0").await.unwrap();
        gone.local_addr().unwrap()
    };
    let short = ConnectOptions { timeout: Duration::from_millis(600), ..OPTIONS };
    let err = race(vec![refused, dead], &short).await.unwrap_err();
    let want = format!("{refused} (refused: nothing listens there), {dead} (no answer within 600ms)");
    assert_eq!(err.to_string(), want);
    let hasty = ConnectOptions { stagger: Duration::from_secs(15), ..short };
    let err = race(vec![dead, refused], &hasty).await.unwrap_err();
    let want = format!("{dead} (no answer within 600ms), {refused} (not tried: the time was up)");
    assert_eq!(err.to_string(), want);
    let err = connect(&resolver(), "127.0.0.6", refused.port(), &OPTIONS, plain()).await.unwrap_err();
    let want =
        format!("can't connect to 127.0.0.6:{}: {refused} (refused: nothing listens there)", refused.port());
    assert_eq!(err.to_string(), want);
}

#[tokio::test]
async fn a_name_without_an_address_is_named() {
    let err = connect(&resolver(), "nowhere.test", 9092, &OPTIONS, plain()).await.unwrap_err();
    assert!(matches!(err, ConnectError::Dns { .. }));
    let text = err.to_string();
    assert!(
        text.starts_with("can't connect to nowhere.test:9092: can't resolve \"nowhere.test\": "),
        "{text}"
    );
}
