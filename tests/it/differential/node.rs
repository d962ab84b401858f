//! The official package in a process of Node's, a line in and a line out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
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

impl Node {
    /// Starts the package's side, which is told the differences of both directions; `None` if
    /// tests that need Node are to be skipped.
    pub(super) fn start(arriving: &[&str], returning: &[&str]) -> Option<Self> {
        let mut command = crate::node::node("differential/peer.mjs")?.into_std();
        let differences = serde_json::to_string(&(arriving, returning)).expect("names are JSON");
        command.arg(differences).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node runs");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Some(Self { child, input, output })
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
