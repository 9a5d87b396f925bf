//! A client that authenticates itself by SASL. Where credentials are held, its session is authenticated with those already, on each
//! server: so the client has to show here that it has them, too, and goes on as if its server had asked. Another user's, or by
//! another mechanism, it can't be: the session would not be whose the client believes.
//!
//! Where none are held, its server asks (see `answers`), and nobody else can repeat what it says.

use super::slot::{Reply, State};
use super::{Moment, Session};
use crate::metrics::zookeeper::{CloseReason, SaslFate};
use crate::zookeeper::operations::operation;
use crate::zookeeper::sasl::{self, Offer};
use crate::zookeeper::wire::{Request, RequestHeader, build, errors, opcode, request_payload};
use bytes::Bytes;

impl Session {
    /// A `sasl` request of the client's, if it is answered here.
    pub(super) fn prove(&mut self, header: RequestHeader, frame: &Bytes, at: Moment) -> bool {
        if header.opcode != opcode::SASL {
            return false;
        }
        let settings = self.ensemble.settings();
        let Some((username, file)) = settings.zookeeper.sasl.held() else { return false };
        let token = match Request::decode(header.opcode, request_payload(frame)) {
            Ok(Request::Sasl { token }) => token.unwrap_or_default(),
            _ => return false, // its server's to refuse
        };
        let judged = match self.offer.take() {
            _ if token.is_empty() => {
                let (offer, challenge) = Offer::new();
                self.offer = Some(offer);
                Ok(challenge)
            }
            Some(offer) => match self.ensemble.held.password(file) {
                Ok(password) => offer.judge(token, username, &password).inspect(|_| {
                    self.ensemble.metrics.client_sasl.inc(SaslFate::Answered);
                }),
                Err(error) => Err(error),
            },
            None => Err("its mechanism is not DIGEST-MD5".to_owned()),
        };
        let op = operation(header.opcode);
        match judged {
            Ok(token) => {
                let reply = build::reply(header.xid, self.zxid, 0, &sasl::body(&token));
                self.take(header, op, frame.clone(), State::Done(Reply::Made(reply)), at);
            }
            Err(why) => {
                // As a server does: the error, and the end (`ZooKeeperServer.processSasl`).
                self.ensemble.metrics.client_sasl.inc(SaslFate::Refused);
                self.lease_close(CloseReason::Auth);
                let state = self.refuse(header.xid, errors::AUTH_FAILED);
                self.take(header, op, frame.clone(), state, at);
                let reason = format!(
                    "SASL: credentials of {username:?} are held, and those must be the client's: {why}"
                );
                self.take(header, op, Bytes::new(), State::Done(Reply::Close(reason)), at);
            }
        }
        true
    }
}
