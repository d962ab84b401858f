//! Six scenarios of the path of a call, run a given number of times and in the same way each time,
//! for `bench/gate`, which counts their instructions: `gate --count SCENARIO ROUNDS`. Otherwise
//! each runs a few times, which shows that all are answered.
//!
//! One thread, a pipe in memory, and a clock that stands still while there is work: nothing is
//! left to the kernel or to time.

/// Who calls whom.
mod peers;

use bowline::transport::SessionOptions;

use crate::peers::{Joined, join_in_memory};

const SCENARIOS: [&str; 6] = ["one-by-one", "at-once", "chain", "object", "callback", "bytes"];
const BYTES: usize = 64 << 10;

/// Enough to see that a scenario is answered, twice.
const ROUNDS_OF_A_TRY: usize = 2;

async fn round(joined: &Joined, scenario: &str, bytes: &[u8]) {
    match scenario {
        "one-by-one" => joined.call().await,
        "at-once" => joined.calls_at_once().await,
        "chain" => joined.chain().await,
        "object" => joined.object().await,
        "callback" => joined.callback().await,
        "bytes" => joined.bytes(bytes).await,
        unknown => panic!("{unknown} is none of {SCENARIOS:?}"),
    }
}

fn run(scenario: &str, rounds: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O asks for nothing").block_on(async {
        let joined = join_in_memory(SessionOptions::default()).await;
        let bytes: Vec<u8> = (0..BYTES).map(|n| (n * 31 + 7) as u8).collect();
        for _ in 0..rounds {
            round(&joined, scenario, &bytes).await;
        }
        assert!(!joined.client.is_closed() && !joined.server.is_closed());
    });
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [count, scenario, rounds] if count == "--count" => run(scenario, rounds.parse().expect("rounds are a number")),
        // Cargo adds options of its own, and names of tests.
        _ => SCENARIOS.iter().for_each(|scenario| run(scenario, ROUNDS_OF_A_TRY)),
    }
}
