//! The package of js/ as a client in Node.js, over connections that fail, and against servers without the link.

use std::process::Stdio;
use std::time::Duration;

use bowline::Service;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::{sleep, timeout};

use super::garden::{GardenRef, Plot};
use super::{node, started};

#[path = "../../net/proxy.rs"]
#[expect(dead_code, reason = "the tests of tests/net use the rest")]
mod proxy;

use proxy::Proxy;

/// The time limit of a script.
const WITHIN: Duration = Duration::from_secs(120);

/// A script that runs.
struct Script {
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Script {
    /// Starts a script, or returns `None` if these tests are skipped.
    fn start(script: &str, args: &[&str]) -> Option<Self> {
        let mut command = node(script)?;
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("node runs");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Some(Self { stdin: child.stdin.take().expect("stdin is piped"), lines, _child: child })
    }

    async fn line(&mut self) -> String {
        let line = timeout(WITHIN, self.lines.next_line()).await.expect("the script answers in time").unwrap();
        line.expect("the script succeeds")
    }

    async fn value(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    async fn ask(&mut self, line: &str) -> Value {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.value().await
    }
}

/// Starts a server of the garden.
async fn garden() -> std::net::SocketAddr {
    let beds = <std::sync::Arc<_>>::default();
    let gates = <std::sync::Arc<_>>::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Service::new(move |_peer| {
        let (beds, gates) = (std::sync::Arc::clone(&beds), std::sync::Arc::clone(&gates));
        GardenRef::new(Plot { beds, gates, vars: super::kept() })
    });
    tokio::spawn(service.serve(listener));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_may_be_cut_after_every_message() {
    let url = format!("ws://{}", garden().await);
    let Some(mut script) = Script::start("cuts.mjs", &["everywhere", &url]) else { return };
    let cuts = script.value().await;
    let cuts = cuts.as_object().unwrap();
    assert_eq!(cuts.len(), 8);
    assert!(cuts.values().all(|cuts| cuts.as_u64().unwrap() >= 6), "{cuts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_under_load_lose_and_double_nothing_in_both_directions() {
    let cuts = std::env::var("BOWLINE_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(200_u64);
    let proxy = Proxy::to(garden().await).await;
    let Some(mut script) = Script::start("cuts.mjs", &["load", &proxy.url()]) else { return };
    assert!(script.line().await.starts_with("s_"));
    for cut in 0..cuts {
        sleep(Duration::from_micros(cut * 37 % 6_000)).await;
        if cut % 2 == 0 {
            proxy.cut()
        } else {
            proxy.cut_within_the_next_piece()
        }
        let resumed = cut + 1;
        // A cut that waits for the next piece may come while the page is dialing.
        while script.ask("progress").await["resumed"].as_u64().unwrap() < resumed / 2 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    let counts = script.ask("stop").await;
    println!("{cuts} cuts: {counts}");
    assert!(counts["calls"].as_u64().unwrap() > cuts, "{counts}");
    assert!(counts["callbacks"].as_u64().unwrap() > cuts, "{counts}");
    assert!(counts["resumed"].as_u64().unwrap() >= cuts / 2, "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_work_with_an_official_server_without_the_link() {
    let Some(server) = node("server.mjs") else { return };
    let (_server, url) = started(server).await;
    let Some(mut script) = Script::start("cuts.mjs", &["plain", &url.replace("http", "ws")]) else { return };
    assert_eq!(script.value().await, json!(["plain", "plain"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_work_through_both_doors_with_a_bowline_server() {
    let url = format!("ws://{}", garden().await);
    let Some(mut script) = Script::start("cuts.mjs", &["plain", &url]) else { return };
    assert_eq!(script.value().await, json!(["attached", "attached"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reloaded_page_keeps_its_references() {
    let url = format!("ws://{}", garden().await);
    let Some(mut script) = Script::start("cuts.mjs", &["reload", &url]) else { return };
    let page = |page: u32| json!([page > 0, page, page + 1, [page, page + 1, page + 2], 1, true]);
    assert_eq!(script.value().await, json!([page(0), page(1), page(2), page(3)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_retransmit_buffer_are_refused_and_ids_stay_in_step() {
    let url = format!("ws://{}", garden().await);
    let Some(mut script) = Script::start("cuts.mjs", &["full", &url]) else { return };
    let result = script.value().await;
    let answered = result["told"]["answered"].as_u64().unwrap();
    assert!((50..=64).contains(&answered), "{result}");
    assert_eq!(result["told"]["BUFFER_OVERFLOW"], 5_000 - answered, "{result}");
    assert_eq!((&result["level"], &result["echo"]), (&json!(answered), &json!("well")));
}

#[tokio::test(flavor = "multi_thread")]
async fn random_texts_of_a_server_neither_hang_nor_crash_a_page() {
    let seeds = std::env::var("BOWLINE_SEEDS").unwrap_or_else(|_| "150".to_owned());
    let Some(mut script) = Script::start("hostile.mjs", &["1", &seeds]) else { return };
    let counts = script.value().await;
    println!("{counts}");
    assert!(counts["sent"].as_u64().unwrap() > 500, "{counts}");
    assert!(counts["resumed"].as_u64().unwrap() > 20, "{counts}");
}

/// `cargo test --release --test it link_costs -- --nocapture` prints the table of docs/browsers.md.
#[tokio::test(flavor = "multi_thread")]
async fn link_costs_a_page_fewer_bytes_than_it_saves_and_resumes_in_two_round_trips() {
    let server = garden().await;
    let latency = Duration::from_millis(40);
    let slow = Proxy::slow(server, latency).await;
    let Some(mut script) = Script::start("cost.mjs", &[&format!("ws://{server}"), &slow.url()]) else { return };
    let costs = script.value().await;
    println!("{costs:#}");
    for load in ["one at a time", "64 in flight"] {
        let of = |client: &str, what: &str| costs[load][client][what].as_f64().unwrap();
        assert!(of("linked", "bytes") <= of("bare", "bytes"), "{costs:#}");
        assert!(of("linked", "texts") <= of("bare", "texts"), "{costs:#}");
    }
    // The WebSocket handshake and one round trip.
    let round_trip = 2 * latency.as_millis() as u64;
    let resume = costs["resumeMs"].as_u64().unwrap();
    assert!((2 * round_trip..3 * round_trip).contains(&resume), "{resume} ms");
}
