//! Random writes, of which a random prefix was applied, among random writes of others, before, between, and while the
//! evidence is read: a verdict is never wrong.

use super::model::{HIDDEN, OPEN, READ_ONLY, Tree};
use crate::zookeeper::outcome::{Evidence, Pending, Rivals, Step, Verdict, decide};
use crate::zookeeper::wire::tests::requests::{Acls, Wanted};
use crate::zookeeper::wire::{Request, Stat, reply};
use proptest::prelude::*;
use std::cell::Cell;
use std::fmt;

/// More for a longer look: `OUTCOME_CASES=60` tries sixty times as many.
fn times() -> u32 {
    std::env::var("OUTCOME_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

const OURS: i64 = 7;
const THEIRS: i64 = 8;

const PATHS: [&str; 7] = ["/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/q", "/b/x0000000000"];

fn path() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::sample::select(PATHS.to_vec()).prop_map(|path| Some(path.as_bytes().to_vec()))
}

fn acl() -> impl Strategy<Value = Acls> {
    prop_oneof![6 => Just(OPEN), 1 => Just(READ_ONLY), 1 => Just(HIDDEN)]
        .prop_map(|perms| Some(vec![(perms, Some(b"world".to_vec()), Some(b"anyone".to_vec()))]))
}

/// One write, whose data is one of `bytes`.
fn one(bytes: &'static [&'static str]) -> impl Strategy<Value = Wanted> {
    let data = move || prop::sample::select(bytes).prop_map(|data| Some(data.as_bytes().to_vec()));
    let version = || prop_oneof![2 => Just(-1), 5 => 0..3i32];
    prop_oneof![
        5 => (prop::sample::select(vec![1, 15]), path(), data(), acl(), 0..4i32).prop_map(
            |(opcode, path, data, acl, flags)| Wanted::Create { opcode, path, data, acl, flags, ttl: 0 }
        ),
        2 => (path(), version()).prop_map(|(path, number)| Wanted::Number { opcode: 2, path, number }),
        4 => (path(), data(), version())
            .prop_map(|(path, data, version)| Wanted::SetData { path, data, version }),
    ]
}

pub(super) fn write(bytes: &'static [&'static str]) -> impl Strategy<Value = Wanted> {
    let check = (path(), -1..3i32).prop_map(|(path, number)| Wanted::Number { opcode: 13, path, number });
    let parts = prop_oneof![4 => one(bytes), 1 => check];
    prop_oneof![
        10 => one(bytes),
        1 => (path(), acl(), -1..2i32).prop_map(|(path, acl, version)| Wanted::SetAcl { path, acl, version }),
        2 => prop::collection::vec(parts, 0..4).prop_map(|ops| Wanted::Multi { reads: false, ops }),
    ]
}

/// Everything that happens in one case.
#[derive(Clone)]
struct Story {
    /// Before the first of ours is sent.
    before: Vec<(Wanted, bool)>,
    /// So many of these came before the client last heard of anything: it has brought its session to another connection since.
    came: Option<usize>,
    /// Ours, each with what others do before it is reached.
    ours: Vec<(Wanted, Vec<Wanted>)>,
    /// How many of ours are reached.
    reached: usize,
    /// What others do between the reads.
    during: Vec<Wanted>,
    /// A mistake: that it came with a session that it had is not thought of.
    forgotten: bool,
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |list: &[Wanted], f: &mut fmt::Formatter<'_>| {
            list.iter().try_for_each(|wanted| writeln!(f, "      theirs: {}", show(wanted)))
        };
        writeln!(f)?;
        for (wanted, own) in &self.before {
            writeln!(f, "  before{}: {}", if *own { ", ours" } else { "" }, show(wanted))?;
        }
        for (index, (wanted, others)) in self.ours.iter().enumerate() {
            all(others, f)?;
            writeln!(f, "  ours, reached: {}: {}", index < self.reached, show(wanted))?;
        }
        writeln!(f, "  while reading:")?;
        all(&self.during, f)
    }
}

/// On one line.
fn show(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Multi { ops, .. } => format!("multi {:?}", ops.iter().map(show).collect::<Vec<_>>()),
        Wanted::Create { path, data, acl, flags, .. } => {
            let perms = acl.as_ref().map(|acl| acl[0].0);
            format!(
                "create {} {} perms {perms:?} flags {flags}",
                text(path.as_deref()),
                text(data.as_deref())
            )
        }
        Wanted::SetData { path, data, version } => {
            format!("setData {} {} v{version}", text(path.as_deref()), text(data.as_deref()))
        }
        Wanted::Number { opcode, path, number } => format!("{opcode} {} v{number}", text(path.as_deref())),
        other => format!("{other:?}"),
    }
}

