//! Text to addresses: where to listen, whom to ask, which host to tell.
//!
//! Each function returns the value, or what is wrong and what to write instead. Nothing is resolved here.
//! Pure; imports the folder's `clusters` and `units` only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::clusters::HostPort;
use super::units::{port, quote};

/// An address to listen on, such as `example`: a literal IP address and a port; port 0 takes any free port.
pub(super) fn listen(text: &str, example: &str) -> Result<SocketAddr, String> {
    let address = socket_address(text, None, example)?;
    match address.ip() {
        ip if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => {
            Err(format!("{} is not an address of one host; write such as \"{example}\"", quote(text)))
        }
        _ => Ok(address),
    }
}

/// A name server: a literal IP address, and a port that is 53 unless it is written.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    let address = socket_address(text, Some(53), "10.0.0.2:53")?;
    if address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(format!(
            "{} is not an address that can be asked; write such as \"10.0.0.2:53\"",
            quote(text)
        ));
    }
    if address.port() == 0 {
        return Err(format!("{} has port 0; write a port from 1 to 65535, or none for 53", quote(text)));
    }
    Ok(address)
}

fn socket_address(text: &str, default_port: Option<u16>, example: &str) -> Result<SocketAddr, String> {
    no_zone(text)?;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.ip() {
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(inner) => Err(format!(
                    "{} is an IPv4 address in IPv6 dress; write \"{inner}:{}\"",
                    quote(text),
                    address.port()
                )),
                None => Ok(address),
            },
            IpAddr::V4(_) => Ok(address),
        };
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return match default_port {
            Some(port) => Ok(SocketAddr::new(ip, port)),
            None => {
                let port = port_of(example);
                let address = if ip.is_ipv6() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
                Err(format!("{} has no port; write \"{address}\"", quote(text)))
            }
        };
    }
    if text.contains(',') {
        return Err(format!("{} is more than one address; write a list, [\"…\", \"…\"]", quote(text)));
    }
    if let Some((host, port_text)) = text.rsplit_once(':') {
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if inner.parse::<IpAddr>().is_ok() && !inner.is_empty() {
            return Err(format!("{} is not a port; write a number from 1 to 65535", quote(port_text)));
        }
        if port(port_text).is_some() && host_name(host, example).is_ok() {
            return Err(format!(
                "{} has a name where an IP address is needed; write such as \"{example}\"",
                quote(text)
            ));
        }
    }
    Err(format!("{} is not an IP address and a port; write such as \"{example}\"", quote(text)))
}

/// A server to connect to, such as `example`: a name or a literal IP address, and a port.
pub(super) fn host_port(text: &str, example: &str) -> Result<HostPort, String> {
    no_zone(text)?;
    if let Some((_, rest)) = text.split_once("://") {
        return Err(format!("{} has a scheme; write {}", quote(text), quote(rest)));
    }
    if text.contains(',') {
        return Err(format!("{} is more than one server; write a list, [\"…\", \"…\"]", quote(text)));
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Err(format!(
            "{} needs brackets and a port; write \"[{ip}]:{}\"",
            quote(text),
            port_of(example)
        ));
    }
    let (host_text, port_text) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port),
        _ => return Err(format!("{} has no port; write such as \"{example}\"", quote(text))),
    };
    let host = host(host_text, host_of(example))?;
    let Some(port) = port(port_text) else {
        return Err(format!("{} is not a port; write a number from 1 to 65535", quote(port_text)));
    };
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Err(format!("{} is not an address to connect to; write such as \"{example}\"", quote(text)));
    }
    Ok(HostPort { host, port })
}

/// A host that clients are told, such as `example`: a name or a literal IP address, no port.
pub(super) fn advertised_host(text: &str, example: &str) -> Result<String, String> {
    no_zone(text)?;
    if let Ok(server) = host_port(text, example) {
        return Err(format!("{} has a port; write the host alone, {}", quote(text), quote(&server.host)));
    }
    let host = host(text, example)?;
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Err(format!(
            "{} is not an address that a client can connect to; write a name or an address",
            quote(text)
        ));
    }
    Ok(host)
}

/// The host of an example, which has a port.
fn host_of(example: &str) -> &str {
    example.rsplit_once(':').map_or(example, |(host, _)| host)
}

/// The port of an example.
fn port_of(example: &str) -> &str {
    example.rsplit_once(':').map_or("", |(_, port)| port)
}

/// A name or a literal address, an IPv6 one with or without brackets; without them in the result.
fn host(text: &str, example: &str) -> Result<String, String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(ip) => Ok(ip.to_string()),
            Err(_) => Err(format!("{} is not an IPv6 address; write such as \"[2001:db8::1]\"", quote(text))),
        };
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    host_name(text, example)
}

/// A name of DNS: labels of letters, digits, `-` and (seen in the wild) `_`, 1 to 63 long, 253 in all.
fn host_name(text: &str, example: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{} is not a host, {why}; write such as \"{example}\"", quote(text)));
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.len() > 253 {
        return wrong("it is longer than 253 characters");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return wrong("a part between dots is empty or longer than 63 characters");
        }
        if !label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            return wrong("it has a character other than letters, digits, - . _");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return wrong("a part begins or ends with -");
        }
    }
    // A name whose last part is a number would be taken for an IPv4 address by others (RFC 3696, 2).
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return wrong("it is neither a name nor an IPv4 address");
    }
    Ok(text.to_owned())
}

