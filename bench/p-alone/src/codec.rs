//! Encoding and decoding of data and whole calls, without a connection.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use bowline::Limits;
use bowline_core::session::{Output, Session};
use bowline_core::value::{Payload, decode, decode_args, encode};
use common::{Out, PUSH_MSG};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::nanoseconds;

/// About 1 KB of JSON, the same as in js/alone.mjs.
#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    paid: bool,
    total: f64,
    lines: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
    price: f64,
}

fn order() -> Order {
    let line = |n: u32| Line { sku: format!("sku-{n:08}"), quantity: n + 1, price: f64::from(n) + 0.25 };
    Order {
        id: 4711,
        customer: "A customer of some standing".to_owned(),
        paid: true,
        total: 1234.5,
        lines: (0..18).map(line).collect(),
    }
}

fn string() -> String {
    "The quick brown fox jumps over the lazy dog. ".chars().cycle().take(64 << 10).collect()
}

pub fn measure(out: &Out, seconds: Duration) {
    let of_bowline = out.kind != "serde-json";
    let line = |param: &str, nanoseconds: f64| out.line(param, &[("ns", nanoseconds), ("rate", 1e9 / nanoseconds)]);
    let arguments =
        if of_bowline { nanoseconds(seconds, read_and_write_arguments) } else { nanoseconds(seconds, json_arguments) };
    line("arguments", arguments);
    line("call", if of_bowline { calls(seconds) } else { nanoseconds(seconds, json_call) });
    line("object-1k", data(of_bowline, seconds, &order()));
    line("string-64k", data(of_bowline, seconds, &string()));
}

/// Decodes the arguments of a small call and encodes its reply.
fn read_and_write_arguments() {
    let (a, b): (i64, i64) = decode_args(Payload::plain(black_box("[1,2]"))).expect("two numbers");
    black_box(encode(&(a + b)).expect("a number can be written"));
}

fn json_arguments() {
    let (a, b): (i64, i64) = serde_json::from_str(black_box("[1,2]")).expect("two numbers");
    black_box(serde_json::to_string(&(a + b)).expect("a number can be written"));
}

/// Feeds the three messages of a small call to a complete session, which writes the reply.
fn calls(seconds: Duration) -> f64 {
    let mut session = Session::new(Limits::default(), true);
    let mut number = 0_u64;
    let mut text = String::new();
    nanoseconds(seconds, || {
        number += 1;
        session.handle_message(black_box(PUSH_MSG));
        text.clear();
        write!(text, "[\"pull\",{number}]").expect("a string takes what it is given");
        session.handle_message(&text);
        while let Some(output) = session.poll_output() {
            let Output::Deliver(delivery) = output else { continue };
            let arguments = delivery.args.expect("it is a call").into_text();
            let (a, b): (i64, i64) = decode_args(Payload::plain(arguments)).expect("two numbers");
            let answer = encode(&(a + b)).expect("a number can be written");
            session.settle(delivery.call, Ok(Payload::plain(answer.into_text())));
        }
        assert!(black_box(session.poll_transmit()).is_some_and(|answer| answer.ends_with(",3]")));
        text.clear();
        write!(text, "[\"release\",{number},1]").expect("a string takes what it is given");
        session.handle_message(&text);
    })
}

/// Decodes the call's message and encodes its reply in a fixed shape, without a session. No implementation can do
/// less.
fn json_call() {
    type Push<'a> = (&'a str, (&'a str, u32, (&'a str,), (i64, i64)));
    let (_push, (_pipeline, _target, _path, (a, b))): Push<'_> =
        serde_json::from_str(black_box(PUSH_MSG)).expect("a push");
    black_box(serde_json::to_string(&("resolve", 1, a + b)).expect("an answer can be written"));
}

/// Decodes a value and encodes it again.
fn data<T: Serialize + DeserializeOwned>(of_bowline: bool, seconds: Duration, value: &T) -> f64 {
    if of_bowline {
        let text = encode(value).expect("it can be written").into_text();
        nanoseconds(seconds, || {
            let read: T = decode(Payload::plain(black_box(&*text))).expect("it was written as one");
            black_box(encode(&read).expect("it can be written"));
        })
    } else {
        let text = serde_json::to_string(value).expect("it can be written");
        nanoseconds(seconds, || {
            let read: T = serde_json::from_str(black_box(&text)).expect("it was written as one");
            black_box(serde_json::to_string(&read).expect("it can be written"));
        })
    }
}
