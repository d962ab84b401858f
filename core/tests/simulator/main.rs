//! A client host and a server host over a network that fails, all of it decided by a seed: cuts,
//! delays, late openings of dials that were given up, lost welcomes. After every event the
//! invariants of docs/link.md are checked.
//!
//! `BOWLINE_SEEDS=1000000 cargo test --release -p bowline-core --test simulator` is the long run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// What both hosts run.
mod app;
/// Random numbers that are the same everywhere.
mod dice;
/// The two hosts and the network between them.
mod world;

use world::{Flaw, World};

/// Seeds of a run that is not told how many. A debug build takes ten times as long for each.
const SEEDS: u64 = if cfg!(debug_assertions) { 2_000 } else { 20_000 };

fn seeds() -> u64 {
    std::env::var("BOWLINE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn every_invariant_holds_for_every_seed() {
    let mut transports = 0;
    for seed in 0..seeds() {
        transports += World::run(seed, Flaw::None).unwrap_or_else(|broken| panic!("seed {seed}: {broken}")) as u64;
    }
    assert!(transports > 2 * seeds(), "there is too little to see: {transports} transports");
}

/// How many of 300 seeds catch a flaw.
fn caught(flaw: Flaw) -> usize {
    (0..300).filter(|&seed| World::run(seed, flaw).is_err()).count()
}

#[test]
fn canary_no_fencing_is_caught() {
    assert!(caught(Flaw::NoFencing) > 0);
}

#[test]
fn canary_no_duplicate_check_is_caught() {
    assert!(caught(Flaw::NoDuplicateCheck) > 0);
}

#[test]
fn canary_early_free_is_caught() {
    assert!(caught(Flaw::EarlyFree) > 0);
}

#[test]
fn canary_rotation_on_send_is_caught() {
    assert!(caught(Flaw::RotationOnSend) > 0);
}
