//! Commands: their end, and what to believe of one whose end nobody has seen.
//!
//! A command tells its end by itself, in a file, whether or not the driver that started it still lives; so an end is lost only
//! together with the command's own process: the machine went down, or somebody killed both. Then facts decide, in this order:
//!
//! (One that has not begun is made sure never to, and begins anew; but where 2. shows that its member was restarted, it had begun.)
//!
//! 1. what a person says (`--done`, `--again`); without that nothing is decided while sidecars are silent that count;
//! 2. the member's version at any sidecar, where it tells the one before from the one after; where it doesn't, a sidecar that saw
//!    it drained, gone and back since the command was announced: it was restarted. Not if it is drained still at another: that one is
//!    late, or, when it has looked so for `settle_s`, the member was only out of reach for a moment;
//! 3. a member that is away may come back by itself, for as long as command and return may take;
//! 4. the plan's `check`;
//! 5. a member that is away all the same: starting it restarts nothing that is up. One with the version from before, or that is
//!    drained still at some sidecar (had it gone, its return would have ended the drain): it was not restarted.
//!
//! That it was not restarted is believed only when it has looked so for `settle_s`: what was ordered can be on its way. Where
//! nothing decides, nothing is done: a person has to say.

use super::turn::is_draining;
use super::{Core, RunSeen, Seen, Step};
use crate::driver::event::{Event, How, Task};
use crate::driver::exit::{Exit, Halt};
use crate::driver::plan::Direction;
use crate::driver::progress::{Progress, Run};
use crate::fleet::{MemberSaid, Reason};
use crate::upgrade::Phase;

/// How the word of a person is written down.
const SAID: &str = "a person says so";

/// What facts say of a command whose end nobody saw.
enum Verdict {
    /// It did its work.
    Did(How, String),
    /// It did nothing, or its member is down: it is to run again.
    DidNot(String),
    /// It is too early to say.
    Wait(String),
    /// They say nothing.
    Unknown(String),
    /// The plan's check is to be asked.
    Ask,
}

/// What sidecars saw of a member since its command was announced.
enum Saw {
    /// Nothing.
    Nothing,
    /// One saw it go and come back; another has it drained still.
    Doubtful,
    /// That it was restarted, and how that is known.
    Restart(String),
}

