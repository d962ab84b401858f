//! The official package in a Node.js process, which answers each line with a line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread;

use serde::Deserialize;

/// How the package read a text: a description and its own encoding, or why it refused the text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Reading {
    Read { is: String, wire: String },
    Refused { error: String },
}

/// A value of JavaScript, and the expected descriptions after it has arrived and after it is back.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) wire: String,
    pub(super) arrives: String,
    pub(super) returns: String,
    /// The differences that occur for the first time when this value arrives.
    pub(super) met: Vec<String>,
}

pub(super) struct Node {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Node {
    /// Starts the process with the differences of both directions. Returns `None` if tests that need Node.js are
    /// skipped.
    pub(super) fn start(arriving: &[&str], returning: &[&str]) -> Option<Self> {
        let mut command = crate::node::node("differential/peer.mjs")?.into_std();
        let differences = serde_json::to_string(&(arriving, returning)).expect("ids can be serialized");
        command.arg(differences).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node runs");
        let input = child.stdin.take().expect("stdin is piped");
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Some(Self { child, input, output })
    }

    /// Sends all lines and returns all replies.
    pub(super) fn exchange(self, lines: Vec<String>) -> Vec<String> {
        let Self { mut child, mut input, output } = self;
        let writer = thread::spawn(move || {
            for line in lines {
                assert!(!line.contains('\n'), "a request must be a single line");
                writeln!(input, "{line}").expect("node reads its input");
            }
        });
        let answers = output.lines().collect::<Result<_, _>>().expect("the output of node is text");
        writer.join().expect("all lines were written");
        assert!(child.wait().expect("its exit status is known").success(), "the official package's side failed");
        answers
    }
}