fn no_zone(text: &str) -> Result<(), String> {
    match text.find('%') {
        None => Ok(()),
        Some(at) => {
            let before = text.get(..at).unwrap_or_default();
            let after = text.get(at..).and_then(|rest| rest.find([']']).and_then(|end| rest.get(end..)));
            Err(format!(
                "{} has an IPv6 zone, which is not supported; write {}",
                quote(text),
                quote(&format!("{before}{}", after.unwrap_or_default()))
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<SocketAddr, String> {
        super::listen(text, "127.0.0.1:9092")
    }

    fn host_port(text: &str) -> Result<HostPort, String> {
        super::host_port(text, "kafka-1.example.net:9092")
    }

    fn advertised_host(text: &str) -> Result<String, String> {
        super::advertised_host(text, "sidecar.example.net")
    }

    #[test]
    fn listen_takes_literal_addresses_only() {
        assert_eq!(listen("127.0.0.1:9092").unwrap().port(), 9092);
        assert!(listen("[::1]:0").unwrap().is_ipv6());
        assert!(listen("0.0.0.0:9092").is_ok());
        for (bad, says) in [
            ("", "IP address and a port"),
            ("127.0.0.1", "write \"127.0.0.1:9092\""),
            ("::1", "write \"[::1]:9092\""),
            ("[::1]", "write \"[::1]:9092\""),
            ("localhost:9092", "IP address is needed"),
            ("127.0.0.1:99999", "\"99999\" is not a port"),
            ("127.0.0.1:", "is not a port"),
            ("[fe80::1%eth0]:9092", "write \"[fe80::1]:9092\""),
            ("[fe80::1%3]:9092", "zone"),
            ("[::ffff:127.0.0.1]:9092", "write \"127.0.0.1:9092\""),
            ("127.0.0.1:1,127.0.0.2:1", "list"),
            ("224.0.0.1:9092", "one host"),
            ("300.0.0.1:9092", "IP address and a port"),
            (":9092", "IP address and a port"),
        ] {
            let error = listen(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn name_servers_have_port_53_unless_written() {
        assert_eq!(name_server("10.0.0.2").unwrap().to_string(), "10.0.0.2:53");
        assert_eq!(name_server("10.0.0.2:5353").unwrap().port(), 5353);
        assert_eq!(name_server("::1").unwrap().to_string(), "[::1]:53");
        assert_eq!(name_server("[::1]").unwrap().to_string(), "[::1]:53");
        assert!(name_server("10.0.0.2:0").is_err());
        assert!(name_server("0.0.0.0").is_err());
        assert!(name_server("dns.example.net").is_err());
    }

    #[test]
    fn servers_are_names_or_addresses_with_a_port() {
        let taken = |text: &str| host_port(text).unwrap();
        assert_eq!(taken("kafka-1.example.net:9092").host, "kafka-1.example.net");
        assert_eq!(taken("kafka_1:1").port, 1);
        assert_eq!(taken("[2001:db8::1]:9092").host, "2001:db8::1");
        assert_eq!(taken("[2001:db8::1]:9092").to_string(), "[2001:db8::1]:9092");
        assert_eq!(taken("kafka.example.net.:9092").host, "kafka.example.net.");
        for (bad, says) in [
            ("kafka-1", "no port"),
            ("kafka-1:", "is not a port"),
            ("kafka-1:0", "is not a port"),
            ("kafka-1:65536", "is not a port"),
            ("kafka-1:+92", "is not a port"),
            (":9092", "empty"),
            ("a:b:9092", "other than letters"),
            ("2001:db8::1", "write \"[2001:db8::1]:9092\""),
            ("PLAINTEXT://kafka-1:9092", "write \"kafka-1:9092\""),
            ("a:1,b:1", "write a list"),
            ("10.0.0.300:9092", "neither a name nor an IPv4"),
            ("-a:9092", "begins or ends"),
            ("a..b:9092", "between dots"),
            ("[kafka]:9092", "not an IPv6 address"),
            ("0.0.0.0:9092", "not an address to connect to"),
            ("[fe80::1%eth0]:9092", "zone"),
        ] {
            let error = host_port(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn an_advertised_host_has_no_port() {
        assert_eq!(advertised_host("sidecar.local").unwrap(), "sidecar.local");
        assert_eq!(advertised_host("[::1]").unwrap(), "::1");
        assert_eq!(advertised_host("::1").unwrap(), "::1");
        assert!(advertised_host("sidecar.local:9092").unwrap_err().contains("write the host alone"));
        assert!(advertised_host("0.0.0.0").is_err());
        assert!(advertised_host("").is_err());
    }

    /// What to write instead looks like the key that it is written for.
    #[test]
    fn examples_are_those_of_the_key() {
        let server = |text| super::host_port(text, "zk-1.example.net:2181").unwrap_err();
        assert_eq!(server("zk-1"), "\"zk-1\" has no port; write such as \"zk-1.example.net:2181\"");
        assert!(server("::1").ends_with("write \"[::1]:2181\""), "{}", server("::1"));
        assert!(server("-a:1").ends_with("write such as \"zk-1.example.net\""), "{}", server("-a:1"));
        let address = |text| super::listen(text, "127.0.0.1:2181").unwrap_err();
        assert!(address("10.0.0.1").ends_with("write \"10.0.0.1:2181\""));
        assert!(address("[::1]").ends_with("write \"[::1]:2181\""));
        assert!(address("localhost:1").ends_with("write such as \"127.0.0.1:2181\""));
    }
}
