//! What was decided, carried out: orders to sidecars, commands, leaders and features.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use serde_json::{Value, json};

use super::command::{self, Commands};
use super::core::{RunSeen, Seen, Sidecar, Step, Want};
use super::event::{Event, How, Line, Task};
use super::exit::{Exit, Halt};
use super::journal::Journal;
use super::leaders::Leaders;
use super::plan::{DRAIN_LASTS_S, PlanFile};
use super::progress::Progress;
use super::view::View;
use super::world::World;
use crate::admin::client::Client;
use crate::fleet::{self, Fleet, GateSaid, Question, Reason, Status};
use crate::time::now;

/// How long an answer waits for a drain's end.
const DRAIN_WAIT_S: u64 = 5;
/// The bound of the plan's check.
const CHECK: Duration = Duration::from_secs(60);
/// Between two looks, and how much more for each sidecar: a thousand of them are asked every ten seconds.
const PACE: Duration = Duration::from_secs(1);
const PACE_EACH: Duration = Duration::from_millis(10);

/// Everything real.
pub(super) struct Real<'a> {
    pub(super) plan: &'a PlanFile,
    pub(super) journal: Journal,
    pub(super) fleet: Fleet,
    pub(super) commands: Commands,
    pub(super) leaders: Leaders,
    pub(super) view: View,
    /// How many sidecars there are.
    pub(super) sidecars: usize,
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The path of what belongs to the plan's cluster.
pub(super) fn path(plan: &PlanFile, rest: &str) -> String {
    format!("/v1/clusters/{}{rest}", plan.cluster)
}

/// The question for a gate.
pub(super) fn gate_question(plan: &PlanFile, gate: crate::upgrade::Gate, member: Option<&str>) -> Question {
    let member = member.map(|id| format!("&member={}", escaped(id))).unwrap_or_default();
    Question::get(path(plan, &format!("/gate?for={}{member}", gate.as_str())))
}

