//! What a controller has to look into: whether features could be raised or taken back. `UpdateFeatures` that only validates
//! (KIP-584) changes nothing; brokers pass it on to the active controller.

use super::{ANSWER, Facts, Known, Wish};
use crate::kafka::channel::{ChannelError, Question};
use crate::kafka::cluster::dial::Opened;
use crate::kafka::wire::{self, Struct};

const UPDATE_FEATURES: i16 = 57;
/// The first one that can only validate.
const UPDATE_FEATURES_VERSION: i16 = 1;
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

/// Answers what is wished for. `highest`: the level that all brokers support.
pub(super) async fn features(
    opened: &mut Opened,
    wish: Wish,
    highest: Option<i16>,
    finalized: Option<i16>,
    facts: &mut Facts,
) {
    if wish.upgrade {
        facts.upgrade = match (highest, finalized) {
            // Without features there is nothing to be refused.
            (None, _) => {
                Err("the brokers have no metadata.version: ZooKeeper keeps their metadata".to_owned())
            }
            (Some(highest), Some(finalized)) if finalized >= highest => Ok(()),
            (Some(highest), _) => validate(opened, highest, UPGRADE).await,
        };
    }
    if let Some(level) = wish.downgrade {
        facts.downgrade = match finalized {
            Some(finalized) if finalized <= level => Ok(()),
            _ => validate(opened, level, SAFE_DOWNGRADE).await,
        };
    }
}

async fn validate(opened: &mut Opened, level: i16, how: i8) -> Known<()> {
    if !opened.versions.speaks(UPDATE_FEATURES, UPDATE_FEATURES_VERSION) {
        return Err("the brokers can't validate features without changing them".to_owned());
    }
    match asked(opened, level, how).await {
        Ok(answer) => verdict(&answer),
        Err(error) => Err(error.to_string()),
    }
}

async fn asked(opened: &mut Opened, level: i16, how: i8) -> Result<Struct, ChannelError> {
    let mut body = wire::request(UPDATE_FEATURES).map(wire::Message::new).ok_or(ChannelError::Closed)?;
    body.set_i32("timeout_ms", 3000);
    body.set_bool("validate_only", true);
    let mut update = body.new_struct("feature_updates");
    update.set_str("feature", "metadata.version");
    update.set_i16("max_version_level", level);
    update.set_i8("upgrade_type", how);
    body.set_structs("feature_updates", vec![update]);
    let question = Question { key: UPDATE_FEATURES, version: UPDATE_FEATURES_VERSION, body: &body };
    opened.channel.ask(question, ANSWER).await
}

/// Whether the whole, and each of its parts, is taken.
pub(super) fn verdict(answer: &Struct) -> Known<()> {
    let parts = std::iter::once(answer).chain(answer.structs("results"));
    for part in parts {
        let code = part.i16("error_code");
        if code != 0 {
            let text = part.str("error_message").unwrap_or_default();
            return Err(format!("UpdateFeatures: {} {text}", wire::errors::name(code)).trim_end().to_owned());
        }
    }
    Ok(())
}
