//! Clients and servers over a network that fails, all of it decided by a seed: bytes that come
//! late, in pieces and not at all, connections that overtake each other, dials that are one too
//! many, hosts that stand still, attackers. After every event the invariants of docs/link.md are
//! checked, and again when the network has healed and when everybody has gone.
//!
//! `BOWLINE_SEEDS=1000000 cargo test --release -p bowline-core --test simulator` is the long run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// What both ends of every session run.
mod app;
/// Peers that try what must not work.
mod attacker;
/// A client process.
mod client;
/// Random numbers that are the same everywhere.
mod dice;
/// What must hold.
mod invariants;
/// Messages, counted by an onlooker.
mod ledger;
/// What is between hosts.
mod network;
/// The sessions of a server process.
mod registry;
/// A server process and its connections.
mod server;
/// All of it, and what happens next.
mod world;

use world::{Flaw, Seen, World};

/// Seeds of a run that is not told how many: in a release build what has to pass, about a quarter
/// of a minute. A debug build takes ten times as long for each.
const SEEDS: u64 = if cfg!(debug_assertions) { 1_000 } else { 20_000 };

/// Seeds that have found something, each with what it was.
const KEPT: [(u64, &str); 2] = [
    (5, "an ack that came before all had been sent again misnumbered what followed"),
    (637_285, "a backlog behind a buffer of ten messages takes longer than eight seconds to drain"),
];

fn seeds() -> u64 {
    std::env::var("BOWLINE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn every_invariant_holds_for_every_seed() {
    let mut seen = Seen::default();
    for seed in 0..seeds() {
        let of_seed = World::run(seed, Flaw::None).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        seen.add(&of_seed);
    }
    // There was something to see.
    let Seen { turns, late, lost, refused, plain } = seen;
    assert!(turns > 3 * seeds(), "{turns} connections");
    for (count, what) in [
        (late, "texts on connections whose turn was over"),
        (lost, "sessions that were lost"),
        (refused, "attackers"),
        (plain, "sessions without a link"),
    ] {
        assert!(count > seeds() / 50, "{count} {what}");
    }
}

#[test]
fn seeds_that_have_found_something_hold() {
    for (seed, what) in KEPT {
        World::run(seed, Flaw::None).unwrap_or_else(|broken| panic!("seed {seed}, {what}: {broken}"));
    }
}

/// How many of 400 seeds catch a flaw.
fn caught(flaw: Flaw) -> usize {
    (0..400).filter(|&seed| World::run(seed, flaw).is_err()).count()
}

#[test]
fn canary_no_fencing_is_caught() {
    assert!(caught(Flaw::NoFencing) > 5);
}

#[test]
fn canary_no_duplicate_check_is_caught() {
    assert!(caught(Flaw::NoDuplicateCheck) > 20);
}

#[test]
fn canary_early_free_is_caught() {
    assert!(caught(Flaw::EarlyFree) > 100);
}

#[test]
fn canary_rotation_on_send_is_caught() {
    assert!(caught(Flaw::RotationOnSend) > 100);
}
