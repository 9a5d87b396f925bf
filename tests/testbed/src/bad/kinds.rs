//! The kinds of bad connections, and the bytes that they are made of.

use super::{Kind, Noise, Speaks, Step};

pub(super) fn framed(frame: &[u8]) -> Vec<u8> {
    let length = i32::try_from(frame.len()).unwrap_or(i32::MAX);
    [&length.to_be_bytes()[..], frame].concat()
}

/// A request of Kafka: header v1 with the client id "x", then a body.
pub(super) fn kafka(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    framed(
        &[&key.to_be_bytes()[..], &version.to_be_bytes(), &correlation.to_be_bytes(), &[0, 1, b'x'], body]
            .concat(),
    )
}

fn versions(correlation: i32) -> Vec<u8> {
    kafka(18, 0, correlation, &[])
}

/// What a client of `ZooKeeper` opens with: protocol 0, nothing seen, 4 s, no session, a password of 16 bytes, not read-only.
fn hello() -> Vec<u8> {
    framed(&[&[0; 12][..], &4000i32.to_be_bytes(), &[0; 8], &16i32.to_be_bytes(), &[0; 17]].concat())
}

/// A request of `ZooKeeper`.
pub(super) fn zookeeper(xid: i32, code: i32, body: &[u8]) -> Vec<u8> {
    framed(&[&xid.to_be_bytes()[..], &code.to_be_bytes(), body].concat())
}

/// A TLS handshake's first record, as long as such a one is.
fn tls(noise: &mut Noise) -> Vec<u8> {
    [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise.bytes(506)].concat()
}

/// Of any listener.
const BOTH: &[Kind] = &[
    Kind {
        name: "random bytes, then gone",
        slow: false,
        steps: |noise| vec![Step::Send(noise.bytes(1024)), Step::Leave],
    },
    Kind { name: "TLS", slow: false, steps: |noise| vec![Step::Send(tls(noise)), Step::Closed] },
    Kind {
        name: "HTTP",
        slow: false,
        steps: |_| {
            vec![Step::Send(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n".to_vec()), Step::Closed]
        },
    },
    Kind {
        name: "a length of 2 GiB less one",
        slow: false,
        steps: |noise| {
            vec![Step::Send([&[0x7f, 0xff, 0xff, 0xff][..], &noise.bytes(64)].concat()), Step::Closed]
        },
    },
    Kind {
        name: "a negative length",
        slow: false,
        steps: |noise| {
            vec![Step::Send([&[0xff, 0xff, 0xff, 0xfe][..], &noise.bytes(64)].concat()), Step::Closed]
        },
    },
    Kind { name: "a length of nothing", slow: false, steps: |_| vec![Step::Send(vec![0; 4]), Step::Closed] },
    Kind {
        name: "half a length, then the end",
        slow: false,
        steps: |_| vec![Step::Send(vec![0, 0]), Step::End, Step::Closed],
    },
    Kind {
        name: "half a frame, then the end",
        slow: false,
        steps: |noise| {
            vec![Step::Send([&[0, 0, 1, 0][..], &noise.bytes(60)].concat()), Step::End, Step::Closed]
        },
    },
    Kind {
        name: "half a frame, then a reset",
        slow: false,
        steps: |noise| vec![Step::Send([&[0, 0, 1, 0][..], &noise.bytes(60)].concat()), Step::Reset],
    },
    Kind { name: "nothing, and gone", slow: false, steps: |_| vec![Step::Leave] },
    Kind { name: "nothing, and a reset", slow: false, steps: |_| vec![Step::Reset] },
    Kind { name: "nothing at all", slow: true, steps: |_| vec![Step::Closed] },
    Kind {
        name: "half a frame, then nothing",
        slow: true,
        steps: |noise| vec![Step::Send([&[0, 0, 1, 0][..], &noise.bytes(60)].concat()), Step::Closed],
    },
    Kind {
        name: "half a large frame, then nothing",
        slow: true,
        steps: |noise| {
            vec![Step::Send([&1_000_000i32.to_be_bytes()[..], &noise.bytes(500_000)].concat()), Step::Closed]
        },
    },
    Kind {
        name: "one byte at a time",
        slow: true,
        steps: |noise| vec![Step::Send(vec![0, 0, 0x40, 0]), Step::Drip(noise.bytes(16))],
    },
];

const OF_KAFKA: &[Kind] = &[
    Kind {
        name: "an API that there isn't",
        slow: false,
        steps: |_| vec![Step::Send(kafka(9999, 0, 1, &[])), Step::Closed],
    },
    Kind {
        name: "a version that there isn't",
        slow: false,
        steps: |_| vec![Step::Send(kafka(3, 999, 1, &[0; 16])), Step::Closed],
    },
    Kind {
        name: "tagged fields without an end",
        slow: false,
        // Metadata v9, whose header is flexible: so many tags that there is no room for them.
        steps: |_| {
            vec![Step::Send(kafka(3, 9, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0xff])), Step::End, Step::Closed]
        },
    },
    Kind {
        name: "a batch that is none",
        slow: false,
        // Produce v3: no transaction, acks 1, 1 s, one topic with one partition whose records are noise.
        steps: |noise| {
            let head = [
                &[0xff, 0xff, 0, 1][..],
                &1000i32.to_be_bytes(),
                &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0],
            ];
            let body = [head.concat(), framed(&noise.bytes(80))].concat();
            vec![Step::Send(kafka(0, 3, 1, &body)), Step::End, Step::Closed]
        },
    },
    Kind {
        name: "a large token that nobody asked for",
        slow: false,
        // SaslHandshake v1 for PLAIN, then SaslAuthenticate v0.
        steps: |noise| {
            let named = kafka(17, 1, 1, &[0, 5, b'P', b'L', b'A', b'I', b'N']);
            let token = kafka(36, 0, 2, &framed(&noise.bytes(200_000)));
            vec![Step::Send([named, token].concat()), Step::End, Step::Closed]
        },
    },
    Kind {
        name: "one number for many requests, and nothing read",
        slow: false,
        steps: |_| vec![Step::Pile(versions(7), 2000), Step::Reset],
    },
    Kind {
        name: "a good request, then noise",
        slow: false,
        steps: |noise| {
            let noise = [&[0xff, 0, 0, 0][..], &noise.bytes(200)].concat();
            vec![Step::Send(versions(1)), Step::Send(noise), Step::Closed]
        },
    },
];

