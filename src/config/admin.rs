//! Rules of the admin listener's keys: what others can reach asks them for a credential.
//!
//! Imports files of this folder only.

use super::report::Report;
use super::types::Admin;

/// Who may reach the admin listener: a listener that others can reach asks them for a credential.
pub(super) fn check(admin: &Admin, report: &mut Report) {
    let [token, certificate, key, ca] =
        ["token_file", "tls.certificate", "tls.key", "tls.ca"].map(|name| format!("admin.{name}"));
    if !report.is_sound(&token) || !report.is_sound(&ca) {
        return;
    }
    let tls = &admin.tls;
    match (&tls.certificate, &tls.key) {
        (Some(_), None) if report.is_sound(&key) => {
            report.add_at(&certificate, "is of no use without its key; write admin.tls.key as well");
        }
        (None, Some(_)) if report.is_sound(&certificate) => {
            report.add_at(&key, "is of no use without its certificate; write admin.tls.certificate as well");
        }
        (None, None) if tls.ca.is_some() && report.is_sound(&certificate) && report.is_sound(&key) => {
            let text = "is of no use without a certificate of the listener's own; write admin.tls.certificate and \
                        admin.tls.key as well";
            report.add_at(&ca, text);
        }
        _ => {}
    }
    if admin.token_file.is_some() || tls.ca.is_some() {
        return;
    }
    if !admin.trust_loopback && report.is_sound("admin.trust_loopback") {
        let text = "leaves nobody who is let in; write admin.token_file, or admin.tls with a ca, as well";
        report.add_at("admin.trust_loopback", text);
    }
    for (index, address) in admin.listen.iter().enumerate() {
        let path = format!("admin.listen[{index}]");
        if !address.ip().to_canonical().is_loopback()
            && report.is_sound(&path)
            && report.is_sound("admin.listen")
        {
            let text = format!(
                "{address} can be reached from elsewhere, and nothing closes it; write admin.token_file, or admin.tls with \
                 a ca, or listen on 127.0.0.1 (metrics and probes alone may be open: admin.metrics_listen)"
            );
            report.add_at(&path, text);
        }
    }
}
