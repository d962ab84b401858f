//! Measures what a byte that a hostile peer sends costs the other side: memory that is held for it, and time.
//! `cargo bench --bench amplification` measures a session with default limits and one with
//! `Limits::public`. Without `--bench` a small amount is sent, which shows that all rows work.
//!
//! A row of memory is sent until 400 MiB have been sent or the session has ended. Measured is the peak of allocated
//! bytes, so that it includes what is not counted. A row of time is one message; measured are the CPU time that it takes,
//! and the latency of the calls of another client on the same thread while it is sent again and again.

use std::process::ExitCode;
use std::time::Duration;

use bowline::Limits;

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

/// The most that 99 of 100 calls of another client may take meanwhile.
const P99_MAX: Duration = Duration::from_millis(20);

/// Returns the CPU time of this thread.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn time(row: &Timed, limits: &Limits, bytes: usize) -> bool {
    let (before, message) = (row.messages)(bytes);
    let mut server = Server::new(limits.clone());
    before.iter().for_each(|text| server.send(text));
    if let Some(closed) = server.session.closed() {
        // Tighter limits do not let it come to this message.
        println!("{:34} aborted before: {}", row.name, closed.message);
        return *limits != Limits::default();
    }
    let began = cpu_time();
    server.send(&message);
    let took = cpu_time().saturating_sub(began);
    drop(server);
    let p99 = beside::p99(&before, &message, limits);
    println!(
        "{:34} {:>9} {:>9.2} {:>11.1} {:>9.2}",
        row.name,
        message.len(),
        took.as_secs_f64() * 1e3,
        took.as_secs_f64() * 1e9 / message.len() as f64,
        p99.as_secs_f64() * 1e3,
    );
    took <= TIME_MAX && p99 <= P99_MAX
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
        println!(
            "{name}: time of one message\n{:34} {:>9} {:>9} {:>11} {:>9}",
            "", "bytes", "ms", "ns a byte", "p99, ms"
        );
        let bytes = if is_measured { limits.message_bytes / 8 * 7 } else { 20_000 };
        for row in TIMED {
            let is_fast = time(row, &limits, bytes);
            within &= is_fast || !is_measured;
        }
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
