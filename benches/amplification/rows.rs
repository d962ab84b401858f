//! The messages of a hostile peer that cost the other side most: what is held for it, and what takes time.

use std::fmt::Write as _;

use bowline::{Limits, Value};
use bowline_core::session::{Delivery, Output, Session};
use bowline_core::value::{Payload, decode_args};

/// A session, and an application whose methods decode their arguments and never return.
pub(crate) struct Server {
    pub(crate) session: Session,
    running: Vec<(Delivery, Option<(Value,)>)>,
    pub(crate) sent: usize,
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { session: Session::new(limits, true), running: Vec::new(), sent: 0 }
    }

    pub(crate) fn send(&mut self, text: &str) {
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
            let decoded = args.and_then(|args| decode_args::<(Value,)>(Payload::plain(args.text())).ok());
            self.running.push((delivery, decoded));
        }
        while self.session.poll_transmit().is_some() {}
    }
}

/// What is sent again and again, after something that is sent once.
pub(crate) struct Held {
    pub(crate) name: &'static str,
    pub(crate) once: &'static [&'static str],
    /// Of so many bytes.
    pub(crate) message: fn(usize) -> String,
}

fn repeated(head: &str, unit: &str, tail: &str, bytes: usize) -> String {
    format!("{head}{}{tail}", unit.repeat(bytes / unit.len()))
}

const SLOW: &str = r#"["push",["pipeline",0,["slow"],[]]]"#;

pub(crate) const HELD: &[Held] = &[
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

/// A message whose time is measured, after others.
pub(crate) struct Timed {
    pub(crate) name: &'static str,
    /// What is sent before, and the message, for a value of so many bytes.
    pub(crate) messages: fn(usize) -> (Vec<String>, String),
    /// Whether those before are repeated, too, when the message is.
    pub(crate) repeats_all: bool,
}

fn large_object(bytes: usize) -> String {
    let mut text = String::from("[\"push\",{");
    let mut n = 0;
    while text.len() < bytes {
        let _ = write!(text, "\"member{n}\":[[{n},\"some twenty characters\"]],");
        n += 1;
    }
    text + "\"z\":7}]"
}

pub(crate) const TIMED: &[Timed] = &[
    Timed { name: "a large message alone", messages: |bytes| (Vec::new(), large_object(bytes)), repeats_all: false },
    Timed {
        name: "a large value and its first look-up",
        messages: |bytes| (vec![large_object(bytes)], r#"["push",["pipeline",1,["z"]]]"#.to_owned()),
        repeats_all: true,
    },
    Timed {
        name: "a map that looks up 300 times",
        messages: |bytes| {
            let list = format!("[\"push\",[[{}]]]", vec!["1"; 300].join(","));
            let map = r#"["push",["remap",2,[],[["import",1]],[["pipeline",-1,["z"]]]]]"#;
            (vec![large_object(bytes), list], map.to_owned())
        },
        repeats_all: false,
    },
    Timed {
        name: "300 look-ups in a message",
        messages: |bytes| {
            let look_ups = vec![r#"["pipeline",1,["z"]]"#; 300].join(",");
            (vec![large_object(bytes)], format!("[\"push\",[[{look_ups}]]]"))
        },
        repeats_all: false,
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
        repeats_all: false,
    },
    Timed {
        name: "65,000 look-ups in 15 KiB",
        messages: |bytes| {
            let look_ups = vec![r#"["pipeline",1,["z"]]"#; 65_000.min(bytes / 20)].join(",");
            (vec![large_object(15 << 10)], format!("[\"push\",[[{look_ups}]]]"))
        },
        repeats_all: false,
    },
    Timed {
        name: "a large part, copied per element",
        messages: |bytes| {
            let list = format!("[\"push\",[[{}]]]", vec!["1"; 10_000].join(","));
            let value = format!("[\"push\",{{\"z\":\"{}\"}}]", "x".repeat(bytes));
            let map = r#"["push",["remap",1,[],[["import",2]],[["pipeline",-1,["z"]],1]]]"#;
            (vec![list, value], map.to_owned())
        },
        repeats_all: false,
    },
    Timed {
        name: "239 promises beside a large value",
        messages: |bytes| {
            let mut before = vec![format!("[\"push\",\"{}\"]", "x".repeat(bytes)), "[\"push\",1]".to_owned()];
            before.extend((2..240).map(|n| format!(r#"["push",[[["pipeline",{n}]]]]"#)));
            (before, r#"["push",["pipeline",0,["now"],[["pipeline",1],["pipeline",240]]]]"#.to_owned())
        },
        repeats_all: false,
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
        repeats_all: false,
    },
    Timed {
        name: "400 maps beside each other",
        messages: |_| {
            let list = format!("[\"push\",[[{}]]]", vec!["1"; 10_000].join(","));
            let inner = vec![r#"["remap",-1,[],[],[1,1,1,1,1,1,1,1,1]]"#; 400].join(",");
            (vec![list], format!(r#"["push",["remap",1,[],[["import",1]],[[[{inner}]]]]]"#))
        },
        repeats_all: false,
    },
    Timed {
        name: "100,000 instructions of a map",
        messages: |_| {
            let list = format!("[\"push\",[[{}]]]", vec!["1"; 10_000].join(","));
            (vec![list], r#"["push",["remap",1,[],[],[1,2,3,4,5,6,7,8,9,10]]]"#.to_owned())
        },
        repeats_all: false,
    },
    Timed {
        name: "a repeated name at 250 levels",
        messages: |bytes| {
            let (head, tail) = (r#"{"a":0,"a":"#.repeat(250), "}".repeat(250));
            (Vec::new(), format!("[\"push\",{head}\"{}\"{tail}]", "x".repeat(bytes)))
        },
        repeats_all: false,
    },
];
