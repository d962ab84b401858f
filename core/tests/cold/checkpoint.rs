//! Checkpoints: taken, stored and placed, one after the other, with whatever happens in between.

use bowline_core::resume::Jti;
use serde_json::Value;

use super::store::{Answer, Put};
use super::tickets::Candidate;
use super::world::World;

/// A checkpoint of which the process waits to hear from the store.
pub(crate) struct Storing {
    candidate: Candidate,
    answer: Answer,
}

impl World {
    /// Takes a checkpoint, or hears what became of the one that was taken.
    pub(super) fn checkpoint(&mut self) {
        let Some(server) = &mut self.server else { return };
        if server.storing.is_none() {
            let Some(checkpoint) = server.endpoint.checkpoint(Value::Null) else { return };
            let at = (checkpoint.lineage, checkpoint.number);
            let (candidate, transport, tokens): (_, _, Vec<Jti>) =
                server.issuer.candidate(&mut self.mint, &server.endpoint, at);
            let put = Put { number: checkpoint.number, bytes: checkpoint.bytes, transport, tokens };
            let answer = self.store.put(server.epoch, put, &mut self.dice);
            server.storing = Some(Storing { candidate, answer });
            if self.dice.one_in(2) {
                return;
            }
        }
        self.hear_of_checkpoint();
    }

    /// The store took it or not, or the process gave up waiting, or it dies before it knows.
    fn hear_of_checkpoint(&mut self) {
        let Some(server) = &mut self.server else { return };
        let Some(Storing { candidate, answer }) = server.storing.take() else { return };
        match answer {
            Answer::Fenced => return self.lose_session(),
            Answer::Done if !self.dice.one_in(12) => {}
            Answer::Silent | Answer::Done => {
                if self.rules.given_up_checkpoints_end {
                    server.endpoint.not_stored();
                }
                return;
            }
        }
        if self.dice.one_in(8) && self.may_crash {
            return self.crash();
        }
        self.store.forget_before(server.epoch, server.endpoint.confirmed_checkpoint());
        server.issuer.place(&self.mint, candidate, &mut server.endpoint, &self.rules);
    }
}
