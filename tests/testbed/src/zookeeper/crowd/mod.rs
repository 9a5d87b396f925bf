//! A crowd of sessions in one thread: each holds an ephemeral node and a watch of every kind (data, child, exist, persistent,
//! persistent recursive), sets one-shot ones again when they fire, and asks something small on a steady beat. Meanwhile the
//! watched nodes are changed straight at the servers. What each session was told is held against all changes.
//!
//! Speaks the protocol itself: a library's own threads and locks would be measured with it.

mod frames;
mod judge;
mod session;
mod writer;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use self::judge::{Made, Told};
use self::session::Session;
use self::writer::{HOT, Writer};
use super::wire::Out;
use crate::{Error, Result, wait};

pub use judge::Events;

/// What every session asks for.
const TIMEOUT_MS: i32 = 10_000;
/// For the whole crowd to be there, and for it to be told of the last changes.
const PATIENCE: Duration = Duration::from_secs(120);

/// How large a crowd is, and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Sessions.
    pub sessions: usize,
    /// Those of them that share their watched nodes.
    pub group: usize,
    /// The time between two changes at a group's nodes.
    pub change_every: Duration,
    /// The beat.
    pub beat: Duration,
    /// Of so many sessions one has a beat of 5 ms: with these the pauses are measured.
    pub one_in: usize,
    /// Whether each group has a hot node besides, the same one changed every time. Before 3.9 events carry no zxid, and a move from an old
    /// leader can take two equal ones for one (2 of 19,995 were lost in one run on 3.8.7).
    pub hot: bool,
}

/// The beat with which pauses are measured.
const QUICK: Duration = Duration::from_millis(5);

/// One-shot watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Child,
    Exist,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Data, Self::Child, Self::Exist];

    fn path(self) -> &'static str {
        match self {
            Self::Data => "/data",
            Self::Child => "/child",
            Self::Exist => "/exist",
        }
    }

    fn word(self) -> &'static str {
        self.path().trim_start_matches('/')
    }
}

/// A transaction for each kind of one-shot watch.
#[derive(Debug)]
struct Each([AtomicI64; 3]);

impl Each {
    fn new(value: i64) -> Self {
        Self([value; 3].map(AtomicI64::new))
    }

    fn of(&self, kind: Kind) -> &AtomicI64 {
        let [data, child, exist] = &self.0;
        match kind {
            Kind::Data => data,
            Kind::Child => child,
            Kind::Exist => exist,
        }
    }
}

/// What is known of one session.
#[derive(Debug)]
struct Member {
    number: usize,
    beat: Duration,
    session: AtomicI64,
    /// On what its one-shot watches are set; −1: on nothing.
    armed: Each,
    told: Mutex<Vec<Told>>,
    /// The longest answer to a beat in each window, in microseconds.
    longest: Mutex<Vec<u32>>,
}

impl Member {
    fn answered(&self, window: usize, took: u32) {
        let mut longest = lock(&self.longest);
        if longest.len() <= window {
            longest.resize(window + 1, 0);
        }
        if let Some(known) = longest.get_mut(window) {
            *known = took.max(*known);
        }
    }
}

/// Sessions that share their watched nodes.
#[derive(Debug)]
struct Group {
    root: String,
    members: Vec<Arc<Member>>,
    /// What is there, of each kind.
    states: Each,
    made: Mutex<Vec<Made>>,
}

#[derive(Debug)]
struct State {
    root: String,
    hot: bool,
    groups: Vec<Group>,
    /// Which window it is: see [`Crowd::window`].
    window: AtomicUsize,
    /// All sessions are there: changes begin.
    begun: AtomicBool,
    /// Changes end.
    ends: AtomicBool,
    /// Writers at work.
    writing: AtomicUsize,
}

impl State {
    /// A session's ephemeral node.
    fn live(&self, number: usize) -> String {
        format!("{}/live/{number}", self.root)
    }
}

/// A crowd at work. Dropping it ends it without a judgement.
#[derive(Debug)]
pub struct Crowd {
    state: Arc<State>,
    members: Vec<Arc<Member>>,
    end: watch::Sender<bool>,
    failures: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
    ready: Arc<AtomicUsize>,
}

