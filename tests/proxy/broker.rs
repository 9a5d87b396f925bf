//! One scripted broker: a connection is served strictly in order, one request at a time, as `SocketServer` mutes a
//! channel until its answer is out.
//!
//! What mimics a real broker was seen on 3.9.2 and 4.3.1: a refused Produce has (6) with base offset −1; what a log makes
//! of sequences is in `log.rs`; `InitProducerId` may say (14) with id −1 at first; acks=0 at a
//! broker that isn't the leader closes the connection; `DescribeConfigs` for another broker's id gets (42); a
//! coordinator that isn't one says (16); `LeaveGroup` repeated (25); an unknown fetch session (70); a lower leader epoch
//! than the leader's (74), a higher one (75); an unknown version of `ApiVersions` is answered in v0 form with (35).

use crate::asks::{Asked, Turn};
use crate::fake::{Act, Seen, World};
use crate::{log, make};
use bytes::{BufMut, Bytes, BytesMut};
use evenkeel::kafka::honest;
use evenkeel::kafka::wire::{self, Struct};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Everything that is known of the protocol here, as a broker of the newest version would offer it.
pub fn all_versions() -> BTreeMap<i16, (i16, i16)> {
    let range = |key| wire::request(key).map(|m| (key, (*m.versions().start(), *m.versions().end())));
    (0..100).filter_map(range).collect()
}

enum Reply {
    Answer(Box<Struct>),
    Silence,
    Close,
}

pub async fn connection(world: Arc<Mutex<World>>, node: i32, mut stream: TcpStream) {
    let mut asked = Asked::default();
    while let Some(frame) = read_frame(&mut stream).await {
        let Ok(header) = wire::request_header(&frame) else { return };
        let (key, version, correlation) = (header.api_key, header.api_version, header.correlation_id);
        let client_id = header.client_id(&frame).map(|id| String::from_utf8_lossy(id).into_owned());
        let client_id = client_id.unwrap_or_default();
        let (act, at) = {
            let mut world = world.lock().unwrap();
            let own = client_id == "evenkeel";
            let broker = world.brokers.get_mut(&node).unwrap();
            let scripted =
                broker.scripts.get_mut(&key).filter(|_| !own).and_then(std::collections::VecDeque::pop_front);
            let act = scripted.or_else(|| broker.always.get(&key).filter(|_| !own).cloned());
            let seen = Seen { node, key, version, client_id, frame: frame.clone(), answer: None };
            world.seen.push(seen);
            (act, world.seen.len() - 1)
        };
        let mut answer_version = version;
        let range = world.lock().unwrap().brokers[&node].versions.get(&key).copied();
        let supported = range.is_some_and(|(min, max)| (min..=max).contains(&version));
        let decoded = if supported { wire::decode_request(&frame).ok() } else { None };
        let (mut drip, mut torn, mut wrong, mut body) = (false, false, false, None);
        let mut later = None;
        let asks = world.lock().unwrap().brokers[&node].asks.clone();
        let asked_for = decoded.as_ref().map(|(_, request)| asked.turn(asks.as_ref(), key, request));
        let is_last = matches!(asked_for, Some(Turn::Last(_)));
        let reply = match (act, decoded) {
            _ if matches!(asked_for, Some(Turn::Close)) => Reply::Close,
            (None, Some(_)) if !matches!(asked_for, Some(Turn::Serve)) => {
                let slow = world.lock().unwrap().brokers[&node].slow_handshakes.clone();
                later = slow.or_else(|| asked.wait.take());
                match asked_for {
                    Some(Turn::Answer(answer) | Turn::Last(answer)) => Reply::Answer(answer),
                    Some(Turn::Silence) => Reply::Silence,
                    _ => Reply::Close,
                }
            }
            (_, None) if key == 18 => {
                answer_version = 0;
                let mut answer = make::response(18);
                answer.set_i16("error_code", 35);
                Reply::Answer(Box::new(answer))
            }
            (Some(Act::Close), _) | (_, None) => Reply::Close,
            (Some(Act::Fail(code)), Some((_, request))) => {
                Reply::Answer(Box::new(honest::error(key, version, &request, code).unwrap()))
            }
            (Some(Act::Raw(bytes)), _) => {
                let _ = stream.write_all(&bytes).await;
                continue;
            }
            (act, Some((_, request))) => {
                if let Some(Act::Wait(gate)) = &act {
                    gate.acquire().await.unwrap().forget();
                }
                let mut reply = serve(&world, node, key, version, &request).await;
                match act {
                    Some(Act::ApplyThenClose) => reply = Reply::Close,
                    Some(Act::Change(how)) => {
                        if let Reply::Answer(answer) = &mut reply {
                            how(answer);
                        }
                    }
                    Some(Act::Torn) => torn = true,
                    Some(Act::Drip) => drip = true,
                    Some(Act::AnswerLater(gate)) => later = Some(gate),
                    Some(Act::WrongCorrelation) => wrong = true,
                    Some(Act::Body(bytes)) => body = Some(bytes),
                    _ => {}
                }
                reply
            }
        };
        let answer = match reply {
            Reply::Close => return,
            Reply::Silence => continue,
            Reply::Answer(answer) => answer,
        };
        let correlation = if wrong { correlation ^ 0x55 } else { correlation };
        let mut frame = wire::encode_response(key, answer_version, correlation, &answer).unwrap();
        if let Some(body) = body {
            let at = wire::response_body_at(key, answer_version, &frame).unwrap();
            frame = [&frame[..at], &body[..]].concat().into();
        }
        world.lock().unwrap().seen[at].answer = Some(frame.clone());
        if let Some(gate) = later {
            gate.acquire().await.unwrap().forget();
        }
        let mut bytes = BytesMut::new();
        bytes.put_i32(frame.len() as i32);
        bytes.put_slice(&frame);
        if drip {
            for byte in &bytes {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            continue;
        }
        let end = if torn { bytes.len() / 2 } else { bytes.len() };
        if stream.write_all(&bytes[..end]).await.is_err() || torn || is_last {
            return;
        }
    }
}

async fn read_frame(stream: &mut TcpStream) -> Option<Bytes> {
    let length = stream.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame.into())
}

