//! A conformance test client that exercises every feature of a session, step by step, and prints the
//! result of each step as a line of JSON: `interop_client URL HOSTILE_URL`.
//!
//! URL is a server of the interop interface (`examples/interop`); HOSTILE_URL is a server that sends
//! invalid messages. Each area of steps has a module.

#[path = "../interop/contract.rs"]
mod contract;
#[path = "../interop/counter.rs"]
mod counter;
#[path = "../interop/data.rs"]
mod data;
#[path = "../interop/describe.rs"]
mod describe;

mod calls;
mod capabilities;
mod disposal;
mod errors;
mod kit;
mod maps;
mod pipelining;
mod sessions;
mod steps;
mod streams;
mod values;

use std::error::Error;
use std::time::Duration;

use bowline::Session;
use clap::Parser;
use contract::InteropRef;
use kit::{Context, Outcome, failure};
use serde_json::json;

/// A step that takes longer than this fails.
const STEP_MAX: Duration = Duration::from_secs(5);

/// Runs the interop steps.
#[derive(Parser)]
struct Options {
    /// A server of the interop interface.
    url: String,
    /// A server that misbehaves in a way that the path selects.
    hostile_url: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let session = Session::builder(&options.url).plain().connect().await?;
    let context = Context { m: session.root(), url: options.url, hostile: options.hostile_url };
    for step in steps::NAMES {
        let (ok, value) = match tokio::time::timeout(STEP_MAX, run(step, &context)).await {
            Ok(Ok(value)) => (true, value),
            Ok(Err(error)) => (false, json!(error.to_string())),
            Err(_elapsed) => (false, json!("the step took too long")),
        };
        println!("{}", json!({ "step": step, "ok": ok, "value": value }));
    }
    session.close().await;
    Ok(())
}

async fn run(step: &'static str, context: &Context) -> Outcome {
    let m: &InteropRef = &context.m;
    m.mark(step).await?;
    let areas: [kit::Area<'_>; 8] = [
        Box::pin(values::run(step, context)),
        Box::pin(errors::run(step, context)),
        Box::pin(calls::run(step, context)),
        Box::pin(pipelining::run(step, context)),
        Box::pin(maps::run(step, context)),
        Box::pin(capabilities::run(step, context)),
        Box::pin(disposal::run(step, context)),
        Box::pin(streams::run(step, context)),
    ];
    for area in areas {
        if let Some(outcome) = area.await {
            return outcome;
        }
    }
    match sessions::run(step, context).await {
        Some(outcome) => outcome,
        None => Err(failure("there is no such step")),
    }
}
