//! What a byte that a hostile peer sends costs the other side: bytes that are held for it, and time.
//! `cargo bench --bench amplification` measures a session with default limits and one with
//! `Limits::public`; without `--bench` little is sent, which shows that all rows work.
//!
//! A row of memory is sent until 400 MiB have been sent or the session has ended. What is measured is the
//! most that was allocated, so that it includes what the account leaves out. A row of time is one message.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use bowline::{Limits, Value};
use bowline_core::session::{Delivery, Output, Session};
use bowline_core::value::{Payload, decode_args};

const MIB: usize = 1 << 20;

/// How often the limit on held bytes may be allocated: at twice the limit a session ends, and the
/// message that is too much is there as well.
const HELD_MAX: f64 = 2.5;

/// What one message may take.
const TIME_MAX: Duration = Duration::from_millis(100);

/// A session, and an application whose methods decode their arguments and never return.
struct Server {
    session: Session,
    running: Vec<(Delivery, Option<Vec<Value>>)>,
    sent: usize,
}

impl Server {
    fn new(limits: Limits) -> Self {
        Self { session: Session::new(limits, true), running: Vec::new(), sent: 0 }
    }

    fn send(&mut self, text: &str) {
        self.sent += text.len();
        self.session.handle_message(text);
        while let Some(output) = self.session.poll_output() {
            let Output::Deliver(mut delivery) = output else { continue };
            if delivery.path.first().is_some_and(|step| step.to_string() == "now") {
                let result = Payload::plain(delivery.args.take().map_or_else(String::new, |args| args.text().into()));
                self.session.settle(delivery.call, Ok(result));
                continue;
            }
            // Chunks stay what they are until they are read.
            let is_chunk = delivery.path.first().is_some_and(|step| step.to_string() == "write");
            let args = delivery.args.take_if(|args| !is_chunk && args.refs().is_empty());
            let decoded = args.and_then(|args| decode_args::<Vec<Value>>(Payload::plain(args.text())).ok());
            self.running.push((delivery, decoded));
        }
        while self.session.poll_transmit().is_some() {}
    }
}

/// What is sent again and again, after something that is sent once.
struct Held {
    name: &'static str,
    once: &'static [&'static str],
    /// Of so many bytes.
    message: fn(usize) -> String,
}

fn repeated(head: &str, unit: &str, tail: &str, bytes: usize) -> String {
    format!("{head}{}{tail}", unit.repeat(bytes / unit.len()))
}

const SLOW: &str = r#"["push",["pipeline",0,["slow"],[]]]"#;