/// A member's id in a query.
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Asks all sidecars what they see.
pub(super) async fn look(fleet: &mut Fleet, plan: &PlanFile) -> Vec<Sidecar> {
    // A name without an address shows in what is waited for: there are no sidecars then.
    let names = fleet.find(now()).await.unwrap_or_default();
    let answers = fleet::ask_all(&fleet.client, &names, &Question::get(path(plan, ""))).await;
    let mut seen = Vec::new();
    for (name, answer) in answers {
        let said = match answer {
            Ok((_, value)) => serde_json::from_value::<Status>(value).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        fleet.note(&name, said.is_ok(), now());
        let silent = fleet.silent_for(&name, now());
        let silent_ms = if said.is_ok() { 0 } else { u64::try_from(silent.as_millis()).unwrap_or(u64::MAX) };
        seen.push(Sidecar { name, silent_ms, said });
    }
    seen
}

/// Asks sidecars for a gate.
pub(super) async fn gate(
    client: &Client,
    plan: &PlanFile,
    want: &Want,
) -> Vec<(String, Result<GateSaid, String>)> {
    let answers =
        fleet::ask_all(client, &want.of, &gate_question(plan, want.gate, want.member.as_deref())).await;
    let each = answers.into_iter().map(|(name, answer)| {
        let said = match answer {
            Ok((_, value)) => serde_json::from_value::<GateSaid>(value).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        (name, said)
    });
    each.collect()
}

impl Real<'_> {
    /// The environment of a command.
    fn environment(&self, member: Option<&str>, progress: &Progress) -> Vec<(String, String)> {
        let mut env = vec![
            ("EVENKEEL_CLUSTER", self.plan.cluster.clone()),
            ("EVENKEEL_PLAN", self.plan.plan_id.clone()),
            ("EVENKEEL_DIRECTION", progress.direction.as_str().to_owned()),
        ];
        let known = member.and_then(|id| self.plan.member(id));
        let (from, to) = self.plan.versions(member.unwrap_or_default(), progress.direction);
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        env.push(("EVENKEEL_MEMBER", text(member)));
        env.push(("EVENKEEL_ADDRESS", text(known.and_then(|known| known.address.as_deref()))));
        env.push(("EVENKEEL_ZONE", text(known.and_then(|known| known.zone.as_deref()))));
        env.push(("EVENKEEL_FROM", text(from)));
        env.push(("EVENKEEL_TO", text(to)));
        env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// An order to sidecars that carries the plan's ticket; all must take it.
    async fn order(&self, to: &[String], question: Question) -> Result<(), String> {
        let answers = fleet::ask_all(&self.fleet.client, to, &question).await;
        let refused =
            answers.into_iter().filter_map(|(name, answer)| Some(format!("{name}: {}", answer.err()?)));
        let refused: Vec<String> = refused.collect();
        if refused.is_empty() { Ok(()) } else { Err(refused.join("; ")) }
    }

    fn ticket(&self, progress: &Progress) -> Value {
        json!({ "plan_id": self.plan.id(progress.direction), "generation": progress.told.generation })
    }

    async fn drain(&self, member: &str, to: &[String], progress: &Progress) -> Result<(), String> {
        let mut body = self.ticket(progress);
        if let Some(body) = body.as_object_mut() {
            body.insert("deadline_s".to_owned(), json!(DRAIN_LASTS_S));
            body.insert("wait_s".to_owned(), json!(DRAIN_WAIT_S));
        }
        let at = path(self.plan, &format!("/members/{member}/drain"));
        self.order(to, Question::order(Method::PUT, at, body)).await
    }

    async fn undrain(&self, member: &str, to: &[String], progress: &Progress) -> Result<(), String> {
        let at = path(self.plan, &format!("/members/{member}/drain"));
        self.order(to, Question::order(Method::DELETE, at, self.ticket(progress))).await
    }
}

/// What is known of a command that never begins any more.
pub(super) fn revoked(run: u64, did: Option<(How, String)>) -> Event {
    match did {
        Some((how, output)) => Event::CommandEnded { run, ok: true, code: None, how, output },
        None => Event::Again { run, why: "it had not begun".to_owned() },
    }
}

impl World for Real<'_> {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn append(&mut self, event: Event) -> Result<Line, Halt> {
        let line = self.journal.append(event, now_ms());
        let line = line.map_err(|error| Halt::new(Exit::Broken, error.to_string()))?;
        self.view.line(&line);
        Ok(line)
    }

    async fn look(&mut self) -> Vec<Sidecar> {
        let seen = look(&mut self.fleet, self.plan).await;
        self.sidecars = seen.len();
        seen
    }

    async fn gate(&mut self, want: &Want) -> Vec<(String, Result<GateSaid, String>)> {
        gate(&self.fleet.client, self.plan, want).await
    }

    fn run(&mut self, run: u64) -> RunSeen {
        self.commands.look(run)
    }

    fn start(&mut self, run: u64, task: &Task, progress: &Progress) -> Result<(), Halt> {
        let (member, command) = match task {
            Task::Member(member) => (Some(member.as_str()), self.plan.command(progress.direction)),
            Task::Finalize => (None, self.plan.finalize_command.as_deref()),
        };
        let env = self.environment(member, progress);
        let started = self.commands.start(run, command.unwrap_or_default(), &env);
        started.map_err(|error| Halt::new(Exit::Broken, format!("the command can't be started: {error}")))
    }

    async fn check(&mut self, member: &str, progress: &Progress) -> Option<i32> {
        let env = self.environment(Some(member), progress);
        command::ask(self.plan.check.as_deref()?, &env, CHECK).await
    }

    async fn carry_out(&mut self, step: &Step, progress: &Progress) -> Result<Vec<Event>, String> {
        match step {
            Step::Put { plan, to } => {
                let body = serde_json::to_value(&**plan).map_err(|error| error.to_string())?;
                self.order(to, Question::order(Method::PUT, path(self.plan, "/plan"), body)).await?;
                Ok(Vec::new())
            }
            Step::Drain { member, to } => self.drain(member, to, progress).await.map(|()| Vec::new()),
            Step::Undrain { member, to } => self.undrain(member, to, progress).await.map(|()| Vec::new()),
            Step::SaveOrders(member) => {
                let partitions = self.leaders.orders_of(member).await?;
                Ok(vec![Event::Orders { member: member.clone(), partitions }])
            }
            Step::MoveLeaders(member) => {
                let saved = progress.orders.get(member).map_or(&[][..], Vec::as_slice);
                self.leaders.move_away(member, saved).await?;
                Ok(vec![Event::Moved { member: member.clone() }])
            }
            Step::RestoreLeaders(member) => {
                let saved = progress.orders.get(member).map_or(&[][..], Vec::as_slice);
                self.leaders.restore(member, saved).await?;
                Ok(vec![Event::Restored { member: member.clone() }])
            }
            Step::Raise => {
                let level = self.leaders.raise(self.plan.to.as_deref()).await?;
                Ok(vec![Event::Raised { level }])
            }
            Step::Close { to, abort } => {
                let at = path(self.plan, if *abort { "/plan/abort" } else { "/plan/finalize" });
                self.order(to, Question::order(Method::POST, at, self.ticket(progress))).await?;
                Ok(Vec::new())
            }
            Step::Revoke { run, did } => match self.commands.revoke(*run) {
                Ok(true) => Ok(vec![revoked(*run, did.clone())]),
                Ok(false) => Err("it is just beginning".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            Step::Kill(run) => {
                self.commands.kill(*run).await;
                let output = self.commands.output(*run);
                Ok(vec![Event::CommandEnded { run: *run, ok: false, code: None, how: How::Killed, output }])
            }
            Step::Write(_) | Step::Start { .. } | Step::Check { .. } | Step::Wait(_) | Step::Halt(_) => {
                Ok(Vec::new())
            }
        }
    }

    fn show(&mut self, progress: &Progress, seen: &Seen, waits: &[Reason]) {
        self.view.show(self.plan, progress, seen, waits);
    }

    async fn pause(&mut self) -> Result<(), Halt> {
        let each = PACE_EACH.saturating_mul(u32::try_from(self.sidecars).unwrap_or(u32::MAX));
        tokio::time::sleep(PACE.max(each)).await;
        Ok(())
    }
}