impl Core<'_> {
    /// The command that has no end yet, if there is one.
    pub(super) fn of_run(&mut self, progress: &Progress, seen: &Seen) -> Option<Step> {
        let (run, task) = progress.running()?;
        let command_s = self.plan.bounds.command_s;
        let lasts_s = seen.now_ms.saturating_sub(run.at_ms) / 1000;
        let member = match &task {
            Task::Member(member) => Some(member.as_str()),
            Task::Finalize => None,
        };
        let waits = |what: &str| {
            let detail = format!("{} {what} for {lasts_s} s", member.unwrap_or("finalize"));
            Some(Step::Wait(vec![Reason::new("command", detail)]))
        };
        match seen.run.as_ref()? {
            RunSeen::Unclaimed { ours: true } => waits("begins"),
            RunSeen::Unclaimed { ours: false } => Some(self.unclaimed(progress, run, member, seen)),
            RunSeen::Running if lasts_s >= command_s => Some(Step::Kill(run.n)),
            RunSeen::Running => {
                let kept = member.and_then(|member| self.keep_drained(progress, run, member, seen));
                kept.or_else(|| self.renewed(progress, seen)).or_else(|| waits("runs"))
            }
            RunSeen::Ended { code, output } => Some(Step::Write(Event::CommandEnded {
                run: run.n,
                ok: *code == 0,
                code: Some(*code),
                how: How::Told,
                output: output.clone(),
            })),
            // The way back needs no verdict: what was begun goes back.
            RunSeen::Vanished { .. } if self.turns_back(progress) => {
                let why = "its end is not known, and the roll goes back".to_owned();
                Some(ended(run, false, How::Judged, &why))
            }
            RunSeen::Vanished { output } => match member {
                Some(member) => Some(self.vanished(progress, run, member, output, seen)),
                None => Some(Step::Write(Event::Again {
                    run: run.n,
                    why: "its end is not known; it is harmless to repeat".to_owned(),
                })),
            },
        }
    }

    /// A command that seems not to have begun is made sure never to. Its claim may be what was lost, with the machine's power: what the
    /// member is says more than a file that isn't there.
    fn unclaimed(&mut self, progress: &Progress, run: &Run, member: Option<&str>, seen: &Seen) -> Step {
        let word = member.and_then(|member| self.word_of(run, member));
        let did = match (member, word) {
            (None, _) | (_, Some(false)) => None,
            (_, Some(true)) => Some((How::Said, SAID.to_owned())),
            (Some(member), None) => {
                if let Some(step) = self.silence(seen) {
                    return step;
                }
                match self.saw(progress.direction, run, member, seen) {
                    Saw::Restart(why) => Some((How::Judged, why)),
                    Saw::Doubtful if !self.has_settled(&format!("{} doubtful", run.n), seen) => {
                        return Step::Wait(vec![Reason::new("command_vanished", self.looked_at(member))]);
                    }
                    Saw::Doubtful | Saw::Nothing => None,
                }
            }
        };
        let step = Step::Revoke { run: run.n, did };
        self.attempt("command to begin or not", self.plan.bounds.command_s, seen, step)
    }

    fn vanished(&mut self, progress: &Progress, run: &Run, member: &str, output: &str, seen: &Seen) -> Step {
        if self.word_of(run, member).is_none()
            && let Some(step) = self.silence(seen)
        {
            return step;
        }
        match self.judge(progress, run, member, false, seen) {
            Verdict::Ask => Step::Check { run: run.n, member: member.to_owned() },
            Verdict::Did(how, why) => ended(run, true, how, &why),
            Verdict::DidNot(why) => Step::Write(Event::Again { run: run.n, why }),
            Verdict::Wait(why) => Step::Wait(vec![Reason::new("command_vanished", why)]),
            Verdict::Unknown(why) => {
                let text = format!(
                    "the command for {member} vanished, and nothing shows whether it did its work ({why}). Look, and start the \
                     driver again with --done {member} (it had its turn) or --again {member} (it had not). The command said last: {}",
                    if output.is_empty() { "nothing" } else { output }
                );
                Step::Halt(Halt::new(Exit::Undecided, text))
            }
        }
    }

    /// A command that failed. The driver stops; one that is started after that looks what there is, and tries again.
    pub(super) fn after_failure(
        &mut self,
        progress: &Progress,
        run: &Run,
        member: Option<&str>,
        seen: &Seen,
    ) -> Step {
        let Some(end) = &run.end else { return Step::Wait(Vec::new()) };
        if end.n > self.loaded {
            let what = match (end.how, end.code) {
                (How::Killed, _) => {
                    format!("took longer than {} s and was killed", self.plan.bounds.command_s)
                }
                (_, Some(code)) => format!("ended with {code}"),
                _ => "failed".to_owned(),
            };
            let text = format!(
                "the command for {} {what}. It said last: {}. Cure that and start the driver again, which looks first whether the \
                 member had its turn all the same",
                member.unwrap_or("finalize"),
                if end.output.is_empty() { "nothing" } else { &end.output }
            );
            return Step::Halt(Halt::new(Exit::Failed, text));
        }
        let Some(member) = member else {
            return Step::Write(Event::Again { run: run.n, why: "it failed, and is tried again".to_owned() });
        };
        match self.judge(progress, run, member, true, seen) {
            Verdict::Ask => Step::Check { run: run.n, member: member.to_owned() },
            Verdict::Did(how, why) => ended(run, true, how, &why),
            Verdict::DidNot(why) | Verdict::Unknown(why) => {
                Step::Write(Event::Again { run: run.n, why: format!("it failed, and is tried again: {why}") })
            }
            Verdict::Wait(why) => Step::Wait(vec![Reason::new("command_failed", why)]),
        }
    }

    /// What a person says of a command: whether it did its work. The word is about the end that nobody saw when it was given, and about
    /// no later one.
    fn word_of(&self, run: &Run, member: &str) -> Option<bool> {
        let (_, done) = self.word.as_ref().filter(|(of, _)| of == member && run.n <= self.loaded)?;
        Some(*done)
    }

    fn looked_at(&self, member: &str) -> String {
        format!("what became of {member} is looked at for {} s", self.plan.bounds.settle_s)
    }

    /// See the module. `failed`: it is known to have ended, so that nothing of it is on its way.
    fn judge(&mut self, progress: &Progress, run: &Run, member: &str, failed: bool, seen: &Seen) -> Verdict {
        match self.word_of(run, member) {
            Some(true) => return Verdict::Did(How::Said, SAID.to_owned()),
            Some(false) => return Verdict::DidNot(SAID.to_owned()),
            None => {}
        }
        let doubtful = match self.saw(progress.direction, run, member, seen) {
            Saw::Restart(what) => return Verdict::Did(How::Judged, what),
            Saw::Doubtful => true,
            Saw::Nothing => false,
        };
        let away = self.said_of(member, seen).any(|(_, said)| said.phase == Phase::Down);
        let bounds = self.plan.bounds;
        if away && !failed {
            let lasts_s = seen.now_ms.saturating_sub(run.at_ms) / 1000;
            if lasts_s < bounds.command_s + bounds.back_s {
                return Verdict::Wait(format!("{member} is away: it may come back by itself"));
            }
        }
        if !self.has_settled(&format!("{} {away} {doubtful}", run.n), seen) {
            return Verdict::Wait(self.looked_at(member));
        }
        if self.plan.check.is_some() {
            match seen.check {
                Some((of, Some(0))) if of == run.n => {
                    return Verdict::Did(How::Judged, "the check says so".to_owned());
                }
                Some((of, Some(1))) if of == run.n => return Verdict::DidNot("the check says so".to_owned()),
                Some((of, _)) if of == run.n => {}
                _ => return Verdict::Ask,
            }
        }
        if away {
            return Verdict::DidNot(format!("{member} is away, and nothing brings it back"));
        }
        let mut said = self.said_of(member, seen);
        if said.any(|(_, said)| self.at_target(said, progress.direction) == Some(false)) {
            return Verdict::DidNot(format!("{member} has the version from before"));
        }
        if let Some((name, _)) = self.said_of(member, seen).find(|(_, said)| said.phase == Phase::Drained) {
            return Verdict::DidNot(format!("it is drained still at {name}: it was never away"));
        }
        Verdict::Unknown("its version tells nothing, and no sidecar saw it go or stay".to_owned())
    }

    fn saw(&self, direction: Direction, run: &Run, member: &str, seen: &Seen) -> Saw {
        let mut told = false;
        for (name, said) in self.said_of(member, seen) {
            match self.at_target(said, direction) {
                Some(true) => return Saw::Restart(format!("{name} sees {member} at its new version")),
                Some(false) => told = true,
                None => {}
            }
        }
        if told {
            return Saw::Nothing;
        }
        let saw = |name: &str, said: &MemberSaid| {
            said.had_turn && !run.had_turn.iter().any(|before| before == name)
        };
        let Some((name, _)) = self.said_of(member, seen).find(|(name, said)| saw(name, said)) else {
            return Saw::Nothing;
        };
        if self.said_of(member, seen).any(|(name, said)| is_draining(said) && !saw(name, said)) {
            return Saw::Doubtful;
        }
        Saw::Restart(format!("{name} saw {member} go and come back"))
    }

    /// Whether a member whose command did its work is back everywhere; what is missing.
    pub(super) fn is_back(
        &mut self,
        progress: &Progress,
        member: &str,
        run: &Run,
        seen: &Seen,
    ) -> Result<(), Vec<Reason>> {
        let away: Vec<Reason> = self
            .said_of(member, seen)
            .filter(|(_, said)| said.phase == Phase::Down)
            .map(|(name, _)| Reason::new("member_unreachable", format!("{member} is away, says {name}")))
            .collect();
        if !away.is_empty() {
            self.settled = None;
            return Err(away);
        }
        // Its command said so itself: who has it drained still is only late.
        if !matches!(self.saw(progress.direction, run, member, seen), Saw::Nothing) {
            return Ok(());
        }
        let mut said = self.said_of(member, seen);
        if said.any(|(_, said)| self.at_target(said, progress.direction) == Some(false)) {
            let what = format!("{member} has the version from before");
            return Err(vec![Reason::new("not_at_target", what)]);
        }
        let known = run.end.as_ref().is_some_and(|end| end.how != How::Told);
        if known || self.has_settled(&format!("back {}", run.n), seen) {
            return Ok(());
        }
        let what = format!("{member} is there, and was not seen to go yet");
        Err(vec![Reason::new("not_seen_to_go", what)])
    }
}

fn ended(run: &Run, ok: bool, how: How, why: &str) -> Step {
    Step::Write(Event::CommandEnded { run: run.n, ok, code: None, how, output: why.to_owned() })
}
