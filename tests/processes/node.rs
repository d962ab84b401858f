//! The package of js/ as a client in Node.js, while its server is killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::shop::{Server, free_address};
use crate::{Folder, kills};

/// How long the script may take to answer.
const WITHIN: Duration = Duration::from_secs(30);

/// A script of tests/node.
struct Script {
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Script {
    /// Starts a script. Returns `None` if `BOWLINE_SKIP` says so.
    fn start(name: &str, url: &str) -> Option<Self> {
        if std::env::var("BOWLINE_SKIP").is_ok_and(|skipped| skipped.split(',').any(|name| name == "node")) {
            return None;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
        assert!(folder.join("node_modules/ws").is_dir(), "run `npm ci` in tests/node, or set BOWLINE_SKIP=node");
        let mut command = Command::new("node");
        command.arg(folder.join(name)).arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("node runs");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { stdin: child.stdin.take().unwrap(), lines, _child: child })
    }

    async fn line(&mut self) -> String {
        timeout(WITHIN, self.lines.next_line()).await.expect("the script answers in time").unwrap().expect("a line")
    }

    async fn ask(&mut self, line: &str) -> Value {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Waits until more calls were answered than `answered`, after more recoveries than `recovered`.
    async fn until_answered(&mut self, answered: u64, recovered: u64) -> (u64, u64) {
        loop {
            let progress = self.ask("progress").await;
            let (answers, recoveries) =
                (progress["answered"].as_u64().unwrap(), progress["recovered"].as_u64().unwrap());
            if answers > answered && recoveries > recovered {
                return (answers, recoveries);
            }
            assert_ne!(progress["state"], "lost", "{progress}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Returns how often each account was booked under each number.
fn booked(history: &Path) -> BTreeMap<String, usize> {
    let mut booked = BTreeMap::new();
    for line in std::fs::read_to_string(history).unwrap().lines() {
        *booked.entry(line.strip_prefix("book ").unwrap().to_owned()).or_default() += 1;
    }
    booked
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_client_loses_and_doubles_nothing_when_its_server_is_killed() {
    let folder = Folder::new("node-kills");
    let (history, address) = (folder.0.join("history"), free_address());
    let store = format!("sqlite:{}", folder.0.join("sessions.db").display());
    let mut server = Server::start(address, &store, &history);
    let Some(mut script) = Script::start("shop.mjs", &format!("ws://{address}")) else { return };
    let session = script.line().await;
    assert!(session.starts_with("s_"), "{session}");
    let (mut answered, mut recovered) = (0, 0);
    for _ in 0..kills() {
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..120))).await;
        server.kill();
        server = Server::start(address, &store, &history);
        (answered, recovered) = script.until_answered(answered, recovered).await;
    }
    let report = script.ask("stop").await;
    drop(server);
    let booked = booked(&history);
    let told = report["told"].as_object().unwrap();
    for (call, told) in told {
        let times = booked.get(call).copied().unwrap_or_default();
        match told.as_str().unwrap() {
            "ANSWERED" => assert_eq!(times, 1, "{call}"),
            "CALL_OUTCOME_UNKNOWN" => assert!(times <= 1, "{call} was carried out {times} times"),
            "CALL_NOT_ATTEMPTED" => assert_eq!(times, 0, "{call}"),
            other => panic!("{call} was told {other}"),
        }
    }
    for (id, told) in report["rung"].as_object().unwrap() {
        let times = report["heard"][id].as_u64().unwrap_or_default();
        match told.as_str().unwrap() {
            // The server reports a ring also when its own call of the page was cut off.
            "ANSWERED" | "CALL_OUTCOME_UNKNOWN" => assert!(times <= 1, "{id} was heard {times} times"),
            "CALL_NOT_ATTEMPTED" => assert_eq!(times, 0, "{id}"),
            other => panic!("ring {id} was told {other}"),
        }
    }
    let answers = told.values().filter(|told| *told == "ANSWERED").count();
    let unknown = told.values().filter(|told| *told == "CALL_OUTCOME_UNKNOWN").count();
    println!("{answers} calls answered, {unknown} unknown; recovered {recovered} times");
    assert!(answers >= kills(), "{answers}");
    assert!(booked.keys().all(|call| told.contains_key(call)), "a call was carried out that was never made");
}

/// Two servers take turns: each drains its sessions to the other.
#[tokio::test(flavor = "multi_thread")]
async fn javascript_client_loses_no_call_when_its_server_is_drained_to_another() {
    let folder = Folder::new("node-drains");
    let history = folder.0.join("history");
    let store = format!("sqlite:{}", folder.0.join("sessions.db").display());
    let mut server = Server::start(free_address(), &store, &history);
    let Some(mut script) = Script::start("shop.mjs", &format!("ws://{}", server.address)) else { return };
    script.line().await;
    let (mut answered, mut recovered) = (0, 0);
    for _ in 0..kills().div_ceil(2) {
        tokio::time::sleep(Duration::from_millis(rand::random_range(50..200))).await;
        let next = Server::start(free_address(), &store, &history);
        let (cut, _took) = tokio::task::block_in_place(|| server.drain(Duration::from_secs(5), next.address));
        assert_eq!(cut, 0);
        server = next;
        (answered, recovered) = script.until_answered(answered, recovered).await;
    }
    let report = script.ask("stop").await;
    drop(server);
    let booked = booked(&history);
    let told = report["told"].as_object().unwrap();
    println!("{} calls; drained {recovered} times", told.len());
    for (call, told) in told {
        assert_eq!((told.as_str(), booked.get(call)), (Some("ANSWERED"), Some(&1)), "{call}");
    }
    for (id, told) in report["rung"].as_object().unwrap() {
        assert_eq!((told.as_str(), report["heard"][id].as_u64()), (Some("ANSWERED"), Some(1)), "ring {id}");
    }
}
