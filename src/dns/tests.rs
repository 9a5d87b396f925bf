//! Against a real exchange: a small authoritative server on a loopback UDP port.

use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::*;

const A: u16 = 1;
const AAAA: u16 = 28;
const LONG: Duration = Duration::from_secs(30);

#[derive(Clone)]
enum Answer {
    Addrs(Vec<IpAddr>, u32),
    NoData,
    NxDomain,
    ServFail,
    Silence,
}

type Question = (String, u16);

#[derive(Default)]
struct Records {
    answers: HashMap<Question, Answer>,
    asked: Vec<Question>,
}

/// The server's answers, and the queries that came.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<Records>>);

impl Zone {
    fn set(&self, name: &str, kind: u16, answer: Answer) {
        self.0.lock().unwrap().answers.insert((name.to_owned(), kind), answer);
    }

    fn set_both(&self, name: &str, answer: &Answer) {
        self.set(name, A, answer.clone());
        self.set(name, AAAA, answer.clone());
    }

    fn queries(&self, name: &str, kind: u16) -> usize {
        self.0.lock().unwrap().asked.iter().filter(|(n, k)| n == name && *k == kind).count()
    }

    /// A response, or nothing. The query's name starts at byte 12; the rest of the message is of no interest.
    fn respond(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (mut name, mut at) = (String::new(), 12);
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            name += &String::from_utf8_lossy(&query[at + 1..end]).to_lowercase();
            name.push('.');
            at = end;
        }
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let mut zone = self.0.lock().unwrap();
        zone.asked.push((name.clone(), kind));
        let answer = zone.answers.get(&(name, kind)).cloned().unwrap_or(Answer::NxDomain);
        let (code, addrs, ttl) = match answer {
            Answer::Silence => return None,
            Answer::Addrs(addrs, ttl) => (0, addrs, ttl),
            Answer::NoData => (0, vec![], 0),
            Answer::ServFail => (2, vec![], 0),
            Answer::NxDomain => (3, vec![], 0),
        };
        let mut out = query[..2].to_vec();
        out.extend([0x85, 0x80 | code, 0, 1, 0, u8::try_from(addrs.len()).unwrap(), 0, 0, 0, 0]);
        out.extend(&query[12..at + 5]);
        for addr in addrs {
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1]);
            out.extend(ttl.to_be_bytes());
            match addr {
                IpAddr::V4(ip) => {
                    out.extend([0, 4]);
                    out.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.extend([0, 16]);
                    out.extend(ip.octets());
                }
            }
        }
        Some(out)
    }
}

async fn serve() -> (Zone, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let zone = Zone::default();
    let served = zone.clone();
    tokio::spawn(async move {
        let mut buf = [0; 1500];
        while let Ok((n, from)) = socket.recv_from(&mut buf).await {
            if let Some(response) = served.respond(&buf[..n]) {
                socket.send_to(&response, from).await.unwrap();
            }
        }
    });
    (zone, addr)
}

fn options(server: SocketAddr, min_ttl: Duration) -> DnsOptions {
    DnsOptions { servers: vec![server], min_ttl, timeout: Duration::from_secs(20) }
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|s| s.parse().unwrap()).collect()
}

fn found(list: &[&str], ttl: u32) -> Answer {
    Answer::Addrs(ips(list), ttl)
}

#[tokio::test]
async fn both_families_are_found_and_kept_for_their_ttl() {
    let (zone, server) = serve().await;
    zone.set("k.test.", A, found(&["10.0.0.2", "10.0.0.1"], 600));
    zone.set("k.test.", AAAA, found(&["fd00::1"], 600));
    let resolver = Resolver::new(options(server, Duration::ZERO), None).unwrap();
    for host in ["k.test", "K.Test", "k.test"] {
        let got = resolver.resolve(host).await.unwrap();
        assert_eq!(got, Resolution { addrs: ips(&["fd00::1", "10.0.0.2", "10.0.0.1"]), stale: false });
    }
    assert_eq!((zone.queries("k.test.", A), zone.queries("k.test.", AAAA)), (1, 1));
    assert_eq!(resolver.changes_total(), 0);
}

#[tokio::test]
async fn a_ttl_of_zero_is_asked_anew_unless_the_floor_holds() {
    let (zone, server) = serve().await;
    zone.set("k.test.", A, found(&["10.0.0.1"], 0));
    zone.set("k.test.", AAAA, Answer::NoData);
    let resolver = Resolver::new(options(server, Duration::ZERO), None).unwrap();
    for n in 1..=3 {
        resolver.resolve("k.test").await.unwrap();
        assert_eq!(zone.queries("k.test.", A), n);
    }
    resolver.set_options(Duration::from_secs(600), Duration::from_secs(20));
    for _ in 0..3 {
        assert!(!resolver.resolve("k.test").await.unwrap().stale);
    }
    assert_eq!(zone.queries("k.test.", A), 4);
}

