//! Ensembles whose members change, and the test bed's own client, whose changes are made once whatever happens to servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects")]

use std::time::Duration;

use testbed::zookeeper::Direct;
use testbed::{Ensemble, EnsembleSpec, Roll, ZooKeeperVersion};

const SESSION: Duration = Duration::from_secs(8);

fn data(direct: &mut Direct, path: &str) -> String {
    direct.sync().unwrap();
    String::from_utf8(direct.get(path).unwrap().unwrap().0).unwrap()
}

#[test]
fn members_move_come_and_leave() {
    let version = ZooKeeperVersion::V3_9_5;
    let mut ensemble = Ensemble::with(EnsembleSpec::new(version).reconfig()).unwrap();
    let mut direct = ensemble.direct(SESSION).unwrap();
    let session = direct.session();
    direct.create("/kept", b"yes").unwrap();
    let before = ensemble.addr(2);
    ensemble.move_server(2).unwrap();
    assert_ne!(ensemble.addr(2), before);
    assert!(ensemble.ask(2, "srvr").unwrap().contains(&version.to_string()));
    assert_eq!(data(&mut direct, "/kept"), "yes");
    assert_eq!(ensemble.add_server(version).unwrap(), 4);
    ensemble.remove_server(1).unwrap();
    assert_eq!(ensemble.ids(), [2, 3, 4]);
    ensemble.roll(Roll::Soft).unwrap();
    let config = data(&mut direct, "/zookeeper/config");
    for id in ensemble.ids() {
        assert!(config.contains(&format!("server.{id}=")), "{config}");
        assert!(config.contains(&ensemble.addr(id).ip().to_string()), "{config}");
    }
    assert!(!config.contains("server.1="), "{config}");
    assert_eq!(direct.session(), session, "the session has moved along");
}

#[test]
fn every_server_is_upgraded_and_nothing_is_lost() {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_8_6)).unwrap();
    let mut direct = ensemble.direct(SESSION).unwrap();
    direct.create("/n", b"0").unwrap();
    for (version, id) in (0..).zip(ensemble.ids()) {
        ensemble.upgrade(id, ZooKeeperVersion::V3_9_5, Roll::Soft).unwrap();
        direct.set("/n", id.to_string().as_bytes(), version).unwrap();
    }
    assert_eq!(data(&mut direct, "/n"), "3");
    for id in ensemble.ids() {
        assert!(ensemble.ask(id, "srvr").unwrap().contains("3.9.5"));
    }
}

#[test]
fn a_long_tick_and_one_server() {
    let spec = EnsembleSpec::new(ZooKeeperVersion::V3_8_6).servers(1).tick_ms(2000);
    let mut ensemble = Ensemble::with(spec).unwrap();
    assert!(ensemble.ask(1, "conf").unwrap().contains("tickTime=2000"));
    assert_eq!(ensemble.leader(), Some(1));
    let mut direct = ensemble.direct(SESSION).unwrap();
    direct.create("/a", b"").unwrap();
    ensemble.restart(1, Roll::Hard).unwrap();
    direct.set("/a", b"x", 0).unwrap();
    direct.delete("/a").unwrap();
    assert_eq!(direct.exists("/a").unwrap(), None);
}

/// Changes go on while servers are killed; each of them is there once, and what was said of it is so.
#[test]
fn changes_are_made_once_through_kills() {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5)).unwrap();
    let mut direct = ensemble.direct(SESSION).unwrap();
    direct.create("/register", b"").unwrap();
    direct.create("/nodes", b"").unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let own = std::sync::Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        let mut last = 0;
        let mut version = 0;
        while !own.load(std::sync::atomic::Ordering::Relaxed) {
            let path = format!("/nodes/{version}");
            let steps = [
                direct.set("/register", b"x", version).unwrap(),
                direct.create(&path, b"").unwrap(),
                direct.delete(&path).unwrap(),
            ];
            for change in steps {
                assert!(change.zxid > last && change.done_us >= change.sent_us, "{change:?} after {last:x}");
                last = change.zxid;
            }
            version += 1;
        }
        (direct, version, last)
    });
    ensemble.roll(Roll::Hard).unwrap();
    let leader = ensemble.leader().unwrap();
    ensemble.restart(leader, Roll::Hard).unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let (mut direct, version, last) = writer.join().unwrap();
    direct.sync().unwrap();
    let stat = direct.exists("/register").unwrap().unwrap();
    assert_eq!(stat.version, version, "one version for each change");
    let nodes = direct.exists("/nodes").unwrap().unwrap();
    assert_eq!(nodes.pzxid, last, "the last change is the one that was told");
    assert_eq!(direct.children("/nodes").unwrap(), Vec::<String>::new());
    assert!(version > 20, "{version} changes prove little");
}
