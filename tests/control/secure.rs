//! The listener encrypted: certificates of its own and of clients, and what is not let in.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

use crate::bed::{Folder, Program, Seen, evenkeel};
use crate::{TOKEN, closed};

/// An authority, its certificate in PEM.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![
            SanType::DnsName(name.try_into().unwrap()),
            SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        (certificate, key.serialize_pem())
    }
}

/// Puts a pair into a folder; its key, as nobody must see it.
fn put(folder: &Folder, name: &str, (certificate, key): &(String, String)) -> String {
    folder.put(&format!("{name}.pem"), certificate);
    folder.put(&format!("{name}.key"), key);
    key.lines().nth(1).unwrap().to_owned()
}

#[test]
fn an_encrypted_listener_takes_tokens_and_certificates_of_its_authority() {
    let folder = Folder::new("secure");
    let (servers, clients, strangers) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("strangers"));
    let mut keys = vec![put(&folder, "admin", &servers.issue("localhost"))];
    keys.push(put(&folder, "client", &clients.issue("controller")));
    keys.push(put(&folder, "stranger", &strangers.issue("controller")));
    for (name, authority) in [("servers", &servers), ("clients", &clients), ("strangers", &strangers)] {
        folder.put(&format!("{name}-ca.pem"), &authority.pem);
    }
    let file = |name: &str| folder.0.join(name);
    let tls = ["certificate = \"admin.pem\"", "key = \"admin.key\"", "ca = \"clients-ca.pem\""]
        .map(|line| format!("tls.{}", line.replacen(" = \"", &format!(" = \"{}/", folder.0.display()), 1)));
    let config = folder.put("evenkeel.toml", &closed(&folder, &tls.join("\n")));
    let mut seen = Seen::default();
    let mut sidecar = Program::start(&config);
    let url = format!("https://{}", sidecar.admin[0]);
    let ask = |seen: &mut Seen, url: &str, options: &[(&str, &str)]| {
        let mut command = evenkeel();
        command.args(["bypass", "off", "coord", "--admin", url]);
        for (option, name) in options {
            command.arg(option).arg(file(name));
        }
        seen.command(&mut command)
    };
    let own = ("--ca", "servers-ca.pem");
    let certificate = |name: &'static str, key: &'static str| [own, ("--certificate", name), ("--key", key)];
    let token = [own, ("--token-file", "tokens")];
    assert_eq!(ask(&mut seen, &url, &token), (0, "coord: bypass is off\n".to_owned()));
    assert_eq!(ask(&mut seen, &url, &certificate("client.pem", "client.key")).0, 0);
    // The scheme is known by the authority.
    let plain = url.replace("https://", "");
    assert_eq!(ask(&mut seen, &plain, &token).0, 0);
    for (url, options, why) in [
        (&url, &[own][..], "401"),
        (&url, &certificate("stranger.pem", "stranger.key")[..], ""),
        (&url, &[("--ca", "strangers-ca.pem"), ("--token-file", "tokens")][..], "strangers-ca.pem"),
        (&url, &certificate("client.pem", "stranger.key")[..], "is not the key of the certificate"),
        (&url, &[("--ca", "nowhere.pem")][..], "can't be read"),
        (&url, &[("--ca", "client.key")][..], "holds no certificate"),
        (&format!("http://{plain}"), &token[1..], ""),
    ] {
        let (code, text) = ask(&mut seen, url, options);
        assert!(
            code == 1 && text.contains(why) && text.trim().lines().count() == 1,
            "{url} {options:?}: {text}"
        );
    }
    // What is not encrypted, and what is no handshake, is answered with nothing of use.
    assert!(
        !seen
            .raw(sidecar.admin[0], b"GET /v1/clusters HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .contains("coord")
    );
    // Certificates are renewed, and the authority of clients is another one: without a restart.
    let next = Authority::new("next");
    keys.push(put(&folder, "admin", &next.issue("localhost")));
    folder.put("clients-ca.pem", &strangers.pem);
    folder.put("servers-ca.pem", &next.pem);
    assert_eq!(ask(&mut seen, &url, &certificate("stranger.pem", "stranger.key")).0, 0);
    assert_eq!(ask(&mut seen, &url, &certificate("client.pem", "client.key")).0, 1);
    // A certificate that can't be used leaves the one before.
    folder.put("admin.pem", "nothing");
    assert_eq!(ask(&mut seen, &url, &token).0, 0);
    // A wrong token is refused, whatever the certificate.
    folder.put("wrong", "a-token-that-is-not-known");
    let wrong = [&certificate("stranger.pem", "stranger.key")[..], &[("--token-file", "wrong")]].concat();
    assert!(ask(&mut seen, &url, &wrong).1.contains("401"));
    let (_, metrics) = seen.http(sidecar.admin[1], "GET", "/metrics", "", "");
    assert!(metrics.contains("evenkeel_admin_refused_total{reason=\"handshake\"}"), "{metrics}");
    assert!(!metrics.contains("evenkeel_admin_refused_total{reason=\"handshake\"} 0\n"), "{metrics}");
    seen.text(&sidecar.end());
    assert!(seen.all.contains("TLS files have changed and were read again"), "{}", seen.all);
    let mut secrets: Vec<&str> = keys.iter().map(String::as_str).collect();
    secrets.extend([TOKEN, "a-token-that-is-not-known"]);
    assert!(secrets.iter().all(|secret| secret.len() > 20), "{secrets:?}");
    seen.has_none_of(&secrets);
}
