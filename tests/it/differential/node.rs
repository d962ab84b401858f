//! The official package in a process of Node's, a line in and a line out.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use serde::Deserialize;

/// What the package made of a text: a description and its own text, or why it refused.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Reading {
    Read { is: String, wire: String },
    Refused { error: String },
}

/// A value of JavaScript's, and what it must be once it has arrived, and once it is back.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) wire: String,
    pub(super) arrives: String,
    pub(super) returns: String,
    /// The differences that matter to its arrival, and to that of none before it.
    pub(super) met: Vec<String>,
}

pub(super) struct Node {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Whether the tests that need Node are to be left out.
pub(super) fn skipped() -> bool {
    std::env::var("BOWLINE_SKIP").is_ok_and(|skip| skip.split(',').any(|what| what.trim() == "node"))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node")
}

impl Node {
    /// Starts the package's side, which is told the differences of both directions.
    pub(super) fn start(arriving: &[&str], returning: &[&str]) -> Self {
        let directory = directory();
        assert!(
            directory.join("node_modules/capnweb").is_dir(),
            "the official package is missing: run `npm ci` in tests/node, or set BOWLINE_SKIP=node"
        );
        let differences = serde_json::to_string(&(arriving, returning)).expect("names are JSON");
        let spawned = Command::new("node")
            .arg(directory.join("differential/peer.mjs"))
            .arg(differences)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => panic!("`node` cannot be started ({error}): install Node 20, or set BOWLINE_SKIP=node"),
        };
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output }
    }

    /// Sends all lines and reads all answers.
    pub(super) fn exchange(self, lines: Vec<String>) -> Vec<String> {
        let Self { mut child, mut input, output } = self;
        let writer = thread::spawn(move || {
            for line in lines {
                assert!(!line.contains('\n'), "a line is one line");
                writeln!(input, "{line}").expect("the other side reads");
            }
        });
        let answers = output.lines().collect::<Result<_, _>>().expect("what Node prints is text");
        writer.join().expect("all was written");
        assert!(child.wait().expect("it was started").success(), "the official package's side failed");
        answers
    }
}
