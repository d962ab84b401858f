//! How client and server find each other again, in whichever process each of them is.

use bowline_core::endpoint::{Attach, Endpoint};
use bowline_core::id::Ids;
use bowline_core::limits::Limits;
use bowline_core::link::{Features, Left, LinkRules};
use bowline_core::session::{Report, Wanted};
use bowline_core::time::Time;

use super::server::{Server, lives};
use super::store::RELIES_MS;
use super::tickets::Issuer;
use super::world::World;

impl World {
    pub(super) fn restart_client(&mut self) {
        if self.may_crash && self.dice.one_in(4) && self.client.restart() {
            self.cut();
        }
    }

    /// The client finds the session, in this process or in another.
    pub(super) fn resume(&mut self) {
        if self.is_connected() || !self.has_process() {
            return;
        }
        if let Some(left) = self.client.left.clone() {
            return self.reattach(&left);
        }
        self.client.save_token(self.rules.tokens_wait_until_saved);
        if self.server.is_some() { self.resume_warm() } else { self.resume_cold() }
    }

    /// Whether a process has the session, or can. Those that find it taken come again later.
    fn has_process(&mut self) -> bool {
        if let Some(server) = &mut self.server {
            let is_late = self.now_ms >= server.relies_until_ms;
            // An answer to a renewal that comes late is good as long as the store says so.
            if is_late && self.dice.one_in(2) && self.store.renew(server.epoch, self.now_ms) {
                server.rely_on_lease(server.epoch, self.now_ms + RELIES_MS);
                self.tally.renewed_late += 1;
            }
            if self.now_ms < server.relies_until_ms {
                return true;
            }
        }
        self.server = None;
        self.now_ms += self.dice.below(6_000) as u64;
        if self.dice.one_in(8) {
            // The store does not answer.
            return false;
        }
        let seen = self.client.holding.as_ref().map_or(0, |holding| self.mint.open(holding).ep);
        self.claimed = self.store.claim(self.now_ms, seen);
        self.claimed.into_iter().for_each(|claim| self.outside.log.claimed(claim));
        self.claimed.is_some()
    }

    fn resume_warm(&mut self) {
        let Some(server) = &mut self.server else { return };
        let came = self.client.endpoint.processed();
        let features = Features { heartbeat: false, ..Features::ALL };
        let resume = |peer_processed, peer_sends_after| Attach::Resume { peer_processed, peer_sends_after };
        let is_heard = server.endpoint.has_heard();
        server.endpoint.confirm_checkpoint(self.client.token);
        let attached =
            server.endpoint.attach(Time::default(), features, resume(came, None)).expect("I8 the numbers fit");
        server.at = Some(attached.attachment);
        let ticket = match &self.client.holding {
            None => server.issuer.hand_out(&self.mint),
            Some(holding) => {
                let presented = self.mint.open(holding);
                let (mint, rules) = (&mut self.mint, &self.rules);
                server.issuer.resume(mint, &presented, is_heard, &mut server.endpoint, rules)
            }
        };
        if self.client.holding.is_some() && self.dice.one_in(6) {
            // The client does not hear of it.
            return self.cut();
        }
        let attached = self
            .client
            .endpoint
            .attach(Time::default(), features, resume(attached.processed, Some(came)))
            .expect("I8 the numbers fit");
        self.client.at = Some(attached.attachment);
        self.client.resumed(ticket, &self.mint, self.rules.tokens_wait_until_saved);
        self.tally.warm += 1;
    }

