//! Peers that say whatever they like of what is left of them: nothing panics, and what comes of it is
//! a session, or was refused.

use bowline_core::endpoint::Attach;
use bowline_core::error::ErrorCode;
use bowline_core::id::Ids;
use bowline_core::limits::Limits;
use bowline_core::link::{Features, Left};
use bowline_core::session::Session;
use bowline_core::time::Time;

use super::dice::Dice;
use super::world::World;

/// How often each history is lied to.
const LIES: usize = 10;

fn number(dice: &mut Dice) -> i64 {
    match dice.below(8) {
        0 => i64::MIN,
        1 => i64::MAX,
        2 => 1 << 53,
        _ => dice.below(40) as i64 - 20,
    }
}

fn numbers(dice: &mut Dice) -> Vec<i64> {
    (0..dice.below(6)).map(|_| number(dice)).collect()
}

fn ids(dice: &mut Dice) -> Ids {
    let [next_positive, next_negative, peer_next_positive, peer_next_negative] = [(); 4].map(|()| number(dice));
    Ids { next_positive, next_negative, peer_next_positive, peer_next_negative }
}

fn left(dice: &mut Dice) -> Left {
    Left {
        next_positive: number(dice),
        restored: numbers(dice),
        lost: numbers(dice).into_iter().map(|id| (id, ErrorCode::CapabilityLost)).collect(),
        unknown: numbers(dice),
        imports: numbers(dice).into_iter().map(|id| (id, dice.below(4) as i64 - 1)).collect(),
    }
}

/// What is left can be kept, and is what was kept.
fn assert_whole(session: &mut Session) {
    while session.poll_output().is_some() {}
    while session.poll_transmit().is_some() {}
    let Some(snapshot) = session.snapshot() else { return };
    let restored = Session::restore(snapshot, Limits::default()).expect("it holds together");
    assert_eq!(restored, *session);
}

impl World {
    /// The history runs up to some point, and then one side claims that it was restarted.
    pub(crate) fn play_to_lies(mut self) {
        self.play_some();
        for _ in 0..LIES {
            let (left, ids) = (left(&mut self.dice), ids(&mut self.dice));
            if let Some(server) = &mut self.server {
                drop(server.endpoint.attach(Time::default(), Features::ALL, Attach::Reattach { ids, left: &left }));
                assert_whole(server.endpoint.session_mut());
            }
            if self.client.restart() {
                drop(self.client.endpoint.attach(
                    Time::default(),
                    Features::ALL,
                    Attach::Reattach { ids, left: &left },
                ));
                assert_whole(self.client.endpoint.session_mut());
            }
            drop(self.client.endpoint.attach(Time::default(), Features::ALL, Attach::Recover(&left)));
            assert_whole(self.client.endpoint.session_mut());
        }
    }
}
