//! An ensemble as the admin listener shows it: the words of the one in those of the other.

use std::sync::Arc;

use serde_json::Value;

use crate::admin::{ClusterStatus, MemberDrain};
use crate::zookeeper::ensemble::Ensemble;

/// See the module.
struct Shown {
    name: String,
    ensemble: Arc<Ensemble>,
}

/// An ensemble for the admin listener.
pub(super) fn shown(ensemble: &Arc<Ensemble>) -> Arc<dyn ClusterStatus> {
    let name = ensemble.settings().zookeeper.name.clone();
    Arc::new(Shown { name, ensemble: Arc::clone(ensemble) })
}

impl ClusterStatus for Shown {
    fn name(&self) -> &str {
        &self.name
    }

    fn status(&self) -> Value {
        self.ensemble.status_json()
    }

    fn set_bypass(&self, on: bool) {
        self.ensemble.set_bypass(on);
    }

    fn drain(&self, member: &str, on: bool) -> MemberDrain {
        match self.ensemble.drain(member, on) {
            None => MemberDrain::Unknown,
            Some(_) if !on => MemberDrain::Off,
            Some(0) => MemberDrain::Drained,
            Some(left) => MemberDrain::Draining { left },
        }
    }
}
