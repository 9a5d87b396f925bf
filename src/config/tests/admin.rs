//! Who may reach the admin listener: what others can reach is closed, or refused.

use super::*;

#[test]
fn a_listener_that_others_reach_is_closed_or_refused() {
    let closed = |admin: &str| format!("[admin]\n{admin}\n{CLUSTER}");
    let open = "can be reached from elsewhere, and nothing closes it; write admin.token_file, or admin.tls with a ca";
    for address in ["0.0.0.0:9901", "[::]:9901", "192.0.2.1:9901"] {
        let listen = format!("listen = [\"127.0.0.1:9901\", \"{address}\"]");
        let listen = if address.contains("0.0.0.0") {
            listen.replace("127.0.0.1:9901", "127.0.0.1:9903")
        } else {
            listen
        };
        expect(&closed(&listen), &[], &[&format!("f:2: admin.listen[1]: {address} {open}")]);
        expect(&closed(&format!("{listen}\ntoken_file = \"/t\"")), &[], &[]);
        let tls = "tls.certificate = \"/c\"\ntls.key = \"/k\"";
        expect(&closed(&format!("{listen}\n{tls}\ntls.ca = \"/a\"")), &[], &[]);
        // Encrypted is not closed.
        expect(
            &closed(&format!("{listen}\n{tls}")),
            &[],
            &[&format!("f:2: admin.listen[1]: {address} {open}")],
        );
        expect(&closed(&format!("metrics_listen = \"{address}\"").replace("9901", "9902")), &[], &[]);
    }
    for (admin, lines) in [
        ("listen = [\"127.0.0.1:1\", \"127.9.9.9:1\", \"[::1]:1\"]", &[][..]),
        (
            "trust_loopback = false",
            &["f:2: admin.trust_loopback: leaves nobody who is let in; write admin.token_file"],
        ),
        ("trust_loopback = false\ntoken_file = \"/t\"", &[]),
        ("tls.ca = \"/a\"", &["f:2: admin.tls.ca: is of no use without a certificate of the listener's own"]),
        ("tls.certificate = \"/c\"", &["f:2: admin.tls.certificate: is of no use without its key"]),
        ("tls.key = \"/k\"", &["f:2: admin.tls.key: is of no use without its certificate"]),
        ("tls = 3", &["f:2: admin.tls: is an integer, not a table; write [admin.tls]"]),
        ("tls.cert = \"/c\"", &["f:2: admin.tls.cert: is not a known key"]),
        ("hosts = [\"a b\"]", &["f:2: admin.hosts[0]: "]),
        (
            "metrics_listen = \"127.0.0.1:9901\"",
            &["f:2: admin.metrics_listen[0]: 127.0.0.1:9901 collides with"],
        ),
    ] {
        expect(&closed(admin), &[], lines);
    }
}
