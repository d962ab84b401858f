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
    /// Takes a checkpoint, or hears what became of the one that was taken. Returns whether its token
    /// was placed.
    pub(super) fn checkpoint(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        if server.storing.is_none() {
            let Some(checkpoint) = server.endpoint.checkpoint(Value::Null) else { return false };
            let at = (checkpoint.lineage, checkpoint.number);
            let (candidate, transport, tokens): (_, _, Vec<Jti>) =
                server.issuer.candidate(&mut self.mint, &server.endpoint, at, &self.rules);
            let put = Put { number: checkpoint.number, bytes: checkpoint.bytes, transport, tokens };
            let answer = self.store.put(server.epoch, put, &mut self.dice);
            server.storing = Some(Storing { candidate, answer });
            if self.dice.one_in(2) {
                return false;
            }
        }
        self.hear_of_checkpoint()
    }

    /// The store refuses everything for a while, in which the process tries again and again.
    pub(super) fn store_is_away(&mut self) {
        self.store.is_away = true;
        let mut failed = 0;
        for _ in 0..self.dice.below(60) {
            let is_taken = self.server.as_ref().is_some_and(|server| server.storing.is_some());
            self.checkpoint();
            failed += u64::from(is_taken);
            if self.dice.one_in(8) {
                self.carry_to_client();
            }
        }
        self.store.is_away = false;
        self.tally.failed_in_a_row = self.tally.failed_in_a_row.max(failed);
        if self.dice.one_in(2) {
            self.cut();
        }
    }

    /// The store took it or not, or the process gave up waiting, or it dies before it knows.
    fn hear_of_checkpoint(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        let Some(Storing { candidate, answer }) = server.storing.take() else { return false };
        match answer {
            Answer::Fenced => {
                self.lose_session();
                return false;
            }
            Answer::Done if !self.dice.one_in(12) => {}
            Answer::Refused => {
                server.endpoint.not_stored();
                return false;
            }
            Answer::Silent | Answer::Done => {
                if self.rules.given_up_checkpoints_end {
                    server.endpoint.not_stored();
                }
                return false;
            }
        }
        if self.dice.one_in(8) && self.may_crash {
            self.crash();
            return false;
        }
        self.store.forget_before(server.epoch, server.endpoint.confirmed_checkpoint());
        server.issuer.place(&self.mint, candidate, &mut server.endpoint, &self.rules);
        true
    }
}
