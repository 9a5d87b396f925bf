//! Faults of the network: connections that are reset, and addresses whose packets are dropped. Both need a kernel and
//! rights that allow them; [`Powers::find`] tries, so that a run says what it can't do and why.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Error, Result, wait};

/// A packet filter drops both directions without a word. A route into nothing needs no filter: what is sent to the
/// address is dropped, and an attempt to connect fails at once.
const FILTER: &str = "\
for ip; do iptables -w 5 -I OUTPUT -d $ip -j DROP && iptables -w 5 -I OUTPUT -s $ip -j DROP || exit 1; done
echo cut; read -r _
for ip; do iptables -w 5 -D OUTPUT -d $ip -j DROP; iptables -w 5 -D OUTPUT -s $ip -j DROP; done";
/// Of single connections, each given as three words: the address and the port of one end, and the port of the other.
const FLOWS: &str = "\
rules() { how=$1; shift; while [ $# -gt 0 ]; do
iptables -w 5 $how OUTPUT -p tcp -d $1 --dport $2 --sport $3 -j DROP || return 1
iptables -w 5 $how OUTPUT -p tcp -s $1 --sport $2 --dport $3 -j DROP || return 1
shift 3; done; }
rules -I \"$@\" || exit 1
echo cut; read -r _
rules -D \"$@\"";
const ROUTE: &str = "\
for ip; do ip route add blackhole $ip/32 table local || exit 1; done
echo cut; read -r _
for ip; do ip route del blackhole $ip/32 table local; done";

/// What of it works here.
#[derive(Clone, Debug)]
pub struct Powers {
    /// Why connections can't be reset, if they can't.
    pub reset: std::result::Result<(), String>,
    /// How packets are dropped, or why they can't be.
    pub cut: std::result::Result<Way, String>,
}

/// How packets are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// iptables.
    Filter,
    /// A blackhole route.
    Route,
}

impl Powers {
    /// Tries both on `spare`, a loopback address that nobody uses.
    pub fn find(spare: Ipv4Addr) -> Self {
        let first = try_cut(Way::Filter, spare).map(|()| Way::Filter);
        let cut = first.or_else(|filter| match try_cut(Way::Route, spare) {
            Ok(()) => Ok(Way::Route),
            Err(route) => Err(format!("no packet filter ({filter}), no route ({route})")),
        });
        Self {
            reset: try_reset(spare).map_err(|error| error.to_string()),
            cut: cut.map_err(|why| flat(&why)),
        }
    }
}

fn flat(text: &dyn ToString) -> String {
    text.to_string().replace('\n', "; ")
}

