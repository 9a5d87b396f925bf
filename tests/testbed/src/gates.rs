//! The hook of a sidecar, as a controller uses it: orders with the ticket of one plan, and gates that are asked until they say
//! what is expected.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Error, Result, Sidecar, wait};

/// How long a gate may take to see what there is.
const PATIENCE: Duration = Duration::from_secs(90);
/// The name of the cluster in a test bed's configuration.
const CLUSTER: &str = "/v1/clusters/bed";

/// A plan that lives in a sidecar.
#[derive(Debug)]
pub struct Controller<'a> {
    sidecar: &'a Sidecar,
}

impl<'a> Controller<'a> {
    /// Puts a plan for these members, without versions; all must be well for two seconds between them.
    pub fn begin(sidecar: &'a Sidecar, members: &[String]) -> Result<Self> {
        let members: Vec<Value> = members.iter().map(|id| json!({ "id": id })).collect();
        Self::put(sidecar, &members)
    }

    /// The same with the versions before and after.
    pub fn upgrade(sidecar: &'a Sidecar, members: &[String], from: &str, to: &str) -> Result<Self> {
        let member = |id: &String| json!({ "id": id, "from": from, "to": to });
        let members: Vec<Value> = members.iter().map(member).collect();
        Self::put(sidecar, &members)
    }

    fn put(sidecar: &'a Sidecar, members: &[Value]) -> Result<Self> {
        let plan =
            json!({ "plan_id": "bed", "generation": 1, "members": members, "stable_s": 2, "ttl_s": 600 });
        expect(sidecar.order("PUT", &format!("{CLUSTER}/plan"), &plan)?, 200)?;
        Ok(Self { sidecar })
    }

    /// The codes against a gate; none if it is open.
    pub fn gate(&self, gate: &str, member: Option<&str>) -> Result<Vec<String>> {
        let member = member.map(|id| format!("&member={id}")).unwrap_or_default();
        let path = format!("{CLUSTER}/gate?for={gate}{member}");
        let answer = expect(self.sidecar.order("GET", &path, &Value::Null)?, 200)?;
        let reasons = answer.get("reasons").and_then(Value::as_array).cloned().unwrap_or_default();
        let code = |reason: &Value| reason.get("code").and_then(Value::as_str).map(str::to_owned);
        Ok(reasons.iter().filter_map(code).collect())
    }

    /// Asks a gate until it is closed for exactly these codes, in whatever order.
    pub fn wait_gate(&self, gate: &str, member: Option<&str>, codes: &[&str]) -> Result<()> {
        self.wait_for(gate, member, codes, |found| {
            found.len() == codes.len() && codes.iter().all(|code| found.iter().any(|f| f == code))
        })
    }

    /// Asks a gate until it is closed for at least these codes.
    pub fn wait_closed(&self, gate: &str, member: Option<&str>, codes: &[&str]) -> Result<()> {
        self.wait_for(gate, member, codes, |found| codes.iter().all(|code| found.iter().any(|f| f == code)))
    }

    fn wait_for(
        &self,
        gate: &str,
        member: Option<&str>,
        codes: &[&str],
        holds: impl Fn(&[String]) -> bool,
    ) -> Result<()> {
        let last = RefCell::new(Vec::new());
        let done = wait::poll("a gate", PATIENCE, Duration::from_millis(300), || {
            let found = self.gate(gate, member)?;
            let done = holds(&found).then_some(());
            *last.borrow_mut() = found;
            Ok(done)
        });
        done.map_err(|error| {
            let text = format!("{error}: {gate} of {member:?} is {:?} instead of {codes:?}", last.borrow());
            Error::program("evenkeel", text)
        })
    }

    /// Drains a member and waits until nobody is there.
    pub fn drain(&self, member: &str) -> Result<()> {
        let order = json!({ "plan_id": "bed", "generation": 1, "wait_s": 30, "deadline_s": 300 });
        let path = format!("{CLUSTER}/members/{member}/drain");
        expect(self.sidecar.order("PUT", &path, &order)?, 200).map(drop)
    }

    /// Ends the drain of a member.
    pub fn undrain(&self, member: &str) -> Result<()> {
        let ticket = json!({ "plan_id": "bed", "generation": 1 });
        let path = format!("{CLUSTER}/members/{member}/drain");
        expect(self.sidecar.order("DELETE", &path, &ticket)?, 200).map(drop)
    }

    /// Says that the upgrade is finished.
    pub fn finalize(&self) -> Result<()> {
        let ticket = json!({ "plan_id": "bed", "generation": 1 });
        expect(self.sidecar.order("POST", &format!("{CLUSTER}/plan/finalize"), &ticket)?, 200).map(drop)
    }

    /// Says that the upgrade is finished though not all had a turn: in a later generation one member stands for all.
    pub fn finalize_with(&self, last: &str, size: usize) -> Result<()> {
        let plan =
            json!({ "plan_id": "bed", "generation": 2, "members": [{ "id": last }], "cluster_size": size });
        expect(self.sidecar.order("PUT", &format!("{CLUSTER}/plan"), &plan)?, 200)?;
        self.wait_gate("finalize", None, &[])?;
        let ticket = json!({ "plan_id": "bed", "generation": 2 });
        expect(self.sidecar.order("POST", &format!("{CLUSTER}/plan/finalize"), &ticket)?, 200).map(drop)
    }

    /// What the sidecar shows of the cluster.
    pub fn status(&self) -> Result<Value> {
        expect(self.sidecar.order("GET", CLUSTER, &Value::Null)?, 200)
    }
}

fn expect((status, answer): (u16, Value), wanted: u16) -> Result<Value> {
    if status == wanted {
        return Ok(answer);
    }
    Err(Error::program("evenkeel", format!("{status} instead of {wanted}: {answer}")))
}
