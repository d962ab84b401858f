//! The real server and the real client on a network in memory and a clock that stands still while there is something
//! to do: many short histories of calls, streams and callbacks, in which connections are cut and stall, processes are
//! killed, drained and joined by others, and the store fails. What the calls did is written down outside of every
//! process and compared with what their callers were told.
//!
//! The histories are those of seeds: when what happens to the network, the processes and the store is drawn from the
//! seed, and so are the calls. The pauses of the client and the branches of `select!` are not, so a seed that fails may
//! have to be played several times.
//!
//! - `app`: the objects under test, and what their calls did
//! - `client`: calls, and how each of them ended
//! - `dropping`: futures that are dropped at any poll
//! - `history`: what happens, and what must hold at the end
//! - `network`: byte streams between hosts
//! - `process`: servers that are killed and drained
//!
//! `BOWLINE_SEEDS=100000 cargo test --release --test simulation` plays as many histories; `BOWLINE_SEED=17` plays one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod app;
mod client;
#[path = "../../core/tests/simulator/dice.rs"]
mod dice;
mod dropping;
#[path = "../../server/tests/store/faulty.rs"]
mod faulty;
mod history;
mod network;
mod process;

use std::panic::{AssertUnwindSafe, catch_unwind};

use history::{History, Nemesis, Tally};

/// Histories of each kind in a run without optimization, and with.
const SEEDS: u64 = if cfg!(debug_assertions) { 8 } else { 60 };

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|seeds| seeds.parse::<u64>().expect("a number"));
    match (number("BOWLINE_SEED"), number("BOWLINE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    }
}

/// Plays histories under one nemesis.
#[track_caller]
fn play(nemesis: Nemesis) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds() {
        let played = catch_unwind(AssertUnwindSafe(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(History::new(seed, nemesis).play())
        }));
        match played {
            Ok(played) => tally.add(&played),
            Err(_) => panic!("{}, seed {seed}: BOWLINE_SEED={seed} plays it alone", nemesis.name),
        }
    }
    println!("{}: {tally:?}", nemesis.name);
    tally
}

#[test]
fn sessions_in_memory_alone_survive_cuts() {
    let tally = play(Nemesis::CUTS_ALONE);
    assert!(tally.answered > 0 && tally.resumed > 0, "{tally:?}");
}

#[test]
fn kept_sessions_survive_cuts_and_stalls() {
    let tally = play(Nemesis::CUTS);
    assert!(tally.answered > 0 && tally.resumed > 0, "{tally:?}");
}

#[test]
fn calls_are_honest_about_killed_processes() {
    let tally = play(Nemesis::KILLS);
    assert!(tally.answered > 0 && tally.restored > 0, "{tally:?}");
}

#[test]
fn drains_cost_no_call() {
    let tally = play(Nemesis::DRAINS);
    assert!(tally.answered > 0 && tally.restored > 0, "{tally:?}");
}

#[test]
fn sessions_survive_a_store_that_fails() {
    let tally = play(Nemesis::STORE);
    assert!(tally.answered > 0 && tally.resumed > 0, "{tally:?}");
}

#[test]
fn sessions_survive_a_store_that_loses_its_data() {
    let tally = play(Nemesis::FORGETTING);
    assert!(tally.answered > 0 && tally.resumed > 0, "{tally:?}");
}

#[test]
fn sessions_move_between_live_processes() {
    let tally = play(Nemesis::REPLICAS);
    assert!(tally.answered > 0 && tally.restored > 0, "{tally:?}");
}

#[test]
fn calls_are_honest_about_everything_at_once() {
    let tally = play(Nemesis::EVERYTHING);
    assert!(tally.answered > 0 && tally.restored > 0, "{tally:?}");
}
