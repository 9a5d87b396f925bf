//! Users of brokers that ask who is there: their passwords for SCRAM, their tokens, and what they may do. The administrator's
//! listener is asked for it, where everything is allowed.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::{AlterUserScramCredentialsRequest, CreateAclsRequest};
use kafka_protocol::protocol::StrBytes;
use ring::pbkdf2;

use super::INTERNAL_PORT;
use super::cluster::Cluster;
use crate::wire::Wire;
use crate::{Error, Result};

/// The fewest that brokers take.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const SALT: &[u8] = b"some salt";

/// Resources and operations as the protocol numbers them.
const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const READ: i8 = 3;
const WRITE: i8 = 4;
const DESCRIBE: i8 = 8;
const DESCRIBE_CONFIGS: i8 = 10;
/// How names of resources are meant: this one, or all that begin so.
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const ALLOW: i8 = 3;

impl Cluster {
    /// Gives a user a password for SCRAM, with SHA-256 and SHA-512 (KIP-554); a request changes a user once.
    pub fn set_password(&self, user: &str, password: &str) -> Result<()> {
        for (mechanism, algorithm, length) in
            [(1, pbkdf2::PBKDF2_HMAC_SHA256, 32), (2, pbkdf2::PBKDF2_HMAC_SHA512, 64)]
        {
            let mut salted = vec![0; length];
            pbkdf2::derive(algorithm, ITERATIONS, SALT, password.as_bytes(), &mut salted);
            let row = ScramCredentialUpsertion::default()
                .with_name(StrBytes::from_string(user.to_owned()))
                .with_mechanism(mechanism)
                .with_iterations(i32::try_from(ITERATIONS.get()).unwrap_or(i32::MAX))
                .with_salt(SALT.into())
                .with_salted_password(salted.into());
            let request = AlterUserScramCredentialsRequest::default().with_upsertions(vec![row]);
            let answer = self.trusted()?.call(0, &request).map_err(Error::io("setting a password"))?;
            let codes = answer.results.iter().map(|row| (row.error_code, row.error_message.as_deref()));
            all_done("a password", codes)?;
        }
        Ok(())
    }

    /// Lets a user do the least that Evenkeel and clients need with topics and groups whose names begin with `prefix` (all of
    /// them if it is empty): `docs/security.md`. `gates`: what gates ask, too.
    pub fn allow(&self, user: &str, prefix: &str, gates: bool) -> Result<()> {
        let (name, pattern) = if prefix.is_empty() { ("*", LITERAL) } else { (prefix, PREFIXED) };
        // Who may read or write may describe.
        let mut rights = vec![
            (TOPIC, name, pattern, READ),
            (TOPIC, name, pattern, WRITE),
            (GROUP, name, pattern, READ),
            (CLUSTER, "kafka-cluster", LITERAL, DESCRIBE_CONFIGS),
        ];
        if gates {
            rights.push((CLUSTER, "kafka-cluster", LITERAL, DESCRIBE));
        }
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let rows = rights.into_iter().map(|(kind, name, pattern, operation)| {
            AclCreation::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_resource_pattern_type(pattern)
                .with_principal(text(&format!("User:{user}")))
                .with_host(text("*"))
                .with_operation(operation)
                .with_permission_type(ALLOW)
        });
        let request = CreateAclsRequest::default().with_creations(rows.collect());
        let answer = self.trusted()?.call(2, &request).map_err(Error::io("allowing something"))?;
        all_done("rights", answer.results.iter().map(|row| (row.error_code, row.error_message.as_deref())))
    }

    /// A connection to the administrator's listener of node 1.
    fn trusted(&self) -> Result<Wire> {
        Wire::connect((self.fixed_ip(1), INTERNAL_PORT).into(), "testbed", Duration::from_secs(30))
            .map_err(Error::io("connecting to a broker"))
    }
}

fn all_done<'a>(what: &str, rows: impl Iterator<Item = (i16, Option<&'a str>)>) -> Result<()> {
    let failed: Vec<String> = rows
        .filter(|(code, _)| *code != 0)
        .map(|(code, why)| format!("{code} {}", why.unwrap_or("")))
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::program(format!("kafka ({what})"), failed.join("; "))) }
}

/// A token without a signature, for brokers that take such (`OAuthBearerUnsecuredValidatorCallbackHandler`); it begins with `eyJ`.
pub fn token(user: &str, lasts: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims =
        format!("{{\"sub\":\"{user}\",\"iat\":{},\"exp\":{}}}", now.as_secs(), (now + lasts).as_secs());
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", encode("{\"alg\":\"none\"}"), encode(&claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_an_error() {
        let rows = |code| [(0, None), (code, Some("no"))].into_iter();
        assert!(all_done("rights", rows(0)).is_ok());
        let refused = all_done("rights", rows(31)).unwrap_err().to_string();
        assert!(refused.contains("kafka (rights)") && refused.contains("31 no"), "{refused}");
    }

    #[test]
    fn a_token_names_its_user_and_its_end() {
        let token = token("somebody", Duration::from_secs(60));
        let parts: Vec<&str> = token.split('.').collect();
        let [head, claims, signature] = parts[..] else { panic!("{token}") };
        assert!(head.starts_with("eyJ") && signature.is_empty(), "{token}");
        let claims: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["sub"], "somebody");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    }
}
