//! An attacker that has seen tokens, and tries what must not work.

use bowline_core::error::ErrorCode;
use bowline_core::link::{Frame, Resume, Secret};
use bowline_core::resume::prove;

use super::client::Ticket;
use super::world::World;

const CHALLENGE: &str = "to the attacker";

impl World {
    /// One try on the session of a client, which must be refused with the right code and leave
    /// the session as it was.
    pub(super) fn attack(&mut self, client: usize) -> Result<(), String> {
        let client = &self.clients[client];
        let Some(id) = client.session.clone() else { return Ok(()) };
        let of = client.server;
        let Ticket { token, key } = client.tickets[self.dice.below(client.tickets.len())].clone();
        let Some(entry) = self.servers[of].sessions.get(&id).filter(|entry| !entry.endpoint.session().is_closed())
        else {
            return Ok(());
        };
        if entry.parked.is_some_and(|since| self.now.since(since) > self.servers[of].window) {
            return Ok(());
        }
        let (before, epoch) = (entry.endpoint.clone(), entry.owner.epoch());
        let came = before.processed();
        let (at, token, key, came, codes) = match self.dice.below(5) {
            0 => (of, self.flipped(&token), key, came, &FORGED[..]),
            1 => (of, token, Secret::new("guessed"), came, &UNPROVEN[..]),
            2 => (1 - of, token, key, came, &FOREIGN[..]),
            3 => (of, token, key, u64::MAX - self.dice.below(2) as u64, &LIES[..]),
            _ => {
                // Unless it is still valid: then the holder of it and its key is the client.
                let counts = {
                    let mut owner = entry.owner.clone();
                    if entry.endpoint.has_heard() {
                        owner.confirm();
                    }
                    self.servers[of].minted.get(token.expose()).is_none_or(|jti| owner.check(jti).is_ok())
                };
                if counts {
                    return Ok(());
                }
                (of, token, key, came, &REPLAYED[..])
            }
        };
        let code = self.present(at, token, &key, came)?;
        if !codes.contains(&code) {
            return Err(format!("I14, I15: refused with {code}, not with one of {codes:?}"));
        }
        let entry = self.servers[of].sessions.get(&id).ok_or("I14: a refusal has ended the session")?;
        if entry.endpoint != before || entry.owner.epoch() != epoch {
            return Err("I14, I15: a refusal has changed the session".to_owned());
        }
        self.seen.refused += 1;
        Ok(())
    }

    /// A token with one bit that is another.
    fn flipped(&mut self, token: &Secret) -> Secret {
        let mut bytes = token.expose().as_bytes().to_vec();
        let at = self.dice.below(bytes.len());
        // Not the highest: the text would be none.
        bytes[at] ^= 1 << self.dice.below(7);
        Secret::new(String::from_utf8(bytes).expect("ASCII"))
    }

    fn present(&mut self, server: usize, token: Secret, key: &Secret, came: u64) -> Result<ErrorCode, String> {
        let proof = prove(key, CHALLENGE, &token, came);
        let resume = Resume {
            protocol: vec![1],
            features: Vec::new(),
            resume_token: token,
            last_event_seq: came,
            first_retained_seq: 1,
            proof,
            auth: None,
            accept: Vec::new(),
            ids: None,
            left: None,
        };
        let text = Frame::Resume(resume).write();
        match self.servers[server].open(CHALLENGE, self.now, &text, &mut self.dice) {
            Ok(begun) => Err(format!("I14, I15: an attacker has session {}", begun.id)),
            Err(refused) => Ok(refused.code),
        }
    }
}

/// A flip may hit the name of the key, or make it no JSON.
const FORGED: [ErrorCode; 3] =
    [ErrorCode::ResumeTokenInvalid, ErrorCode::ResumeTokenKeyUnknown, ErrorCode::InvalidRequest];
const UNPROVEN: [ErrorCode; 1] = [ErrorCode::ResumeProofInvalid];
const FOREIGN: [ErrorCode; 1] = [ErrorCode::ResumeTokenKeyUnknown];
/// The token may be an old one, too.
const LIES: [ErrorCode; 2] = [ErrorCode::ResumeGap, ErrorCode::ResumeTokenReplayed];
const REPLAYED: [ErrorCode; 1] = [ErrorCode::ResumeTokenReplayed];
