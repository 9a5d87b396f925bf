//! Requests that no `ZooKeeper` client makes: cut short, with lengths that can't be, of no known operation. Which of them stop an
//! ensemble is found out by [`super::stopped`]; that Evenkeel lets none of those through, by [`super::shielded`].

use super::wire::Out;

/// What must become of a request behind Evenkeel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Evenkeel answers −5 (marshalling error), and the session goes on.
    Refused,
    /// Evenkeel answers −8 (bad arguments), and the session goes on. One that reached a server would end the ensemble for good: it
    /// comes again from its log.
    Unapplied,
    /// Evenkeel answers −6 (unimplemented), and the session goes on.
    Unimplemented,
    /// Evenkeel answers −6 and closes, as a server does with an operation that it doesn't know.
    RefusedAndClosed,
    /// Evenkeel closes.
    Closed,
    /// It is the server's to answer.
    Servers,
}

/// A request that no client makes.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// The operation.
    pub operation: &'static str,
    /// What is wrong with it.
    pub wrong: String,
    /// What must become of it.
    pub due: Due,
    /// All its bytes, its length in front.
    pub bytes: Vec<u8>,
}

/// A well-formed write: its name, its number, its payload, and where a length stands that can be spoilt.
fn writes() -> Vec<(&'static str, i32, Out, usize)> {
    let out = Out::default;
    let create = |flags| out().text("/malformed").buffer(b"data").open_acl().int(flags);
    let part = |operation: i32, body: Out| out().int(operation).flag(false).int(-1).then(&body);
    let end = || out().int(-1).flag(true).int(-1);
    vec![
        ("create", 1, create(0), 0),
        ("create2", 15, create(0), 0),
        ("createContainer", 19, create(4), 0),
        ("createTTL", 21, create(5).long(1000), 0),
        ("delete", 2, out().text("/malformed").int(-1), 0),
        ("setData", 5, out().text("/malformed").buffer(b"data").int(-1), 0),
        ("setACL", 7, out().text("/malformed").open_acl().int(-1), 0),
        ("multi", 14, part(2, out().text("/malformed").int(-1)).then(&end()), 9),
        ("reconfig", 16, out().text("server.9=h:1:2").int(-1).int(-1).long(-1), 0),
    ]
}

fn request(number: i32, payload: &[u8]) -> Vec<u8> {
    let header = Out::default().int(1).int(number);
    frame(&[header.bytes(), payload].concat())
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length, body].concat()
}

/// `payload` with another number at `at`.
fn spoilt(payload: &[u8], at: usize, number: i32) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

