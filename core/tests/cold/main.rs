//! The exchange by which a session outlives the process of its server, or of its client, played at random: calls,
//! callbacks, references that come and go, checkpoints that are stored late or not at all, cuts,
//! crashes, and crashes again, processes that stand still and wake when another has the session. docs/link.md, "Checkpoints and recovery", states what is promised.
//!
//! - `dice`: numbers from a seed
//! - `checkpoint`: what happens between taking one and placing its token
//! - `client`, `server`: small applications on the commands of a session, and their endpoints
//! - `cost`: what keeping a session costs
//! - `drain`: a process that stops
//! - `lies`: what peers may say that is not so
//! - `log`: outcomes of recorded calls
//! - `resume`: how they find each other again, in whichever process each is
//! - `rules`: what a test can leave out, to see that it shows
//! - `store`: where the session is kept, for several processes
//! - `tally`: what was seen
//! - `tickets`: tokens and their keys, as a registry mints, places and accepts them
//! - `world`: what happens, and what must hold after it
//!
//! `BOWLINE_SEEDS=1000000 cargo test --release -p bowline-core --test cold` plays as many
//! histories; `BOWLINE_SEED=17` plays one.

mod checkpoint;
mod client;
mod cost;
#[path = "../simulator/dice.rs"]
mod dice;
mod drain;
mod lies;
mod log;
mod resume;
mod rules;
mod server;
mod store;
mod tally;
mod tickets;
mod world;

use std::panic::catch_unwind;

use rules::Rules;
use tally::Tally;
use world::{STEPS, World};

/// Histories in a run without optimisation, and with.
const SEEDS: u64 = if cfg!(debug_assertions) { 2_000 } else { 20_000 };

/// Histories in which a fault that was put in has to show.
const CANARY_SEEDS: u64 = 30_000;

fn seeds(otherwise: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|seeds| seeds.parse::<u64>().expect("a number"));
    match (number("BOWLINE_SEED"), number("BOWLINE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(otherwise),
    }
}

#[test]
fn cold_reconcile_model() {
    let mut tally = Tally::default();
    for seed in seeds(SEEDS) {
        match catch_unwind(|| World::new(seed, Rules::default()).play()) {
            Ok(played) => tally.add(&played),
            Err(_) => panic!("seed {seed}: BOWLINE_SEED={seed} plays it alone"),
        }
    }
    tally.assert_seen_everything();
}

/// T15: the same histories again and again, each time with one crash, between any two steps. What a
/// call does to the world outside is written down there, and is there once at most.
#[test]
fn crash_at_every_await_non_idempotent_runs_at_most_once() {
    let mut crashes = 0;
    for seed in 0..if cfg!(debug_assertions) { 4 } else { 40 } {
        for at in 0..STEPS {
            match catch_unwind(|| World::new(seed, Rules::default()).play_crashing_at(at)) {
                Ok(played) => crashes += played.crashes,
                Err(_) => panic!("seed {seed}, a crash at {at}"),
            }
        }
    }
    assert!(crashes > STEPS as u64, "{crashes} crashes");
}

#[test]
fn peers_may_lie() {
    for seed in seeds(SEEDS / 4) {
        if catch_unwind(|| World::new(seed, Rules::default()).play_to_lies()).is_err() {
            panic!("seed {seed}: BOWLINE_SEED={seed} plays it alone");
        }
    }
}

/// Without any one of the rules something goes wrong in one of these histories. In a build without
/// optimization that takes minutes to show; `./check` runs it optimized.
#[test]
fn history_without_any_one_rule_is_caught() {
    if cfg!(debug_assertions) {
        return;
    }
    // Many histories end in a panic, as intended; the messages would only be noise.
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let ends_well = |seed, rules| catch_unwind(|| World::new(seed, rules).play()).is_ok();
    let is_caught = |rules: Rules| {
        let seed = (0..CANARY_SEEDS).find(|&seed| !ends_well(seed, rules));
        // It has to be the rule that was missing.
        seed.is_some_and(|seed| ends_well(seed, Rules::default()))
    };
    let uncaught = Rules::each_without_one().into_iter().filter(|(_, rules)| !is_caught(*rules));
    let uncaught: Vec<_> = uncaught.map(|(left_out, _)| left_out).collect();
    std::panic::set_hook(quiet);
    assert!(uncaught.is_empty(), "{CANARY_SEEDS} histories show nothing without {uncaught:?}");
}
