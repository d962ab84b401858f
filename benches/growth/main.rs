//! Whether a call takes longer when there is much else: more live capabilities in its session, more
//! sessions in its process. `cargo bench --bench growth` measures; without `--bench` small numbers
//! show that all is answered.
//!
//! What is compared is there at the same time and takes turns, and the median of the ratios counts, so
//! that a machine that is slow for a while is slow for both.

/// Who calls whom.
#[expect(dead_code, reason = "scenarios that do not grow")]
#[path = "../gate/peers.rs"]
mod peers;

use std::process::ExitCode;
use std::time::Instant;

use bowline::Limits;
use bowline::transport::SessionOptions;
use futures_util::future::join_all;
use tokio::runtime::Runtime;

use crate::peers::{CounterRef, Joined, join_in_memory};

/// What may be lost to growth where a call finds its session in the caches.
const RATIO_MAX: f64 = 1.3;
const AT_ONCE: usize = 64;

/// How much there is, and how often both are compared.
struct Size {
    capabilities: usize,
    sessions: usize,
    rounds: usize,
}

const MEASURED: Size = Size { capabilities: 1_000_000, sessions: 10_000, rounds: 401 };
const TRIED: Size = Size { capabilities: 256, sessions: 16, rounds: 3 };

/// Sessions on a runtime of their own, and what the client of the first holds.
struct Crowd {
    runtime: Runtime,
    sessions: Vec<Joined>,
    held: Vec<CounterRef>,
}

impl Crowd {
    fn of(sessions: usize, capabilities: usize) -> Self {
        // The clock stands still, so that no heartbeat falls into what is measured.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O asks for nothing");
        let (sessions, held) = runtime.block_on(async {
            let limits = Limits::default().table_entries(2 * MEASURED.capabilities);
            let options = SessionOptions::default().limits(limits);
            let mut joined = Vec::with_capacity(sessions);
            for _ in 0..sessions {
                let session = join_in_memory(options.clone()).await;
                // Tables and buffers have grown when it is measured.
                session.calls_at_once().await;
                joined.push(session);
            }
            let mut held = Vec::with_capacity(capabilities);
            while held.len() < capabilities {
                let made = (0..AT_ONCE.min(capabilities - held.len())).map(|_| joined[0].api.counter().into_future());
                held.extend(join_all(made).await.into_iter().map(|made| made.expect("it answers")));
            }
            (joined, held)
        });
        Self { runtime, sessions, held }
    }

    /// Calls at once on the main object of one session.
    fn of_one(&self, _round: usize) {
        self.runtime.block_on(self.sessions[0].calls_at_once());
    }

    /// Calls at once on objects that are held, from all over the table.
    fn of_held(&self, round: usize) {
        let stride = self.held.len() / AT_ONCE + 1;
        let calls = (0..AT_ONCE).map(|n| self.held[(n * stride + round) % self.held.len()].next().into_future());
        let answers = self.runtime.block_on(join_all(calls));
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
    }

    /// Calls at once, of another session in each round.
    fn of_next(&self, round: usize) {
        self.runtime.block_on(self.sessions[round % self.sessions.len()].calls_at_once());
    }

    /// Calls one after the other, each of another session.
    fn of_each(&self, round: usize) {
        self.runtime.block_on(async {
            for n in 0..AT_ONCE {
                self.sessions[(round * AT_ONCE + n) % self.sessions.len()].call().await;
            }
        });
    }
}

/// How much longer `many` take than `few`.
fn ratio(rounds: usize, few: &Crowd, many: &Crowd, work: impl Fn(&Crowd, usize)) -> f64 {
    let time = |crowd: &Crowd, round| {
        let began = Instant::now();
        work(crowd, round);
        began.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<_> =
        (0..rounds).map(|round| (time(many, round), time(few, round))).map(|(m, f)| m / f).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[rounds / 2]
}

fn main() -> ExitCode {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let Size { capabilities, sessions, rounds } = if is_measured { MEASURED } else { TRIED };
    let few = Crowd::of(1, 1);
    let mut grows = false;
    let mut compare = |what: &str, many: &Crowd, max: f64, work: fn(&Crowd, usize)| {
        let ratio = ratio(rounds, &few, many, work);
        println!("{what}: {ratio:.2} x the time of one alone");
        grows |= is_measured && ratio > max;
    };
    let holding = Crowd::of(1, capabilities);
    compare(&format!("{capabilities} capabilities, calls on one"), &holding, RATIO_MAX, Crowd::of_one);
    compare(&format!("{capabilities} capabilities, calls on all"), &holding, RATIO_MAX, Crowd::of_held);
    drop(holding);
    let crowd = Crowd::of(sessions, 1);
    compare(&format!("{sessions} sessions, {AT_ONCE} calls of one"), &crowd, RATIO_MAX, Crowd::of_one);
    // What these touch has to come from memory, whatever is done with it: printed, not bounded.
    compare(&format!("{sessions} sessions, {AT_ONCE} calls of each in turn"), &crowd, f64::INFINITY, Crowd::of_next);
    compare(&format!("{sessions} sessions, one call of each in turn"), &crowd, f64::INFINITY, Crowd::of_each);
    if grows { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