const OF_ZOOKEEPER: &[Kind] = &[
    Kind {
        name: "a word that there isn't",
        slow: false,
        steps: |_| vec![Step::Send(b"abcd".to_vec()), Step::End, Step::Closed],
    },
    Kind {
        name: "a password of a negative length",
        slow: false,
        steps: |_| {
            let frame =
                [&[0; 12][..], &4000i32.to_be_bytes(), &[0; 8], &(-77i32).to_be_bytes(), &[0; 17]].concat();
            vec![Step::Send(framed(&frame)), Step::Closed]
        },
    },
    Kind {
        name: "an operation that there isn't",
        slow: false,
        steps: |_| vec![Step::Send([hello(), zookeeper(1, 4711, &[])].concat()), Step::End, Step::Closed],
    },
    Kind {
        name: "a path of a negative length",
        slow: false,
        steps: |_| {
            vec![
                Step::Send([hello(), zookeeper(1, 4, &(-9i32).to_be_bytes())].concat()),
                Step::End,
                Step::Closed,
            ]
        },
    },
    Kind {
        name: "large credentials again and again",
        slow: false,
        // AuthPacket: type 0, a scheme, what it proves with.
        steps: |noise| {
            let body = [&[0; 4][..], &framed(b"digest"), &framed(&noise.bytes(20_000))].concat();
            vec![Step::Send(hello()), Step::Pile(zookeeper(-4, 100, &body), 20), Step::End, Step::Closed]
        },
    },
    Kind {
        name: "many pings, and nothing read",
        slow: false,
        steps: |_| vec![Step::Send(hello()), Step::Pile(zookeeper(-2, 11, &[]), 2000), Step::Reset],
    },
    Kind {
        name: "a session, then noise",
        slow: false,
        steps: |noise| {
            let noise = [&[0xff, 0, 0, 0][..], &noise.bytes(200)].concat();
            vec![Step::Send([hello(), noise].concat()), Step::Closed]
        },
    },
];

/// The kinds for a listener, twenty at the least.
pub fn kinds(speaks: Speaks) -> impl Iterator<Item = &'static Kind> {
    let own = match speaks {
        Speaks::Kafka => OF_KAFKA,
        Speaks::ZooKeeper => OF_ZOOKEEPER,
    };
    BOTH.iter().chain(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_least_twenty_of_each() {
        for speaks in [Speaks::Kafka, Speaks::ZooKeeper] {
            assert!(kinds(speaks).count() >= 20, "{speaks:?}");
        }
    }
}