async fn serve(world: &Mutex<World>, node: i32, key: i16, version: i16, request: &Struct) -> Reply {
    let mut answer = make::response(key);
    match key {
        0 => {
            let done = world.lock().unwrap().produce(node, request);
            let followers = world.lock().unwrap().brokers[&node].followers;
            if request.i16("acks") == -1 && !followers.is_zero() {
                tokio::time::sleep(followers).await;
            }
            return match (request.i16("acks"), done) {
                (0, Some(_)) => Reply::Silence,
                (_, None) => Reply::Close,
                (_, Some(answer)) => Reply::Answer(Box::new(answer)),
            };
        }
        1 => {
            let until =
                Instant::now() + Duration::from_millis(u64::try_from(request.i32("max_wait_ms")).unwrap());
            loop {
                let (mut answer, enough) = world.lock().unwrap().fetch(node, request);
                if enough || Instant::now() >= until {
                    world.lock().unwrap().step_session(node, request, &mut answer);
                    return Reply::Answer(Box::new(answer));
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
        2 => world.lock().unwrap().list_offsets(node, request, &mut answer),
        3 => world.lock().unwrap().metadata(node, version, request, &mut answer),
        10 => world.lock().unwrap().find_coordinator(version, request, &mut answer),
        18 => world.lock().unwrap().api_versions(node, &mut answer),
        22 => {
            let answered = world.lock().unwrap().identities.hand_out(&mut answer);
            return if answered { Reply::Answer(Box::new(answer)) } else { Reply::Silence };
        }
        32 => world.lock().unwrap().describe_configs(node, request, &mut answer),
        60 => world.lock().unwrap().describe_cluster(&mut answer),
        21 | 23 => {
            let leads = world.lock().unwrap().topics["t"].partitions[0].leader == node;
            answer = honest::error(key, version, request, if leads { 0 } else { 6 }).unwrap();
        }
        8 | 9 | 11..=14 | 68 => {
            let mut world = world.lock().unwrap();
            let named =
                if key == 9 && version >= 8 { request.structs("groups").next() } else { Some(request) };
            let group = named.and_then(|row| row.str("group_id")).unwrap_or_default().to_owned();
            if world.coordinator(&group) != node {
                return Reply::Answer(Box::new(honest::error(key, version, request, 16).unwrap()));
            }
            world.group(key, version, request, &mut answer);
        }
        _ => {}
    }
    Reply::Answer(Box::new(answer))
}

impl World {
    pub fn name_of(&self, topic: &Struct, field: &str) -> String {
        let id = topic.uuid("topic_id");
        let by_id = self.topics.iter().find(|(_, known)| id != [0; 16] && known.id == id);
        by_id.map_or_else(|| topic.str(field).unwrap_or_default().to_owned(), |(name, _)| name.clone())
    }

    /// `None`: the connection is closed (acks=0 and not the leader).
    fn produce(&mut self, node: i32, request: &Struct) -> Option<Struct> {
        let mut answer = make::response(0);
        for topic in request.structs("topic_data") {
            let name = self.name_of(topic, "name");
            let mut out = answer.new_struct("responses");
            out.set_str("name", &name);
            out.set_uuid("topic_id", topic.uuid("topic_id"));
            let unknown = if topic.uuid("topic_id") == [0; 16] { 3 } else { 100 };
            for asked in topic.structs("partition_data") {
                let index = asked.i32("index");
                let mut row = out.new_struct("partition_responses");
                row.set_i32("index", index);
                let known = self.topics.get_mut(&name).and_then(|t| t.partitions.get_mut(index as usize));
                let (code, offset) = match known {
                    None => (unknown, -1),
                    Some(partition) if partition.leader != node => (6, -1),
                    Some(partition) => {
                        log::append(&mut partition.log, node, asked.bytes_field("records").unwrap())
                    }
                };
                if code != 0 && request.i16("acks") == 0 {
                    return None;
                }
                row.set_i16("error_code", code);
                row.set_i64("base_offset", offset);
                if code == 6 {
                    self.hint(node, &name, index, &mut row, &mut answer);
                }
                out.push_struct("partition_responses", row);
            }
            answer.push_struct("responses", out);
        }
        Some(answer)
    }

    /// KIP-951: the leader and where it is.
    pub fn hint(&self, node: i32, topic: &str, index: i32, row: &mut Struct, answer: &mut Struct) {
        if !self.brokers[&node].hints {
            return;
        }
        let partition = &self.topics[topic].partitions[index as usize];
        let mut leader = row.new_struct("current_leader");
        leader.set_i32("leader_id", partition.leader);
        leader.set_i32("leader_epoch", partition.epoch);
        row.set_strukt("current_leader", Some(leader));
        let mut endpoint = answer.new_struct("node_endpoints");
        self.fill(partition.leader, "node_id", &mut endpoint);
        answer.push_struct("node_endpoints", endpoint);
    }

    fn list_offsets(&self, node: i32, request: &Struct, answer: &mut Struct) {
        for topic in request.structs("topics") {
            let name = topic.str("name").unwrap();
            let mut out = answer.new_struct("topics");
            out.set_str("name", name);
            for asked in topic.structs("partitions") {
                let mut row = out.new_struct("partitions");
                let index = asked.i32("partition_index");
                row.set_i32("partition_index", index);
                let known = self.topics.get(name).and_then(|t| t.partitions.get(index as usize));
                match known {
                    None => row.set_i16("error_code", 3),
                    Some(partition) if partition.leader != node => row.set_i16("error_code", 6),
                    Some(partition) if asked.i64("timestamp") == -2 => row.set_i64("offset", partition.start),
                    Some(partition) => row.set_i64("offset", log::end(&partition.log)),
                }
                out.push_struct("partitions", row);
            }
            answer.push_struct("topics", out);
        }
    }

    fn group(&mut self, key: i16, version: i16, request: &Struct, answer: &mut Struct) {
        match key {
            8 => {
                let topics: Vec<&Struct> = request.structs("topics").collect();
                let rows = topics.iter().flat_map(|topic| topic.structs("partitions"));
                self.committed.extend(rows.map(|row| row.i64("committed_offset")));
                *answer = honest::error(8, version, request, 0).unwrap();
            }
            11 => {
                answer.set_i32("generation_id", 1);
                answer.set_str("member_id", "member-1");
                answer.set_str("leader", "member-1");
            }
            13 if version < 3 => {
                let member = request.str("member_id").unwrap().to_owned();
                let again = self.left.contains(&member);
                answer.set_i16("error_code", if again { 25 } else { 0 });
                self.left.push(member);
            }
            13 => {
                for asked in request.structs("members") {
                    let member = asked.str("member_id").unwrap().to_owned();
                    let mut row = answer.new_struct("members");
                    row.set_str("member_id", &member);
                    row.set_null("group_instance_id");
                    row.set_i16("error_code", if self.left.contains(&member) { 25 } else { 0 });
                    self.left.push(member);
                    answer.push_struct("members", row);
                }
            }
            14 => answer.set_bytes("assignment", Some(Bytes::from_static(b"yours"))),
            68 => answer.set_i32("member_epoch", request.i32("member_epoch") + 1),
            _ => {}
        }
    }
}