/// Resets every connection to the listener at `addr`: both sides see it.
pub fn reset(addr: SocketAddr) -> Result<()> {
    let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
    let output = Command::new("ss")
        .args(["-K", "-t", "state", "established", "src", &ip, "sport", "=", &port])
        .output()
        .map_err(Error::io("running ss"))?;
    // Where it is not allowed it says so only by what it doesn't do: see `try_reset`.
    if output.status.success() {
        return Ok(());
    }
    Err(Error::program("ss", String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// The ports from which process `pid` is connected to `to`.
pub fn ports_of(pid: u32, to: SocketAddr) -> Result<Vec<u16>> {
    let output = Command::new("ss")
        .args(["-tnpH", "state", "established", "dst", &to.ip().to_string(), "dport", "="])
        .arg(to.port().to_string())
        .output()
        .map_err(Error::io("running ss"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let owner = format!("pid={pid},");
    // Two queues, the own address, the other's.
    let port = |line: &str| line.split_whitespace().nth(2)?.rsplit_once(':')?.1.parse().ok();
    Ok(text.lines().filter(|line| line.contains(&owner)).filter_map(port).collect())
}

fn try_reset(spare: Ipv4Addr) -> Result<()> {
    let listener = TcpListener::bind((spare, 0)).map_err(Error::io("binding a listener"))?;
    let addr = listener.local_addr().map_err(Error::io("asking for a port"))?;
    let mut stream = TcpStream::connect(addr).map_err(Error::io("connecting"))?;
    let _peer = listener.accept().map_err(Error::io("accepting"))?;
    reset(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).map_err(Error::io("setting a time-out"))?;
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        other => Err(Error::program("ss -K", format!("resets nothing here ({other:?})"))),
    }
}

/// Addresses whose packets are dropped, until this is dropped (or its process ends in whatever way).
#[derive(Debug)]
pub struct Cut {
    keeper: Child,
}

impl Cut {
    /// Drops the packets of `ips` from now on.
    pub fn start(way: Way, ips: &[Ipv4Addr]) -> Result<Self> {
        let script = if way == Way::Filter { FILTER } else { ROUTE };
        Self::keep(script, ips.iter().map(Ipv4Addr::to_string))
    }

    /// Drops the packets of single connections from now on: one end's address and port, and the other's port. Only a packet
    /// filter can.
    pub fn flows(flows: &[(SocketAddr, u16)]) -> Result<Self> {
        let words =
            |(at, port): &(SocketAddr, u16)| [at.ip().to_string(), at.port().to_string(), port.to_string()];
        Self::keep(FLOWS, flows.iter().flat_map(words))
    }

    fn keep(script: &str, words: impl Iterator<Item = String>) -> Result<Self> {
        let mut keeper = Command::new("sh")
            .args(["-c", script, "cut"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: it undoes its work after an interrupt, too, when its input ends.
            .process_group(0)
            .spawn()
            .map_err(Error::io("starting a packet filter"))?;
        let mut said = String::new();
        if let Some(out) = keeper.stdout.take() {
            BufReader::new(out).read_line(&mut said).map_err(Error::io("hearing a packet filter"))?;
        }
        let mut cut = Self { keeper };
        if said.trim() == "cut" {
            return Ok(cut);
        }
        let mut why = String::new();
        if let Some(err) = cut.keeper.stderr.as_mut() {
            let _ = err.read_to_string(&mut why);
        }
        Err(Error::program("a packet filter", flat(&why.trim())))
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // The end of its input tells it to undo.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn try_cut(way: Way, spare: Ipv4Addr) -> std::result::Result<(), String> {
    let attempt = || {
        let listener = TcpListener::bind((spare, 0)).map_err(Error::io("binding a listener"))?;
        let addr = listener.local_addr().map_err(Error::io("asking for a port"))?;
        let cut = Cut::start(way, &[spare])?;
        if wait::accepts(addr) {
            return Err(Error::program("a packet filter", "drops nothing here"));
        }
        drop(cut);
        wait::until("packets to pass again", Duration::from_secs(5), || wait::accepts(addr))
    };
    attempt().map_err(|error| flat(&error))
}

/// The address as IPv4, which all of the test bed's are.
pub(super) fn ipv4(addr: SocketAddr) -> Result<Ipv4Addr> {
    match addr.ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(ip) => Err(Error::program("testbed", format!("{ip} is no address of the test bed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One connection is cut, its neighbour goes on, and afterwards both do. Nothing to be seen where there is no filter.
    #[test]
    fn a_single_connection_is_cut() {
        use std::io::Write as _;
        let spare = Ipv4Addr::new(127, 0, 249, u8::try_from(std::process::id() % 250).unwrap() + 1);
        if Powers::find(spare).cut != Ok(Way::Filter) {
            return;
        }
        let listener = TcpListener::bind((spare, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let mut pairs = [(); 2].map(|()| (TcpStream::connect(at).unwrap(), listener.accept().unwrap().0));
        let port = pairs[0].0.local_addr().unwrap().port();
        assert!(ports_of(std::process::id(), at).unwrap().contains(&port));
        let cut = Cut::flows(&[(at, port)]).unwrap();
        for (near, far) in &mut pairs {
            near.write_all(b"x").unwrap();
            far.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        assert!(pairs[0].1.read(&mut [0]).is_err());
        assert_eq!(pairs[1].1.read(&mut [0]).unwrap(), 1);
        drop(cut);
        pairs[0].1.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(pairs[0].1.read(&mut [0]).unwrap(), 1);
    }

    /// What isn't allowed here is said in words; what is allowed works and is undone.
    #[test]
    fn powers_are_found_or_refused_in_words() {
        let spare = Ipv4Addr::new(127, 0, 250, u8::try_from(std::process::id() % 250).unwrap() + 1);
        let powers = Powers::find(spare);
        println!("{powers:?}");
        for refusal in [powers.reset.as_ref().err(), powers.cut.as_ref().err()].into_iter().flatten() {
            assert!(!refusal.is_empty());
        }
        let listener = TcpListener::bind((spare, 0)).unwrap();
        assert!(wait::accepts(listener.local_addr().unwrap()), "every cut is undone");
    }
}