impl Malformed {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |operation, wrong: &str, due, bytes| {
            all.push(Self { operation, wrong: wrong.to_owned(), due, bytes });
        };
        for (name, number, payload, length_at) in writes() {
            let whole = payload.bytes();
            let mut refused = |wrong: &str, payload: &[u8]| {
                add(name, wrong, Due::Refused, request(number, payload));
            };
            refused("nothing behind its header", &[]);
            refused("cut by one byte", whole.get(..whole.len() - 1).unwrap_or_default());
            refused("a length of −2", &spoilt(whole, length_at, -2));
            if matches!(name, "create" | "setData") {
                refused("cut in its path", whole.get(..9).unwrap_or_default());
                refused("a length of 2³¹ − 1", &spoilt(whole, length_at, i32::MAX));
                // Behind a path of ten bytes.
                refused("data of −2 bytes", &spoilt(whole, 14, -2));
                refused("data of 1,000,000 bytes that are not there", &spoilt(whole, 14, 1_000_000));
            }
            if name == "create" {
                refused("an access list of 2³¹ − 1 entries", &spoilt(whole, 22, i32::MAX));
                refused("a scheme of −2 bytes in its access list", &spoilt(whole, 30, -2));
            }
            if name == "multi" {
                let end = whole.len() - 9;
                refused("no end", whole.get(..end).unwrap_or_default());
                refused("a part of kind 99", &spoilt(whole, 0, 99));
                refused("a part of kind −1 that isn't the end", &spoilt(whole, 0, -1));
                refused("a multi in the multi", &spoilt(whole, 0, 14));
            }
        }
        Self::of_quotas(&mut add);
        Self::harmless(&mut add);
        Self::of_no_kind(&mut add);
        all
    }

    /// What servers decode, and then can't apply, or nothing after it.
    fn of_quotas(add: &mut impl FnMut(&'static str, &str, Due, Vec<u8>)) {
        let out = Out::default;
        let create =
            |path: &str, data: &str, flags| out().text(path).buffer(data.as_bytes()).open_acl().int(flags);
        let mut unapplied = |name, number, wrong: &str, payload: Out| {
            add(name, wrong, Due::Unapplied, request(number, payload.bytes()));
        };
        let astray = "/zookeeper/quota/zookeeper_limits";
        let good = "count=5,bytes=-1";
        unapplied("create", 1, "limits of no node", create(astray, good, 0));
        unapplied("create", 1, "limits of no node, ephemeral", create(astray, good, 1));
        unapplied("create2", 15, "limits of no node", create(astray, good, 0));
        unapplied("createContainer", 19, "limits of no node", create(astray, good, 4));
        unapplied("createTTL", 21, "limits of no node", create(astray, good, 5).long(1000));
        unapplied(
            "create",
            1,
            "limits that can't be deleted",
            create("/zookeeper/zookeeper_limits", good, 0),
        );
        unapplied(
            "delete",
            2,
            "limits that can't be deleted",
            out().text("/zookeeper/zookeeper_limits").int(-1),
        );
        let end = out().int(-1).flag(true).int(-1);
        let part = out().int(1).flag(false).int(-1).then(&create(astray, good, 0));
        unapplied("multi", 14, "limits of no node", part.then(&end));
        for name in ["limits", "stats"] {
            let path = format!("/zookeeper/quota/others/zookeeper_{name}");
            for data in ["count=x", ""] {
                let wrong = format!("{name} of a quota: {data:?}");
                unapplied("setData", 5, &wrong, out().text(&path).buffer(data.as_bytes()).int(-1));
            }
        }
        unapplied(
            "create",
            1,
            "limits of a quota: \"count=x\"",
            create("/zookeeper/quota/others/zookeeper_limits", "count=x", 0),
        );
    }

    /// What looks as bad, and is the server's to answer.
    fn harmless(add: &mut impl FnMut(&'static str, &str, Due, Vec<u8>)) {
        let out = Out::default;
        let mut passed = |name, number, wrong: &str, payload: Out| {
            add(name, wrong, Due::Servers, request(number, payload.bytes()));
        };
        passed("create", 1, "a path of no length (null)", out().int(-1).buffer(b"").open_acl().int(0));
        passed(
            "create",
            1,
            "a path that is no UTF-8",
            out().buffer(b"/\xff\xfe\xfd").buffer(b"").open_acl().int(0),
        );
        passed("create", 1, "a null access list", out().text("/malformed").buffer(b"").int(-1).int(0));
        passed("create", 1, "flags of no kind", out().text("/malformed").buffer(b"").open_acl().int(77));
        passed(
            "create",
            1,
            "seven bytes behind its end",
            out().text("/malformed").buffer(b"").open_acl().int(0).long(7),
        );
        passed("setData", 5, "a path that is no UTF-8", out().buffer(b"/\xff\xfe\xfd").buffer(b"").int(-1));
        passed(
            "setData",
            5,
            "eight bytes behind its end",
            out().text("/malformed").buffer(b"").int(-1).long(7),
        );
        passed("exists", 3, "nothing behind its header", out());
        passed("getData", 4, "a length of −2", out().int(-2).flag(false));
        passed("getChildren2", 12, "a length of 2³¹ − 1", out().int(i32::MAX).flag(false));
        passed("sync", 9, "nothing behind its header", out());
        passed("multiRead", 22, "cut in its first part", out().int(4).flag(false));
        passed("setWatches", 101, "three null lists", out().long(0).int(-1).int(-1).int(-1));
        passed("addWatch", 106, "nothing behind its header", out());
        passed("removeWatches", 18, "a length of −2", out().int(-2).int(3));
    }

    /// Operations that there are none of, or that are not a client's, and what is no request at all.
    fn of_no_kind(add: &mut impl FnMut(&'static str, &str, Due, Vec<u8>)) {
        let path = Out::default().text("/malformed").int(-1);
        add("check", "alone, not in a multi", Due::Unimplemented, request(13, path.bytes()));
        for (number, wrong) in [
            (999, "number 999"),
            (-7, "number −7"),
            (0, "number 0"),
            (20, "deleteContainer (20), a server's own"),
            (-10, "createSession (−10), a server's own"),
        ] {
            add("none", wrong, Due::RefusedAndClosed, request(number, path.bytes()));
        }
        add("none", "a frame of no bytes", Due::Closed, frame(&[]));
        add("none", "a frame of six bytes: half a header", Due::Closed, frame(&[0; 6]));
        add("none", "a frame of −1 bytes", Due::Closed, (-1i32).to_be_bytes().to_vec());
        add("none", "a frame of 2³¹ − 1 bytes", Due::Closed, i32::MAX.to_be_bytes().to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_and_lengths_are_where_they_are_meant() {
        let all = Malformed::all();
        assert!(all.len() > 60, "{}", all.len());
        for (at, row) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.bytes != row.bytes), "{row:?}");
        }
        for (name, _, payload, at) in writes() {
            let length = payload.bytes()[at..at + 4].first_chunk::<4>().map(|b| i32::from_be_bytes(*b));
            let expected = if name == "reconfig" { 14 } else { 10 };
            assert_eq!(length, Some(expected), "{name}");
        }
        let create = &writes()[0].2;
        let at = |place: usize| {
            create.bytes()[place..place + 4].first_chunk::<4>().map(|b| i32::from_be_bytes(*b))
        };
        assert_eq!([at(14), at(22), at(30)], [Some(4), Some(1), Some(5)]);
    }
}
