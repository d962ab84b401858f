//! What both hosts run: an application that counts.

use bowline_core::endpoint::Endpoint;
use bowline_core::id::WaitId;
use bowline_core::session::{Kind, Outcome, Outgoing, Output, Ref, Step};
use bowline_core::value::Payload;

/// One side's application: calls are numbered, and must arrive in order, once each.
#[derive(Default)]
pub(crate) struct App {
    pub(crate) called: u64,
    pub(crate) delivered: u64,
    pub(crate) answered: u64,
    pub(crate) waiting: Vec<(WaitId, u64, Ref)>,
}

/// Makes the next call.
pub(crate) fn call(endpoint: &mut Endpoint, app: &mut App) {
    app.called += 1;
    let args = Payload { text: format!("[{}]", app.called), refs: Vec::new() };
    let session = &mut endpoint.session;
    let result = session.call(session.main(), &[Step::Name("next".to_owned())], Some(args));
    let wait = session.pull(result, &[]);
    app.waiting.push((wait, app.called, result));
}

/// Does what the session asks for. Every fifth call is answered with an object.
pub(crate) fn react(endpoint: &mut Endpoint, app: &mut App, failed: &mut Option<String>) {
    let session = &mut endpoint.session;
    while let Some(output) = session.poll_output() {
        match output {
            Output::Deliver(delivery) => {
                app.delivered += 1;
                let number = delivery.args.map(|args| args.text).unwrap_or_default();
                if number != format!("[{}]", app.delivered) {
                    *failed = Some(format!("I1, I2: call {} arrives as number {}", number, app.delivered));
                }
                if app.delivered.is_multiple_of(5) {
                    let target = session.new_target(Kind::Object);
                    let of = Ref::Target(target);
                    session.settle(delivery.call, Ok(Payload::hole(Outgoing { of, path: Vec::new() })));
                    session.release(of);
                } else {
                    session.settle(delivery.call, Ok(Payload::plain(app.delivered.to_string())));
                }
            }
            Output::Settled { wait, outcome } => {
                let at = app.waiting.iter().position(|(of, ..)| *of == wait);
                let Some(at) = at else {
                    *failed = Some("I12: a wait ended twice".to_owned());
                    continue;
                };
                let (_, number, result) = app.waiting.remove(at);
                app.answered += 1;
                let Outcome::Resolved(value) = outcome else {
                    *failed = Some(format!("I12: call {number} ended with {outcome:?}"));
                    continue;
                };
                if value.refs.is_empty() && value.text != number.to_string() {
                    *failed = Some(format!("call {number} was answered {}", value.text));
                }
                session.release(result);
                for of in value.refs {
                    session.release(of);
                }
            }
            _ => {}
        }
    }
}
