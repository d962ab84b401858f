//! Random programs of messages, run by a server of the official package and by an equivalent Bowline server. The
//! replies to each message must be equal, except for the differences that
//! `tests/node/differential/programs.md` lists.
//!
//! A program that shows another difference is shortened as far as possible before it is printed. `BOWLINE_PROGRAMS`
//! sets the number of programs, and `BOWLINE_SEED` the seed of the first one. Each program has a seed of its own, so
//! the same programs run everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use bowline::Reference;
use bowline_core::limits::Limits;
use bowline_core::peer::testing::link;
use bowline_core::peer::{Connection, Receiving, Sending, Transport};
use serde_json::Value as Json;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use super::generate::{Program, Step};
use super::workshop::{Bench, WorkshopRef};

/// The default number of programs, which takes about a minute.
const PROGRAMS: u64 = 40_000;
/// An arbitrary seed.
const SEED: u64 = 20_261_130;
/// Seeds of programs that have shown rare differences. Every run begins with them.
const KEPT: [u64; 2] = [90_036_858, 314_184_732];
/// A time that is longer than any wait of a program.
const QUIET: Duration = Duration::from_millis(50);

const LIST: &str = include_str!("../../node/differential/programs.md");

/// The messages that each message was answered with. The list ends when the session ends.
type Answers = Vec<Vec<String>>;

/// The server of the official package.
struct Official {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Official {
    /// Starts the server. Returns `None` if tests that need Node.js are skipped.
    fn start() -> Option<Self> {
        let mut command = crate::node::node("differential/programs.mjs")?.into_std();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node runs");
        let input = child.stdin.take().expect("stdin is piped");
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Some(Self { child, input, output })
    }

    fn run(&mut self, program: &[Step]) -> Answers {
        let messages: Vec<&str> = program.iter().map(|step| step.text.as_str()).collect();
        writeln!(self.input, "{}", serde_json::to_string(&messages).expect("text can be serialized"))
            .expect("node reads its input");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the output of node is text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?} of {messages:?}"))
    }
}

impl Drop for Official {
    fn drop(&mut self) {
        // Both fail if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program on a Bowline server. Its clock is paused and advances only when no task can make progress.
async fn ours(program: &[Step]) -> Answers {
    let (left, right, _wire) = link();
    let main = WorkshopRef::new(Bench::default()).stub().clone();
    let (server, driver) = Connection::start(right, Some(main), Limits::default());
    tokio::spawn(driver);
    let (mut to_server, mut from_server) = left.split();
    let mut answers = Vec::new();
    for step in program {
        // Fails once the session has ended.
        let _ = to_server.feed(step.text.clone()).await;
        sleep(QUIET).await;
        let came = std::iter::from_fn(|| from_server.try_receive()).map_while(Result::ok).collect();
        answers.push(came);
        if server.is_closed() {
            break;
        }
    }
    answers
}

/// Returns messages in the form in which they are compared: sorted, and without releases, which are sent when
/// waiting calls end and some of which the package omits. Aborts are reduced to the word, because the messages of
/// parsers differ.
fn comparable(messages: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for text in messages {
        let message: Json = serde_json::from_str(text).expect("messages are JSON");
        match message[0].as_str() {
            Some("release") => {}
            Some("abort") => lines.push("abort".to_owned()),
            _ => lines.push(message.to_string()),
        }
    }
    lines.sort();
    lines
}

/// Returns the messages without ids of the server, and with promises replaced by what they resolved to at once.
fn inlined(messages: &[String]) -> Vec<String> {
    let messages: Vec<Json> = messages.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
    let mut became = BTreeMap::new();
    for message in &messages {
        if let (Some("resolve"), Some(id @ ..0)) = (message[0].as_str(), message[1].as_i64()) {
            became.insert(id, message[2].clone());
        }
    }
    let answers = messages.iter().filter(|message| message[0] != "release" && !is_answer_to(message, &became));
    let mut lines: Vec<String> = answers.map(|message| put_in(message, &became, 9).to_string()).collect();
    lines.sort();
    lines
}

fn is_answer_to(message: &Json, became: &BTreeMap<i64, Json>) -> bool {
    message[0] == "resolve" && message[1].as_i64().is_some_and(|id| became.contains_key(&id))
}

fn put_in(json: &Json, became: &BTreeMap<i64, Json>, depth: usize) -> Json {
    match json {
        Json::Array(items) => match (items.first().and_then(Json::as_str), items.get(1).and_then(Json::as_i64)) {
            (Some("promise"), Some(id)) if depth > 0 && became.contains_key(&id) => {
                put_in(&became[&id], became, depth - 1)
            }
            (Some(tag @ ("promise" | "export")), Some(_)) => Json::from(tag),
            _ => items.iter().map(|item| put_in(item, became, depth)).collect(),
        },
        Json::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), put_in(member, became, depth))).collect()
        }
        plain => plain.clone(),
    }
}