#[tokio::test]
async fn a_ttl_is_waited_out_and_no_longer() {
    let (zone, server) = serve().await;
    zone.set("k.test.", A, found(&["10.0.0.1"], 1));
    zone.set("k.test.", AAAA, Answer::NoData);
    let resolver = Resolver::new(options(server, Duration::ZERO), None).unwrap();
    let start = Instant::now();
    resolver.resolve("k.test").await.unwrap();
    zone.set("k.test.", A, found(&["10.0.0.2"], 1));
    timeout(LONG, async {
        while resolver.resolve("k.test").await.unwrap().addrs != ips(&["10.0.0.2"]) {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the new address was never seen");
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_changed_set_is_counted_and_reported_a_changed_order_is_not() {
    let (zone, server) = serve().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let hook: OnChange = Arc::new(move |host, old, new| {
        sink.lock().unwrap().push((host.to_owned(), old.to_vec(), new.to_vec()));
    });
    let resolver = Resolver::new(options(server, Duration::ZERO), Some(hook)).unwrap();
    zone.set("k.test.", AAAA, Answer::NoData);
    for (list, changes) in [
        (&["10.0.0.1", "10.0.0.2"][..], 0),
        (&["10.0.0.2", "10.0.0.1"], 0),
        (&["10.0.0.2", "10.0.0.3"], 1),
        (&["10.0.0.2"], 2),
    ] {
        zone.set("k.test.", A, found(list, 0));
        assert_eq!(resolver.resolve("k.test").await.unwrap().addrs, ips(list));
        assert_eq!(resolver.changes_total(), changes);
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], ("k.test".into(), ips(&["10.0.0.2", "10.0.0.1"]), ips(&["10.0.0.2", "10.0.0.3"])));
}

#[tokio::test]
async fn the_last_known_good_answer_survives_every_kind_of_failure() {
    for failure in [Answer::NxDomain, Answer::ServFail, Answer::NoData, Answer::Silence] {
        let (zone, server) = serve().await;
        zone.set("k.test.", A, found(&["10.0.0.1"], 0));
        zone.set("k.test.", AAAA, found(&["fd00::1"], 0));
        let resolver = Resolver::new(options(server, Duration::ZERO), None).unwrap();
        resolver.resolve("k.test").await.unwrap();
        if matches!(failure, Answer::Silence) {
            resolver.set_options(Duration::ZERO, Duration::from_millis(300));
        }
        zone.set_both("k.test.", &failure);
        let got = resolver.resolve("k.test").await.unwrap();
        assert_eq!(got, Resolution { addrs: ips(&["fd00::1", "10.0.0.1"]), stale: true });
        // Back again, at other addresses: found as soon as the pause after the failure is over.
        resolver.set_options(Duration::ZERO, Duration::from_secs(20));
        zone.set_both("k.test.", &Answer::NoData);
        zone.set("k.test.", A, found(&["10.0.0.9"], 0));
        timeout(LONG, async {
            while resolver.resolve("k.test").await.unwrap().stale {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("stale for ever");
        assert_eq!(resolver.resolve("k.test").await.unwrap().addrs, ips(&["10.0.0.9"]));
        assert_eq!(resolver.changes_total(), 1);
    }
}

#[tokio::test]
async fn a_failing_server_is_not_waited_for_by_every_connect() {
    let (zone, server) = serve().await;
    zone.set("k.test.", A, found(&["10.0.0.1"], 0));
    zone.set("k.test.", AAAA, Answer::NoData);
    let resolver = Resolver::new(options(server, Duration::ZERO), None).unwrap();
    resolver.resolve("k.test").await.unwrap();
    resolver.set_options(Duration::from_secs(600), Duration::from_secs(20));
    zone.set_both("k.test.", &Answer::ServFail);
    resolver.resolve("k.test").await.unwrap();
    let asked = zone.queries("k.test.", A);
    for _ in 0..5 {
        assert!(resolver.resolve("k.test").await.unwrap().stale);
    }
    assert_eq!(zone.queries("k.test.", A), asked);
}

#[tokio::test]
async fn a_name_that_never_had_an_answer_is_an_error_that_says_why() {
    let (zone, server) = serve().await;
    zone.set_both("empty.test.", &Answer::NoData);
    zone.set_both("mute.test.", &Answer::Silence);
    let mut short = options(server, Duration::from_secs(600));
    short.timeout = Duration::from_millis(300);
    let resolver = Resolver::new(short, None).unwrap();
    for (host, want) in [
        ("none.test", "can't resolve \"none.test\": the name does not exist"),
        ("empty.test", "can't resolve \"empty.test\": no address"),
        ("mute.test", "can't resolve \"mute.test\": no answer within 300ms"),
    ] {
        assert_eq!(resolver.resolve(host).await.unwrap_err().to_string(), want);
    }
    // An error is not remembered: the name may come up at any moment.
    zone.set("none.test.", A, found(&["10.0.0.1"], 0));
    assert_eq!(resolver.resolve("none.test").await.unwrap().addrs, ips(&["10.0.0.1"]));
    let long = format!("{}.test", "x".repeat(64));
    assert!(matches!(resolver.resolve(&long).await, Err(DnsError::InvalidName { .. })));
}

#[tokio::test]
async fn one_familys_failure_does_not_spoil_the_other() {
    for failure in [Answer::ServFail, Answer::Silence, Answer::NoData] {
        let (zone, server) = serve().await;
        zone.set("k.test.", A, found(&["10.0.0.1"], 0));
        zone.set("k.test.", AAAA, failure.clone());
        let resolver = Resolver::new(options(server, Duration::ZERO), None).unwrap();
        let got = resolver.resolve("k.test").await.unwrap();
        assert_eq!(got, Resolution { addrs: ips(&["10.0.0.1"]), stale: false });
        // Once known, a family outlives its own failure, and that is no change.
        zone.set("k.test.", AAAA, found(&["fd00::1"], 0));
        assert_eq!(resolver.resolve("k.test").await.unwrap().addrs, ips(&["fd00::1", "10.0.0.1"]));
        let changes = resolver.changes_total();
        zone.set("k.test.", AAAA, failure.clone());
        let want: &[&str] =
            if matches!(failure, Answer::NoData) { &["10.0.0.1"] } else { &["fd00::1", "10.0.0.1"] };
        assert_eq!(resolver.resolve("k.test").await.unwrap().addrs, ips(want));
        assert_eq!(resolver.changes_total() - changes, u64::from(want.len() == 1));
    }
}

#[tokio::test]
async fn concurrent_lookups_of_a_name_are_one() {
    let (zone, server) = serve().await;
    zone.set("k.test.", A, found(&["10.0.0.1"], 0));
    zone.set("k.test.", AAAA, Answer::NoData);
    let resolver = Resolver::new(options(server, Duration::ZERO), None).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let resolver = resolver.clone();
        tasks.spawn(async move { resolver.resolve("k.test").await });
    }
    for got in tasks.join_all().await {
        assert_eq!(got.unwrap().addrs, ips(&["10.0.0.1"]));
    }
    assert_eq!(zone.queries("k.test.", A), 1);
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_anew() {
    let (zone, server) = serve().await;
    zone.set("k.test.", A, found(&["10.0.0.1"], 0));
    let file = std::env::temp_dir().join(format!("evenkeel-hosts-{}", std::process::id()));
    std::fs::write(&file, "127.0.0.7 k.test other\n::7 k.test\n").unwrap();
    let files = Files { hosts: file.clone(), ..Files::of_the_system() };
    let resolver = Resolver::with_files(options(server, Duration::ZERO), None, files).unwrap();
    assert_eq!(resolver.resolve("k.test").await.unwrap().addrs, ips(&["::7", "127.0.0.7"]));
    assert_eq!(zone.queries("k.test.", A), 0);
    std::fs::write(&file, "127.0.0.8 k.test\n").unwrap();
    assert_eq!(resolver.resolve("k.test").await.unwrap().addrs, ips(&["127.0.0.8"]));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(resolver.resolve("k.test").await.unwrap().addrs, ips(&["10.0.0.1"]));
    assert_eq!(resolver.changes_total(), 2);
}

#[tokio::test]
async fn a_system_without_dns_has_its_hosts_file() {
    let dir = std::env::temp_dir().join(format!("evenkeel-dns-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let files = Files { hosts: dir.join("hosts"), resolv_conf: dir.join("resolv.conf") };
    std::fs::write(&files.hosts, "127.0.0.7 k.test\n").unwrap();
    let system = DnsOptions { servers: vec![], min_ttl: Duration::ZERO, timeout: Duration::from_millis(300) };
    let resolver = Resolver::with_files(system, None, files.clone()).unwrap();
    assert_eq!(resolver.resolve("k.test").await.unwrap().addrs, ips(&["127.0.0.7"]));
    assert_eq!(resolver.resolve("127.0.0.1").await.unwrap().addrs, ips(&["127.0.0.1"]));
    let none = "not in the hosts file, and no DNS server is known";
    let err = resolver.resolve("other.test").await.unwrap_err().to_string();
    assert!(err.contains(none) && err.contains("resolv.conf"), "{err}");
    // It appears later, as in a container whose network comes up late: the next lookup uses it.
    std::fs::write(&files.resolv_conf, "search example.test\nnameserver 127.0.0.1\n").unwrap();
    let err = resolver.resolve("other.test").await.unwrap_err().to_string();
    assert!(!err.contains(none), "{err}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn literals_need_no_server() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let resolver = Resolver::new(options(nobody, Duration::ZERO), None).unwrap();
    for ip in ["127.0.0.1", "::1", "fd00::3"] {
        assert_eq!(resolver.resolve(ip).await.unwrap().addrs, ips(&[ip]));
    }
}

#[tokio::test]
async fn the_number_of_names_is_bounded() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let resolver = Resolver::new(options(nobody, Duration::ZERO), None).unwrap();
    for i in 0..3 * MAX_NAMES {
        drop(resolver.entry(&format!("n{i}.test")));
        assert!(resolver.inner.names.lock().unwrap().len() <= MAX_NAMES);
    }
}