/// What became of a crowd.
#[derive(Clone, Debug)]
pub struct Crowded {
    /// Events, of all sessions together.
    pub events: Events,
    /// Sessions whose connection ended before the crowd did, and why (writers that failed too).
    pub failures: Vec<String>,
    /// Ephemeral nodes that were not there at the end, or were not their session's.
    pub ephemerals_lost: usize,
    /// Of each session with a quick beat its id, and the longest answer in each window, in microseconds.
    pub longest: Vec<(i64, Vec<u32>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every session begins with.
fn hello() -> Out {
    Out::default().int(0).long(0).int(TIMEOUT_MS).long(0).buffer(&[0; 16]).flag(false)
}

impl Crowd {
    /// Starts a crowd: sessions connect to `through`, and the watched nodes are changed at `servers`. Waits until all are there.
    pub fn start(size: Size, through: SocketAddr, servers: &[SocketAddr]) -> Result<Self> {
        static CROWDS: AtomicUsize = AtomicUsize::new(1);
        let root = format!("/crowd-{}", CROWDS.fetch_add(1, Relaxed));
        let member = |number: usize| {
            Arc::new(Member {
                number,
                beat: if number.is_multiple_of(size.one_in.max(1)) { QUICK } else { size.beat },
                session: AtomicI64::new(0),
                armed: Each::new(-1),
                told: Mutex::default(),
                longest: Mutex::default(),
            })
        };
        let members: Vec<Arc<Member>> = (0..size.sessions).map(member).collect();
        let groups = members.chunks(size.group.max(1)).enumerate().map(|(number, members)| Group {
            root: format!("{root}/{number}"),
            members: members.to_vec(),
            states: Each::new(0),
            made: Mutex::default(),
        });
        let groups = groups.collect();
        let state = Arc::new(State {
            root,
            hot: size.hot,
            groups,
            window: AtomicUsize::new(0),
            begun: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            writing: AtomicUsize::new(0),
        });
        let (end, ends) = watch::channel(false);
        let (failures, ready) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let all = All {
            size,
            through,
            servers: servers.to_vec(),
            state: Arc::clone(&state),
            members: members.clone(),
            failures: Arc::clone(&failures),
            ready: Arc::clone(&ready),
        };
        let thread = std::thread::spawn(move || all.run(ends));
        let crowd = Self { state, members, end, failures, thread: Some(thread), ready };
        wait::poll("the crowd", PATIENCE, Duration::from_millis(50), || {
            if let Some(failure) = crowd.failed().first() {
                return Err(Error::program("the crowd", failure.clone()));
            }
            Ok((crowd.ready.load(Relaxed) == crowd.members.len()).then_some(()))
        })?;
        Ok(crowd)
    }

    fn failed(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// Another window begins, in which the longest answers are noted apart: its number.
    pub fn window(&self) -> usize {
        self.state.window.fetch_add(1, Relaxed) + 1
    }

    /// Events that are due by now.
    pub fn due(&self) -> usize {
        let each = self.state.groups.iter().map(|group| lock(&group.made).len() * group.members.len());
        each.sum()
    }

    /// The ids of its sessions.
    pub fn sessions(&self) -> Vec<i64> {
        self.members.iter().map(|member| member.session.load(Relaxed)).collect()
    }

    /// Ends the changes, waits for the last events, and judges. `owner` tells whose an ephemeral node is.
    pub fn finish(mut self, mut owner: impl FnMut(&str) -> Result<Option<i64>>) -> Result<Crowded> {
        self.state.ends.store(true, Relaxed);
        wait::until("the end of changes", PATIENCE, || self.state.writing.load(Relaxed) == 0)?;
        let told = |member: &Member| lock(&member.told).len();
        let _ = wait::until("the last events", Duration::from_secs(20), || {
            self.members.iter().map(|member| told(member)).sum::<usize>() >= self.due()
                || !self.failed().is_empty()
        });
        let mut ephemerals_lost = 0;
        for member in &self.members {
            let is_there = owner(&self.state.live(member.number))? == Some(member.session.load(Relaxed));
            ephemerals_lost += usize::from(!is_there);
        }
        let _ = self.end.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| Error::program("the crowd", "its thread panicked"))?;
        }
        let mut events = Events::default();
        for group in &self.state.groups {
            let made = lock(&group.made);
            for member in &group.members {
                events = events.and(judge::judge(&made, &lock(&member.told)));
            }
        }
        let quick = self.members.iter().filter(|member| member.beat == QUICK);
        let longest = quick.map(|member| (member.session.load(Relaxed), lock(&member.longest).clone()));
        Ok(Crowded { events, failures: self.failed(), ephemerals_lost, longest: longest.collect() })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.state.ends.store(true, Relaxed);
        let _ = self.end.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What runs in the crowd's thread.
struct All {
    size: Size,
    through: SocketAddr,
    servers: Vec<SocketAddr>,
    state: Arc<State>,
    members: Vec<Arc<Member>>,
    failures: Arc<Mutex<Vec<String>>>,
    ready: Arc<AtomicUsize>,
}

impl All {
    fn run(self, ends: watch::Receiver<bool>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = match runtime {
            Ok(runtime) => {
                let local = tokio::task::LocalSet::new();
                let done = local.block_on(&runtime, self.all(ends));
                // What still runs (sessions that failed, writers) ends with it.
                drop(local);
                done
            }
            Err(error) => Err(Error::io("a runtime")(error)),
        };
        if let Err(error) = done {
            lock(&self.failures).push(error.to_string());
        }
    }

    async fn all(&self, ends: watch::Receiver<bool>) -> Result<()> {
        let mut first = true;
        for (number, (group, server)) in self.state.groups.iter().zip(self.servers.iter().cycle()).enumerate()
        {
            let mut writer = Writer::connect(*server).await?;
            if std::mem::take(&mut first) {
                writer.create(&self.state.root).await?;
                writer.create(&format!("{}/live", self.state.root)).await?;
            }
            writer.create(&group.root).await?;
            for (kind, node) in
                [(Some(Kind::Data), "data"), (Some(Kind::Child), "child"), (None, "node"), (None, "tree")]
            {
                let zxid = writer.create(&format!("{}/{node}", group.root)).await?;
                if let Some(kind) = kind {
                    // The list of children begins with the node itself.
                    group.states.of(kind).store(zxid, Relaxed);
                }
            }
            writer.create(&format!("{}{HOT}", group.root)).await?;
            self.write(number, writer);
        }
        let mut sessions = Vec::new();
        let of_group = self.size.group.max(1);
        for members in self.members.chunks(16) {
            let mut some = Vec::new();
            for member in members {
                let (state, member, failures) =
                    (Arc::clone(&self.state), Arc::clone(member), Arc::clone(&self.failures));
                let (through, ends, ready) = (self.through, ends.clone(), Arc::clone(&self.ready));
                some.push(tokio::task::spawn_local(async move {
                    let Some(group) = state.groups.get(member.number / of_group) else { return };
                    let lived = async {
                        let session = Session::start(through, &state, group, &member).await?;
                        ready.fetch_add(1, Relaxed);
                        session.live(ends).await
                    };
                    if let Err(error) = lived.await {
                        let text = format!("session {}: {error}", member.number);
                        lock(&failures).push(text);
                    }
                }));
            }
            sessions.append(&mut some);
            // Those that are under way first: a thousand at once would be a test of something else.
            while self.ready.load(Relaxed) + 16 < sessions.len() && !*ends.borrow() && !self.has_failed() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        while self.ready.load(Relaxed) < sessions.len() && !*ends.borrow() && !self.has_failed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.state.begun.store(true, Relaxed);
        for session in sessions {
            let _ = session.await;
        }
        Ok(())
    }

    /// The changes of a group, in a task of their own.
    fn write(&self, number: usize, writer: Writer) {
        let (state, failures) = (Arc::clone(&self.state), Arc::clone(&self.failures));
        let every = self.size.change_every;
        self.state.writing.fetch_add(1, Relaxed);
        drop(tokio::task::spawn_local(async move {
            if let Some(group) = state.groups.get(number)
                && let Err(error) = writer.run(&state, group, every).await
            {
                lock(&failures).push(error.to_string());
            }
            state.writing.fetch_sub(1, Relaxed);
        }));
    }

    fn has_failed(&self) -> bool {
        !lock(&self.failures).is_empty()
    }
}