fn text(field: Option<&[u8]>) -> String {
    String::from_utf8_lossy(field.unwrap_or(b"null")).into_owned()
}

/// `others`: the bytes that the others write, and how many of them write at one moment at most.
fn story(others: &'static [&'static str], at_most: usize) -> impl Strategy<Value = Story> {
    let ours = write(&["o", "p"]);
    (
        prop::collection::vec((write(&["o", "r"]), any::<bool>()), 2..14),
        prop::collection::vec((ours, prop::collection::vec(write(others), 0..=at_most)), 1..5),
        any::<prop::sample::Index>(),
        prop::collection::vec(write(others), 0..=4 * at_most),
    )
        .prop_map(|(before, ours, reached, during)| {
            let reached = reached.index(ours.len() + 1);
            Story { before, came: None, ours, reached, during, forgotten: false }
        })
}

fn with<T>(wanted: &Wanted, act: impl FnOnce(&Request<'_>) -> T) -> T {
    let payload = wanted.payload();
    act(&Request::decode(wanted.opcode(), &payload).unwrap())
}

type Outcome = Result<bytes::Bytes, i32>;

struct Told {
    verdicts: Vec<Verdict>,
    /// What became of each on the old connection, if it was reached.
    truth: Vec<Option<Outcome>>,
    /// The tree before the first of them, and when all is read.
    trees: [Tree; 2],
}

fn tell(story: &Story, rivals: Rivals) -> Told {
    let mut tree = Tree::new();
    let mut z0 = 0;
    for (index, (wanted, own)) in story.before.iter().enumerate() {
        let _ = with(wanted, |request| tree.write(request, if *own { OURS } else { THEIRS }));
        if story.came.is_none_or(|heard| index < heard) {
            z0 = tree.zxid;
        }
    }
    let start = tree.clone();
    let mut truth = Vec::new();
    for (index, (wanted, others)) in story.ours.iter().enumerate() {
        for other in others {
            let _ = with(other, |request| tree.write(request, THEIRS));
        }
        let reached = index < story.reached;
        truth.push(reached.then(|| with(wanted, |request| tree.write(request, OURS))));
    }
    tree.zxid += 1; // the fence
    let payloads: Vec<Vec<u8>> = story.ours.iter().map(|(wanted, _)| wanted.payload()).collect();
    let pending: Vec<Pending<'_>> = story
        .ours
        .iter()
        .zip(&payloads)
        .map(|((wanted, _), payload)| Pending {
            request: Request::decode(wanted.opcode(), payload).unwrap(),
            z0,
            inherits: story.came.is_some() && !story.forgotten,
        })
        .collect();
    let mut evidence = Evidence::new();
    let mut during = story.during.iter();
    for _ in 0..12 {
        match decide(&pending, OURS, rivals, &mut evidence) {
            Step::Decided(verdicts) => return Told { verdicts, truth, trees: [start, tree] },
            Step::Read(reads) => {
                assert!(!reads.is_empty());
                for read in reads {
                    if let Some(other) = during.next() {
                        let _ = with(other, |request| tree.write(request, THEIRS));
                    }
                    let (err, body) = tree.read(&read);
                    evidence.learn(read, err, &body);
                }
            }
        }
    }
    panic!("it reads for ever");
}

/// A multi of checks, or of nothing: to do it again changes nothing.
fn traceless(wanted: &Wanted) -> bool {
    matches!(wanted, Wanted::Multi { ops, .. } if ops.iter().all(|op| op.opcode() == 13))
}

/// The parts of a stat that a write of data decides.
fn of_data(stat: Stat) -> (i64, i64, i64, i32, i32) {
    (stat.czxid, stat.mzxid, stat.mtime, stat.version, stat.data_length)
}

#[derive(Default)]
struct Count {
    applied: Cell<u32>,
    rejected: Cell<u32>,
    replay: Cell<u32>,
    unknown: Cell<u32>,
}

fn up(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

fn judge(story: &Story, rivals: Rivals, count: &Count) -> Result<(), TestCaseError> {
    let told = tell(story, rivals);
    prop_assert_eq!(told.verdicts.len(), told.truth.len());
    let last_applied = told.verdicts.iter().rposition(|v| matches!(v, Verdict::Applied { .. }));
    for (index, (verdict, truth)) in told.verdicts.iter().zip(&told.truth).enumerate() {
        let wanted = &story.ours[index].0;
        let applied = matches!(truth, Some(Ok(_)));
        match verdict {
            Verdict::Applied { body, .. } => {
                up(&count.applied);
                let Some(Ok(real)) = truth else {
                    return Err(TestCaseError::fail(format!("{} was not applied: {truth:?}", show(wanted))));
                };
                match wanted {
                    Wanted::SetData { .. } => prop_assert_eq!(
                        of_data(reply::stat(body).unwrap()),
                        of_data(reply::stat(real).unwrap())
                    ),
                    Wanted::SetAcl { .. } => {}
                    Wanted::Multi { ops, .. } if ops.iter().any(|op| op.opcode() == 5) => {
                        prop_assert_eq!(body.len(), real.len());
                    }
                    _ => prop_assert_eq!(body, real),
                }
            }
            Verdict::Rejected(_) => {
                up(&count.rejected);
                prop_assert!(!applied, "{} was applied, not {verdict:?}", show(wanted));
            }
            Verdict::Replay => {
                up(&count.replay);
                prop_assert!(
                    !applied || traceless(wanted),
                    "{} was applied, and would be again",
                    show(wanted)
                );
                prop_assert!(
                    last_applied.is_none_or(|last| index > last),
                    "it would come behind a later one"
                );
            }
            Verdict::Unknown { .. } => up(&count.unknown),
        }
    }
    if rivals == Rivals::None { as_if_nothing_was_lost(story, told) } else { Ok(()) }
}

/// Where nothing is unknown and nobody else writes, every write ends as it would have without the loss.
fn as_if_nothing_was_lost(story: &Story, told: Told) -> Result<(), TestCaseError> {
    if told.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Unknown { .. })) {
        return Ok(());
    }
    let [mut ideal, mut tree] = told.trees;
    for ((wanted, _), verdict) in story.ours.iter().zip(&told.verdicts) {
        let due = with(wanted, |request| ideal.write(request, OURS));
        let got: Outcome = match verdict {
            Verdict::Applied { body, .. } => Ok(body.clone()),
            Verdict::Rejected(err) => Err(*err),
            _ => with(wanted, |request| tree.write(request, OURS)),
        };
        prop_assert_eq!(due.is_ok(), got.is_ok(), "{} ends as {:?}, not {:?}", show(wanted), got, due);
    }
    Ok(())
}