/// The result of a comparison: equal, an allowed difference, or a description of the first other difference.
enum Outcome {
    Alike,
    Allowed(&'static str),
    Different(String),
}

fn compare(program: &[Step], ours: &Answers, theirs: &Answers) -> Outcome {
    for (n, step) in program.iter().enumerate() {
        let (Some(our), Some(their)) = (ours.get(n), theirs.get(n)) else {
            return match (ours.get(n), theirs.get(n)) {
                (None, None) => Outcome::Alike,
                (our, _) => Outcome::Different(format!(
                    "only the session of {} has ended",
                    if our.is_none() { "Bowline" } else { "the package" }
                )),
            };
        };
        let (our, their) = (comparable(our), comparable(their));
        let ended = |lines: &[String]| lines.iter().any(|line| line == "abort");
        if let Some(id) = step.allowed {
            // One of the two servers ends the session, or both do.
            if ended(&our) != ended(&their) {
                return Outcome::Allowed(id);
            }
        }
        if ended(&our) && ended(&their) {
            return Outcome::Alike;
        }
        if our != their && inlined(&ours[n]) == inlined(&theirs[n]) {
            // From here on, the two servers use different ids for the same objects.
            return Outcome::Allowed("resolved-promises");
        }
        if their.iter().any(|line| line.starts_with("[\"push\",[\"remap\"")) {
            return Outcome::Allowed("maps-of-the-client");
        }
        let answers_released = |line: &&String| {
            let answer: Json = serde_json::from_str(line).unwrap_or_default();
            let released = |step: &Step| step.text.starts_with(&format!("[\"release\",{}", answer[1]));
            answer[1].is_i64() && program[..=n].iter().any(released) && !our.contains(line)
        };
        if their.iter().any(|line| answers_released(&line))
            || our.iter().any(|line| line.contains("RPC was canceled because the RpcPromise was disposed."))
        {
            return Outcome::Allowed("canceled-calls");
        }
        let is_copy = |line: &&String| line.starts_with("[\"push\",[\"pipeline\"") && line.ends_with(",[]]]");
        if their.iter().any(|line| is_copy(&line) && !our.contains(line)) {
            return Outcome::Allowed("copies-of-promises");
        }
        let is_late = |line: &&String| {
            let is_walk =
                line.ends_with("is not a function.\"]]") || line.contains("Cannot read properties of undefined");
            is_walk && !our.contains(line)
        };
        if their.iter().any(|line| line.starts_with("[\"pull\"") && !our.contains(line)) {
            return Outcome::Allowed("needless-pulls");
        }
        let asks = our.iter().any(|line| line.starts_with("[\"pull\"") && !their.contains(line));
        // A call on a pending promise of the application, with an argument that has failed.
        let fails_early = |line: &String| {
            let answer: Json = serde_json::from_str(line).unwrap_or_default();
            let push = answer[1].as_u64().and_then(|id| {
                let makes_result = |step: &&Step| {
                    ["[\"push\"", "[\"stream\"", "[\"pipe\""].iter().any(|tag| step.text.starts_with(tag))
                };
                program[..=n].iter().filter(makes_result).nth(usize::try_from(id).ok()?.checked_sub(1)?)
            });
            answer[0] == "reject" && push.is_some_and(|step| step.text.matches("[\"pipeline\"").count() > 1)
        };
        let is_early = their.iter().all(|line| our.contains(line))
            && our.iter().filter(|line| !their.contains(line)).all(fails_early)
            && our != their;
        if asks || is_early || their.iter().any(|line| is_late(&line)) {
            return Outcome::Allowed("missing-methods");
        }
        let is_of_pulled_object = |lines: &[String]| {
            lines.iter().any(|line| line.ends_with(r#"["error","Error","Tried to resolve a non-promise stub."]]"#))
        };
        if step.text.starts_with("[\"pull\",-") && is_of_pulled_object(&our) != is_of_pulled_object(&their) {
            return Outcome::Allowed("pulled-objects");
        }
        if our != their {
            let mut what = String::new();
            let _ = write!(what, "after {}\n  Bowline      {our:?}\n  the package  {their:?}", step.text);
            return Outcome::Different(what);
        }
    }
    Outcome::Alike
}

struct Bed {
    runtime: Runtime,
    official: Official,
}

impl Bed {
    fn try_out(&mut self, program: &[Step]) -> Outcome {
        let theirs = self.official.run(program);
        // A new runtime, so that no tasks of this program are left for the next.
        let ours = self.runtime.block_on(ours(program));
        self.runtime = runtime();
        compare(program, &ours, &theirs)
    }

    /// Removes steps as long as a difference remains.
    fn shorten(&mut self, mut program: Vec<Step>) -> (Vec<Step>, String) {
        let mut at = program.len();
        let mut difference = String::new();
        while at > 0 {
            at -= 1;
            let mut shorter = program.clone();
            shorter.remove(at);
            if let Outcome::Different(what) = self.try_out(&shorter) {
                (program, difference) = (shorter, what);
                at = at.min(program.len());
            }
        }
        if difference.is_empty()
            && let Outcome::Different(what) = self.try_out(&program)
        {
            difference = what;
        }
        (program, difference)
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("the runtime can be built")
}

/// Returns the allowed differences. Each must have a reason.
fn allowed() -> BTreeSet<&'static str> {
    let rows = LIST.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).skip(1);
    rows.map(|(id, rest)| {
        assert!(rest.trim_end_matches(" |").split(" | ").count() == 2, "{id} has no reason");
        id
    })
    .collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn programs_behave_as_with_the_official_package() {
    let Some(official) = Official::start() else { return };
    let mut bed = Bed { runtime: runtime(), official };
    let (first, programs) = (setting("BOWLINE_SEED", SEED), setting("BOWLINE_PROGRAMS", PROGRAMS));
    println!("{programs} programs from seed {first}");
    let list = allowed();
    let mut met = BTreeSet::new();
    let mut different = 0;
    for seed in KEPT.into_iter().chain((0..programs).map(|n| first.wrapping_add(n))) {
        let program = Program::of_seed(seed);
        match bed.try_out(&program) {
            Outcome::Alike => {}
            Outcome::Allowed(id) => {
                assert!(list.contains(id), "programs.md does not list {id}");
                met.insert(id);
                different += 1;
            }
            Outcome::Different(_) => {
                let (program, difference) = bed.shorten(program);
                let lines: Vec<&str> = program.iter().map(|step| step.text.as_str()).collect();
                panic!("seed {seed}: {difference}\nprogram:\n  {}", lines.join("\n  "));
            }
        }
    }
    println!("{different} programs showed an allowed difference");
    assert!(
        programs < PROGRAMS || met == list,
        "programs.md lists differences that do not occur: {list:?} but {met:?}"
    );
}
