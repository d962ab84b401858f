//! A process that stops: it lets running calls end, keeps the session and gives it back, in the order
//! in which `bowline-server` does it, while the client goes on calling.

use bowline_core::link::Drain;

use super::server::Server;
use super::world::World;

/// No drain needs more steps, unless the network or the store is in its way.
const STEPS_MAX: usize = 400;

impl World {
    /// Stops the process that has the session. If the connection is lost meanwhile, it ends as a
    /// process does that runs out of time.
    pub(super) fn drain(&mut self) {
        let is_attached = self.server.as_ref().is_some_and(|server| server.at.is_some());
        if !self.may_crash || !is_attached || self.server.as_ref().is_some_and(|server| server.storing.is_some()) {
            return;
        }
        let unawaited = |world: &Self| {
            let session = world.server.as_ref().map(|server| server.endpoint.session());
            session.is_some_and(|session| session.calls_running() > session.answers_owed())
        };
        let runs_unawaited = unawaited(self);
        let Some(server) = &mut self.server else { return };
        assert!(server.endpoint.drain(Drain::default()), "it has a transport");
        let is_told =
            self.drain_step_until(|world| world.server.as_ref().is_some_and(|server| server.endpoint.is_drained()));
        let waits = self.rules.drains_wait_for_running_calls;
        let is_quiet = is_told
            && self.drain_step_until(|world| {
                let session = world.server.as_ref().expect("it drains").endpoint.session();
                session.answers_owed() == 0 && (!waits || session.calls_running() == 0)
            });
        if is_quiet {
            let server = self.server.as_mut().expect("it drains");
            server.endpoint.session_mut().interrupt_streams("the server stops");
            server.react(&mut self.outside);
            if self.drain_step_until(Self::checkpoint) && self.drain_step_until(|world| world.is_confirmed()) {
                self.tally.drains.0 += 1;
                self.tally.drains.1 += u64::from(runs_unawaited);
                self.client.lost_nothing = true;
                let runs = self.server.as_ref().map_or(0, Server::calls_running);
                assert_eq!(runs, 0, "I18 a drain cuts off calls");
            }
        }
        // Whatever was in the way, its time is over.
        if let Some(server) = self.server.take() {
            self.store.release(server.epoch);
            self.cut();
        }
    }

    /// Whether the client has the token of the newest checkpoint.
    fn is_confirmed(&self) -> bool {
        let is_confirmed =
            |server: &Server| server.endpoint.confirmed_checkpoint() >= server.endpoint.newest_checkpoint();
        self.server.as_ref().is_some_and(is_confirmed)
    }

    /// Lets things happen until something holds; false if the connection or the process went first.
    fn drain_step_until(&mut self, holds: impl Fn(&mut Self) -> bool) -> bool {
        for _ in 0..STEPS_MAX {
            if self.server.as_ref().is_none_or(|server| server.at.is_none()) {
                return false;
            }
            if holds(self) {
                return true;
            }
            let is_there = self.client.is_there(self.rules.clients_wait_until_reconciled);
            match self.dice.below(20) {
                0 if is_there => self.client.call(&mut self.dice),
                1 if is_there => self.client.save(&mut self.dice, self.rules.tokens_wait_until_saved),
                0..8 => self.carry_to_server(),
                8..18 => self.carry_to_client(),
                _ => self.finish_one(),
            }
        }
        false
    }
}
