//! Measures what a byte that a hostile peer sends costs the other side: memory that is held for it, and time.
//! `cargo bench --bench amplification` measures a session with default limits and one with
//! `Limits::public`. Without `--bench` a small amount is sent, which shows that all rows work.
//!
//! A row of memory is sent until 400 MiB have been sent or the session has ended. Measured is the peak of allocated
//! bytes, so that it includes what is not counted. A row of time is one message; measured are the CPU time that it takes,
//! and the latency of another client's calls while it is sent again and again, on a server with one thread and on one
//! with two. The latency on one thread is printed and not bounded: some messages are checked or indexed in one step.

use std::process::ExitCode;
use std::time::Duration;

use bowline::Limits;

use self::beside::{Latency, Load, Threads, measure};
use self::held::hold;
use self::rows::{HELD, Server, TIMED, Timed};

/// The calls of another client.
mod beside;
/// The peak of allocated bytes.
mod held;
/// What a hostile peer sends.
mod rows;

const MIB: usize = 1 << 20;

/// The most CPU time that one message may take.
const TIME_MAX: Duration = Duration::from_millis(100);

/// The most that 99 of 100 calls of another client may take meanwhile, on a machine that is not loaded.
const P99_MAX: Duration = Duration::from_millis(20);

/// On a loaded machine, the most is this multiple of what the calls take beside a task that yields each millisecond.
const P99_OF_FAIR: u32 = 3;

/// How long calls are made beside each message.
const CALLS_TIME: Duration = Duration::from_secs(2);
const CALLS_TIME_OF_A_TEST: Duration = Duration::from_millis(20);

/// Returns the CPU time of this thread.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Measures calls beside a fair task, for each runtime of the server.
fn fair(time: Duration) -> Vec<(Threads, Latency)> {
    [Threads::One, Threads::Two].map(|threads| (threads, measure(&Load::Fair, threads, time))).to_vec()
}

fn time(row: &Timed, limits: &Limits, bytes: usize, calls_time: Duration) -> bool {
    let (before, message) = (row.messages)(bytes);
    let mut server = Server::new(limits.clone());
    before.iter().for_each(|text| server.send(text));
    if let Some(closed) = server.session.closed() {
        // Tighter limits do not let it come to this message.
        println!("{:36} aborted before: {}", row.name, closed.message);
        return *limits != Limits::default();
    }
    let began = cpu_time();
    server.send(&message);
    let took = cpu_time().saturating_sub(began);
    drop(server);
    let len = message.len();
    let (ms, per_byte) = (took.as_secs_f64() * 1e3, took.as_secs_f64() * 1e9 / len as f64);
    print!("{:36} {len:>9} {ms:>7.2} {per_byte:>11.1}", row.name);
    let load = Load::Hostile { before, message, limits: limits.clone(), repeats_all: row.repeats_all };
    let mut is_fast = took <= TIME_MAX;
    for (threads, fair) in fair(calls_time) {
        let latency = measure(&load, threads, calls_time);
        print!(" |{latency}");
        is_fast &= matches!(threads, Threads::One) || latency.p99 <= P99_MAX.max(P99_OF_FAIR * fair.p99);
    }
    println!("{}", if is_fast { "" } else { "  beyond the bound" });
    is_fast
}

fn main() -> ExitCode {
    let is_measured = std::env::args().any(|arg| arg == "--bench");
    let mut within = true;
    for (name, limits) in [("Limits::default()", Limits::default()), ("Limits::public()", Limits::public())] {
        println!(
            "{name}: bytes held\n{:34} {:>8} {:>8} {:>9} {:>9} {:>7}",
            "", "sent", "counted", "allocated", "of bound", "a byte"
        );
        for row in HELD {
            let mut limits = limits.clone();
            if !is_measured {
                limits.message_bytes /= 100;
            }
            let measured = hold(row, &limits, if is_measured { 400 * MIB } else { MIB });
            println!("{measured}");
            within &= measured.allocated < 2 * limits.held_bytes;
        }
        let calls_time = if is_measured { CALLS_TIME } else { CALLS_TIME_OF_A_TEST };
        println!(
            "{name}: time of one message, and latency of calls in ms with one thread | two\n{:36} {:>9} {:>7} {:>11}",
            "", "bytes", "CPU ms", "ns a byte"
        );
        for (threads, latency) in fair(calls_time) {
            println!("beside a task that yields, {threads:?}: {latency}");
        }
        let bytes = if is_measured { limits.message_bytes / 8 * 7 } else { 20_000 };
        for row in TIMED {
            let is_fast = time(row, &limits, bytes, calls_time);
            within &= is_fast || !is_measured;
        }
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