    /// The client's process is another.
    fn reattach(&mut self, left: &Left) {
        let ids = self.client.session().ids();
        let presented = self.mint.open(self.client.holding.as_ref().expect("it was saved"));
        let is_here = self.server.is_some();
        if is_here {
            self.tally.reattached.0 += 1;
        } else {
            self.client.forget_unsaved();
            self.make_again(Report::Partial(ids));
            self.tally.reattached.1 += 1;
        }
        let server = self.server.as_mut().expect("it was recovered");
        if !self.rules.ids_are_left_out && server.endpoint.session().is_unreconciled() {
            let hold = left.imports.iter().map(|&(id, _)| id);
            let has = |id: &i64| server.endpoint.session().entries(None).any(|entry| entry.id == *id);
            let hold = hold.filter(has).collect();
            server.endpoint.session_mut().reconcile(&Wanted { hold, pull: Vec::new() });
        }
        let is_heard = server.endpoint.has_heard();
        server.endpoint.confirm_checkpoint(self.client.token);
        let features = Features { heartbeat: false, ..Features::ALL };
        let attached = server.endpoint.attach(Time::default(), features, Attach::Reattach { ids, left });
        let attached = attached.expect("I9 both sides agree");
        let ours = attached.left.expect("a server says what it has");
        server.at = Some(attached.attachment);
        let ticket = if is_here {
            server.issuer.resume(&mut self.mint, &presented, is_heard, &mut server.endpoint, &self.rules)
        } else {
            server.issuer.hand_out(&self.mint)
        };
        server.react(&mut self.outside);
        let ids = server.endpoint.session().ids();
        if self.dice.one_in(6) {
            // The client does not hear of it.
            return self.cut();
        }
        self.client.reattach(ids, &ours, ticket, &self.mint);
    }

    fn resume_cold(&mut self) {
        let left = self.make_again(Report::Whole(self.client.session().ids()));
        let server = self.server.as_mut().expect("it was recovered");
        let features = Features { heartbeat: false, ..Features::ALL };
        server.at = Some(server.endpoint.attach(Time::default(), features, Attach::New).expect("it is new").attachment);
        let ticket = server.issuer.hand_out(&self.mint);
        if self.dice.one_in(6) && self.may_crash {
            // Before the client hears of it.
            return self.crash();
        }
        let open = self.client.open_calls();
        let attached = self.client.endpoint.attach(Time::default(), features, Attach::Recover(&left));
        self.client.at = Some(attached.expect("I9 both sides agree").attachment);
        self.client.resumed(ticket, &self.mint, self.rules.tokens_wait_until_saved);
        self.client.react();
        self.client.assert_nothing_overtakes(&open, &left);
    }

    /// Another process has the session, as it was kept; returns what it says that it has.
    fn make_again(&mut self, report: Report) -> Left {
        let bytes = match self.client.token {
            0 => None,
            number => Some(self.store.get(number).expect("I14 what the client has a token of is stored")),
        };
        let without_floor = |ids| Ids { peer_next_positive: 0, peer_next_negative: 0, ..ids };
        let report = match report {
            Report::Whole(ids) if !self.rules.ids_have_a_floor => Report::Whole(without_floor(ids)),
            report => report,
        };
        let lives = |recipe: Option<&_>, kind| lives(recipe, kind, &self.outside, self.rules.restoring_authorises);
        let restored =
            Endpoint::recover(bytes, Limits::default(), LinkRules::default(), self.tally.restores, report, lives);
        let restored = restored.expect("I8 what was stored can be restored");
        let mut left = restored.left();
        if !self.rules.counts_are_absolute {
            left.imports.iter_mut().for_each(|(_, count)| *count += 1);
        }
        let epoch = self.claimed.take().expect("a process claims a session before it recovers it");
        let presented = self.mint.open(self.client.holding.as_ref().expect("it was handed out at once"));
        let issuer = Issuer::restored(&mut self.mint, self.store.known(), &presented, epoch);
        let mut server = Server::revived(restored, issuer, &self.outside, self.rules.restoring_authorises);
        server.again_is_told = self.rules.again_is_told;
        server.rely_on_lease(epoch, if self.rules.leases_end { self.now_ms + RELIES_MS } else { u64::MAX });
        self.server = Some(server);
        self.tally.restores += 1;
        left
    }
}
