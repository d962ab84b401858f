//! What the public errors have in common: their texts and their causes.

use std::error::Error;
use std::io;
use std::iter;
use std::time::Duration;

use bowline::auth::{Key, Refusal};
use bowline::durable::{KeepError, NotDurable, RestoreError, SturdyError, VarError};
use bowline::error::{
    CodecError, ConnectError, DecodeError, ErrorValue, Never, RemoteError, ServerError, SessionError,
};
use bowline::link::{CloseReason, ClosedBy};
use bowline::{CallError, ErrorCode, RpcError, Value};

fn decode_error() -> DecodeError {
    bowline::value::from_value::<u8>(&Value::String("x".to_owned())).expect_err("a string is not a number")
}

fn remote_error() -> RemoteError {
    let cause = ErrorValue::new("RangeError", "the disk is full");
    RemoteError::from_value(&ErrorValue::new("Error", "cannot save").with_cause(cause).into()).expect("any value")
}

fn draining() -> CloseReason {
    CloseReason::with_code(ClosedBy::Peer, ErrorCode::Draining, "the server is draining")
}

/// The causes of an error, outermost first, beginning with the error itself.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<String> {
    iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

/// One of each kind, with the number of errors in its chain.
fn errors() -> Vec<(Box<dyn Error + Send + Sync>, usize)> {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    vec![
        (Box::new(CallError::App(remote_error())), 2),
        (Box::new(CallError::<Never>::Remote(remote_error())), 2),
        (Box::new(CallError::<Never>::Session(SessionError::Closed(draining()))), 1),
        (Box::new(CallError::<Never>::Codec(CodecError::Decode(decode_error()))), 1),
        (Box::new(remote_error()), 2),
        (Box::new(SessionError::TimedOut), 1),
        (Box::new(draining()), 1),
        (Box::new(decode_error()), 1),
        (Box::new(ConnectError::Unreachable { authority: "example.com:443".to_owned(), source: refused() }), 2),
        (Box::new(ConnectError::NotSaved(refused())), 2),
        (Box::new(ConnectError::TimedOut(Duration::from_secs(1))), 1),
        (Box::new(ConnectError::Rejected { code: ErrorCode::Draining, message: "later".to_owned() }), 1),
        (Box::new(ServerError::Listen { address: "127.0.0.1:1".to_owned(), source: refused() }), 2),
        (Box::new(Refusal::from(http::StatusCode::FORBIDDEN)), 1),
        (Box::new(RestoreError::PermissionDenied), 1),
        (Box::new(VarError::Decode(decode_error())), 2),
        (Box::new(VarError::NotDurable(NotDurable::NoRecipe)), 2),
        (Box::new(VarError::Lost(ErrorCode::RestorerUnknown)), 1),
        (Box::new(SturdyError::NotDurable(NotDurable::TooDeep)), 1),
        (Box::new(SturdyError::Revoked), 1),
        (Box::new(KeepError::TooMany), 1),
        (Box::new(Key::new("", &[7; 32]).expect_err("an empty name")), 1),
    ]
}

/// An error has a text of its own and a cause, or the text and the cause of the error that it contains: a report
/// that walks the chain says everything once.
#[test]
fn chain_of_causes_is_complete_and_repeats_no_text() {
    for (error, length) in errors() {
        let chain = chain(&*error);
        assert_eq!(chain.len(), length, "{chain:?}");
        for (at, text) in chain.iter().enumerate() {
            assert!(!chain[at + 1..].iter().any(|cause| text.contains(cause.as_str())), "{chain:?}");
        }
    }
}

/// Texts of the peer and of the operating system are as they are.
#[test]
fn messages_are_lower_case_and_have_no_full_stop() {
    for (error, _) in errors() {
        let text = error.to_string();
        let is_foreign = text.starts_with("Error: ");
        assert!(is_foreign || !text.starts_with(|first: char| first.is_uppercase()), "{text}");
        assert!(!text.ends_with('.') && !text.is_empty(), "{text}");
    }
}