/// Of a client that came with a session that it had.
fn resumed(forgotten: bool) -> impl Strategy<Value = Story> {
    (story(&["r", "s"], 2), any::<prop::sample::Index>()).prop_map(move |(story, heard)| {
        let came = Some(heard.index(story.before.len() + 1));
        Story { came, forgotten, ..story }
    })
}

fn run(cases: u32, rivals: Rivals, stories: impl Strategy<Value = Story>) -> Count {
    let (count, judged) = try_all(cases, rivals, stories);
    if let Err(wrong) = judged {
        panic!("{wrong}");
    }
    count
}

fn try_all(cases: u32, rivals: Rivals, stories: impl Strategy<Value = Story>) -> (Count, Result<(), String>) {
    let count = Count::default();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: cases * times(),
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let judged = runner.run(&stories, |story| judge(&story, rivals, &count));
    (count, judged.map_err(|wrong| wrong.to_string()))
}

/// Enough of each verdict was seen for the test to have meant something.
fn seen_all(count: &Count, at_least: u32) {
    eprintln!(
        "{} {} {} {}",
        count.applied.get(),
        count.rejected.get(),
        count.replay.get(),
        count.unknown.get()
    );
    for (name, cell) in [
        ("applied", &count.applied),
        ("rejected", &count.rejected),
        ("replay", &count.replay),
        ("unknown", &count.unknown),
    ] {
        assert!(cell.get() >= at_least, "{name}: {} of at least {at_least}", cell.get());
    }
}

#[test]
fn a_verdict_is_never_wrong_among_rivals_that_write_other_bytes() {
    seen_all(&run(3000, Rivals::Distinct, story(&["r", "s"], 2)), 100);
}

#[test]
fn a_verdict_is_never_wrong_among_rivals_that_write_the_same_bytes() {
    seen_all(&run(3000, Rivals::Same, story(&["o", "r"], 2)), 50);
}

#[test]
fn a_verdict_is_never_wrong_where_there_are_no_rivals() {
    seen_all(&run(3000, Rivals::None, story(&["r"], 0)), 100);
}

#[test]
fn a_verdict_is_never_wrong_for_a_client_that_came_with_its_session() {
    let count = run(3000, Rivals::Distinct, resumed(false));
    assert_eq!(count.applied.get(), 0, "what looks like it may be the other connection's doing");
    for cell in [&count.rejected, &count.replay, &count.unknown] {
        assert!(cell.get() >= 100);
    }
}

#[test]
fn a_verdict_that_forgets_other_connections_is_found_out() {
    let (_, judged) = try_all(3000, Rivals::Distinct, resumed(true));
    let wrong = judged.expect_err("a wrong verdict");
    assert!(wrong.contains("was not applied"), "{wrong}");
}