const HELD: &[Held] = &[
    Held {
        name: "paths of calls that wait",
        once: &[SLOW],
        message: |bytes| {
            let name = "x".repeat(bytes.min(60_000));
            format!(r#"["push",["pipeline",1,["{name}"]]]"#)
        },
    },
    Held {
        name: "paths of maps that wait",
        once: &[SLOW],
        message: |bytes| {
            let name = "x".repeat(bytes.min(60_000));
            format!(r#"["push",["remap",1,["{name}"],[],[["pipeline",0,["a"]]]]]"#)
        },
    },
    Held {
        name: "instructions of maps that wait",
        once: &[SLOW],
        message: |bytes| repeated(r#"["push",["remap",1,[],[],[""#, "x", "\"]]]", bytes),
    },
    Held {
        name: "captures of maps that wait",
        once: &[SLOW],
        message: |bytes| repeated(r#"["push",["remap",1,[],[["import",0]"#, r#",["import",0]"#, "],[1]]]", bytes / 5),
    },
    Held {
        name: "unread chunks",
        once: &["[\"pipe\"]"],
        message: |bytes| repeated(r#"["stream",["pipeline",1,["write"],[""#, "x", "\"]]]", bytes),
    },
    Held {
        name: "arguments, one string",
        once: &[],
        message: |bytes| repeated(r#"["push",["pipeline",0,["slow"],[""#, "x", "\"]]]", bytes),
    },
    Held {
        name: "arguments, empty lists",
        once: &[],
        message: |bytes| repeated(r#"["push",["pipeline",0,["slow"],[[["#, "[[]],", "1]]]]]", bytes / 3),
    },
    Held {
        name: "arguments, numbers",
        once: &[],
        message: |bytes| repeated(r#"["push",["pipeline",0,["slow"],[[["#, "0,", "1]]]]]", bytes / 5),
    },
    Held {
        name: "arguments, small objects",
        once: &[],
        message: |bytes| repeated(r#"["push",["pipeline",0,["slow"],[[["#, r#"{"":0},"#, "1]]]]]", bytes / 3),
    },
    Held {
        name: "arguments, lists of one element",
        once: &[],
        message: |bytes| repeated(r#"["push",["pipeline",0,["slow"],[[["#, "[[0]],", "1]]]]]", bytes / 3),
    },
    Held { name: "results that are kept", once: &[], message: |bytes| repeated("[\"push\",\"", "x", "\"]", bytes) },
    Held {
        name: "references in results",
        once: &[],
        message: |bytes| repeated("[\"push\",[[1", r#",["import",0]"#, "]]]", bytes / 5),
    },
    Held {
        name: "parts that are waited for",
        once: &[SLOW],
        message: |bytes| repeated(r#"["push",["pipeline",0,["f"],[1"#, r#",["pipeline",1]"#, "]]]", bytes / 5),
    },
    Held { name: "calls that wait", once: &[SLOW], message: |_| r#"["push",["pipeline",1,["f"],[]]]"#.to_owned() },
    Held { name: "calls that run", once: &[], message: |_| r#"["push",["pipeline",0,["slow"],[]]]"#.to_owned() },
];

/// Sends a row of memory. Whether it stays within the bounds.
fn hold(row: &Held, limits: &Limits, most: usize) -> bool {
    let message = (row.message)(limits.message_bytes / 2);
    let (mut sent, mut counted, mut ended) = (0, 0, false);
    let allocated = measure(|| {
        let mut server = Server::new(limits.clone());
        row.once.iter().for_each(|text| server.send(text));
        while server.sent < most && !server.session.is_closed() {
            server.send(&message);
            counted = counted.max(server.session.held_bytes());
        }
        (sent, ended) = (server.sent, server.session.is_closed());
    });
    let peak = usize::try_from(allocated.bytes_max).unwrap_or_default();
    // Tables are bounded by their entries.
    let bound = limits.held_bytes + 400 * limits.table_entries;
    println!(
        "{:34} {:>8.1} {:>8.1} {:>9.1} {:>9.2} {:>7.2}  {}",
        row.name,
        sent as f64 / MIB as f64,
        counted as f64 / MIB as f64,
        peak as f64 / MIB as f64,
        peak as f64 / bound as f64,
        peak as f64 / sent as f64,
        if ended { "aborted" } else { "rejected" },
    );
    peak as f64 <= HELD_MAX * bound as f64
}

/// A message whose time is measured, after others.
struct Timed {
    name: &'static str,
    /// What is sent before, and the message, for a value of so many bytes.
    messages: fn(usize) -> (Vec<String>, String),
}

fn large_object(bytes: usize) -> String {
    let mut text = String::from("[\"push\",{");
    let mut n = 0;
    while text.len() < bytes {
        let _ = write!(text, "\"member{n}\":[[{n},\"text\"]],");
        n += 1;
    }
    text + "\"z\":7}]"
}

const TIMED: &[Timed] = &[
    Timed { name: "a large message alone", messages: |bytes| (Vec::new(), large_object(bytes)) },
    Timed {
        name: "a map that looks up 300 times",
        messages: |bytes| {
            let list = format!("[\"push\",[[{}]]]", vec!["1"; 300].join(","));
            let map = r#"["push",["remap",2,[],[["import",1]],[["pipeline",-1,["z"]]]]]"#;
            (vec![large_object(bytes), list], map.to_owned())
        },
    },
    Timed {
        name: "300 look-ups in a message",
        messages: |bytes| {
            let look_ups = vec![r#"["pipeline",1,["z"]]"#; 300].join(",");
            (vec![large_object(bytes)], format!("[\"push\",[[{look_ups}]]]"))
        },
    },
    Timed {
        name: "10 look-ups, 60 levels deep",
        messages: |bytes| {
            let value = large_object(bytes);
            let value = value["[\"push\",".len()..value.len() - 1].to_owned();
            let deep = format!("[\"push\",{}{value}{}]", "{\"a\":".repeat(60), "}".repeat(60));
            let path = vec!["\"a\""; 60].join(",");
            let look_ups = vec![format!(r#"["pipeline",1,[{path},"z"]]"#); 10].join(",");
            (vec![deep], format!("[\"push\",[[{look_ups}]]]"))
        },
    },
    Timed {
        name: "65,000 look-ups in 15 KiB",
        messages: |bytes| {
            let look_ups = vec![r#"["pipeline",1,["z"]]"#; 65_000.min(bytes / 20)].join(",");
            (vec![large_object(15 << 10)], format!("[\"push\",[[{look_ups}]]]"))
        },
    },
    Timed {
        name: "a large part, copied per element",
        messages: |bytes| {
            let list = format!("[\"push\",[[{}]]]", vec!["1"; 10_000].join(","));
            let value = format!("[\"push\",{{\"z\":\"{}\"}}]", "x".repeat(bytes));
            let map = r#"["push",["remap",1,[],[["import",2]],[["pipeline",-1,["z"]],1]]]"#;
            (vec![list, value], map.to_owned())
        },
    },
    Timed {
        name: "239 promises beside a large value",
        messages: |bytes| {
            let mut before = vec![format!("[\"push\",\"{}\"]", "x".repeat(bytes)), "[\"push\",1]".to_owned()];
            before.extend((2..240).map(|n| format!(r#"["push",[[["pipeline",{n}]]]]"#)));
            (before, r#"["push",["pipeline",0,["now"],[["pipeline",1],["pipeline",240]]]]"#.to_owned())
        },
    },
    Timed {
        name: "a chain of 60,000 promises",
        messages: |_| {
            let mut before = vec!["[\"push\",7]".to_owned()];
            before.extend((1..=60_000).map(|n| format!(r#"["push",["promise",-{n}]]"#)));
            before.extend((1..=60_000).rev().map(|n| {
                let to = if n == 60_000 { 1 } else { n + 2 };
                format!(r#"["resolve",-{n},["pipeline",{to}]]"#)
            }));
            (before, "[\"pull\",2]".to_owned())
        },
    },
    Timed {
        name: "400 maps beside each other",
        messages: |_| {
            let list = format!("[\"push\",[[{}]]]", vec!["1"; 10_000].join(","));
            let inner = vec![r#"["remap",-1,[],[],[1,1,1,1,1,1,1,1,1]]"#; 400].join(",");
            (vec![list], format!(r#"["push",["remap",1,[],[["import",1]],[[[{inner}]]]]]"#))
        },
    },
    Timed {
        name: "100,000 instructions of a map",
        messages: |_| {
            let list = format!("[\"push\",[[{}]]]", vec!["1"; 10_000].join(","));
            (vec![list], r#"["push",["remap",1,[],[],[1,2,3,4,5,6,7,8,9,10]]]"#.to_owned())
        },
    },
    Timed {
        name: "a repeated name at 250 levels",
        messages: |bytes| {
            let (head, tail) = (r#"{"a":0,"a":"#.repeat(250), "}".repeat(250));
            (Vec::new(), format!("[\"push\",{head}\"{}\"{tail}]", "x".repeat(bytes)))
        },
    },
];

fn time(row: &Timed, limits: &Limits, bytes: usize) -> bool {
    let (before, message) = (row.messages)(bytes);
    let mut server = Server::new(limits.clone());
    before.iter().for_each(|text| server.send(text));
    let began = Instant::now();
    server.send(&message);
    let took = began.elapsed();
    println!(
        "{:34} {:>9} {:>9.2} {:>11.1}",
        row.name,
        message.len(),
        took.as_secs_f64() * 1e3,
        took.as_secs_f64() * 1e9 / message.len() as f64,
    );
    took <= TIME_MAX
}

fn main() -> ExitCode {
    let is_measured = std::env::args().any(|arg| arg == "--bench");
    let mut within = true;
    for (name, limits) in [("Limits::default()", Limits::default()), ("Limits::public()", Limits::public())] {
        let most = if is_measured { 400 * MIB } else { MIB };
        println!(
            "{name}: bytes held\n{:34} {:>8} {:>8} {:>9} {:>9} {:>7}",
            "", "sent", "counted", "allocated", "of bound", "a byte"
        );
        for row in HELD {
            let mut limits = limits.clone();
            if !is_measured {
                limits.message_bytes /= 100;
            }
            within &= hold(row, &limits, most);
        }
        println!("{name}: time of one message\n{:34} {:>9} {:>9} {:>11}", "", "bytes", "ms", "ns a byte");
        let bytes = if is_measured { limits.message_bytes / 8 * 7 } else { 20_000 };
        for row in TIMED {
            let is_fast = time(row, &limits, bytes);
            within &= is_fast || !is_measured;
        }
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
