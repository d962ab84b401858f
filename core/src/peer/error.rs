//! How a call fails, sorted by who can do something about it, and what makes a type an error
//! that can cross the wire.

use std::fmt;

use crate::error::ErrorCode;
use crate::peer::object::rejection;
use crate::session::{Closed, ClosedBy};
use crate::value::{self, Cap, DecodeError, EncodeError, ErrorKind, ErrorValue, Object, Payload, Value};

/// An error type that can cross the wire; see `#[derive(RpcError)]`.
pub trait RpcError: Send + 'static {
    /// What the peer gets to see.
    fn to_value(&self) -> Value;

    /// The error again, `None` when the value is some other error.
    fn from_value(value: &Value) -> Option<Self>
    where
        Self: Sized;

    /// What it can be, as far as that is known, for descriptions of interfaces.
    fn cases() -> &'static [ErrorCase]
    where
        Self: Sized,
    {
        &[]
    }
}

/// One of the errors that an error type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCase {
    /// The name on the wire.
    pub name: &'static str,
    /// The message, with `{…}` for what varies; empty if it is not known.
    pub message: &'static str,
    /// The properties: names, and types as TypeScript or, for those that it has not, Rust calls
    /// them.
    pub props: &'static [(&'static str, &'static str)],
}

/// As documentation shows it: `NoUser {id: number} there is no {id}`.
impl fmt::Display for ErrorCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        for (at, (name, ty)) in self.props.iter().enumerate() {
            write!(f, "{}{name}: {ty}", if at == 0 { " {" } else { ", " })?;
        }
        if !self.props.is_empty() {
            f.write_str("}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, " — {}", self.message) }
    }
}

/// The error of a method that declares none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

impl RpcError for Never {
    fn to_value(&self) -> Value {
        match *self {}
    }

    fn from_value(_: &Value) -> Option<Self> {
        None
    }
}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

/// Any value as an error: JavaScript can throw strings.
#[derive(Clone, Debug, PartialEq)]
pub struct Thrown(pub Value);

impl RpcError for Thrown {
    fn to_value(&self) -> Value {
        self.0.clone()
    }

    fn from_value(value: &Value) -> Option<Self> {
        Some(Self(value.clone()))
    }
}

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(&self.0, f)
    }
}

impl std::error::Error for Thrown {}

/// A method that calls others, and fails as they do, declares `Thrown` and uses `?`.
impl<E: RpcError> From<CallError<E>> for Thrown {
    fn from(error: CallError<E>) -> Self {
        Self(error.to_value())
    }
}

impl From<ErrorValue> for Thrown {
    fn from(error: ErrorValue) -> Self {
        Self(error.into())
    }
}

impl RpcError for ErrorValue {
    fn to_value(&self) -> Value {
        Value::Error(Box::new(self.clone()))
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Error(error) => Some((**error).clone()),
            _ => None,
        }
    }
}

/// Why a call gave no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<E = Never> {
    /// The method failed with an error it declares.
    App(E),
    /// The method, or a call that this one was chained to, failed with some other error.
    Remote(RemoteError),
    /// The session ended, or the caller's patience did.
    Session(SessionError),
    /// The arguments could not be written, or the result is not of the expected type.
    Codec(CodecError),
}

impl<E: RpcError> CallError<E> {
    pub(crate) fn from_rejection(payload: Payload<Cap>) -> Self {
        match value::decode::<Value>(payload) {
            Ok(value) => match E::from_value(&value) {
                Some(error) => Self::App(error),
                None => Self::Remote(RemoteError::new(value)),
            },
            Err(error) => Self::Codec(CodecError::Decode(error)),
        }
    }
}

impl<E: RpcError> CallError<E> {
    /// The code of what went wrong, if it is one of Bowline's: what became of the session, the
    /// link, or an object that was to be restored. JavaScript peers read it as `error.code`.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::App(error) => code_of(&error.to_value()),
            Self::Remote(error) => error.code(),
            Self::Session(SessionError::Closed(closed)) => closed_code(closed),
            Self::Codec(CodecError::Encode(_)) => Some(ErrorCode::InvalidParams),
            Self::Session(SessionError::TimedOut) | Self::Codec(CodecError::Decode(_)) => None,
        }
    }
}

impl<E> CallError<E> {
    /// The error that the peer sent, when it is not of the declared type.
    pub fn remote(&self) -> Option<&RemoteError> {
        match self {
            Self::Remote(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the session ended before the answer came.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Session(SessionError::Closed(_)))
    }
}

impl<E: RpcError> RpcError for CallError<E> {
    fn cases() -> &'static [ErrorCase] {
        E::cases()
    }

    /// Passes on what a call of ours failed with, as proxies do.
    fn to_value(&self) -> Value {
        match self {
            Self::App(error) => error.to_value(),
            Self::Remote(error) => error.value().clone(),
            Self::Session(SessionError::Closed(closed)) => closed_value(closed),
            Self::Session(error) => error_value("Error", error.to_string()),
            Self::Codec(error) => error_value("TypeError", error.to_string()),
        }
    }

    fn from_value(value: &Value) -> Option<Self> {
        Some(match E::from_value(value) {
            Some(error) => Self::App(error),
            None => Self::Remote(RemoteError::new(value.clone())),
        })
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(error) => error.fmt(f),
            Self::Remote(error) => error.fmt(f),
            Self::Session(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for CallError<E> {}

/// An error of the peer's that the method does not declare.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteError(Box<Value>);

impl RemoteError {
    pub(crate) fn new(value: Value) -> Self {
        Self(Box::new(value))
    }

    /// What the peer threw.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Its class, such as `TypeError`; `Error` when the peer threw something else.
    pub fn name(&self) -> &str {
        match &*self.0 {
            Value::Error(error) => &error.name,
            _ => "Error",
        }
    }

    /// Which of JavaScript's classes it is, if any; `None` also when the peer threw something else.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.0.as_error()?.kind()
    }

    /// Its message; a thrown string is its own message.
    pub fn message(&self) -> &str {
        match &*self.0 {
            Value::Error(error) => &error.message,
            Value::String(text) => text,
            _ => "",
        }
    }

    /// Its code, if that is one of Bowline's; see [`CallError::code`].
    pub fn code(&self) -> Option<ErrorCode> {
        code_of(&self.0)
    }

    /// Its further properties.
    pub fn props(&self) -> Option<&Object> {
        match &*self.0 {
            Value::Error(error) => Some(&error.props),
            _ => None,
        }
    }

    /// The error as a declared type: that of an earlier call of a chain, most often.
    pub fn downcast<E: RpcError>(&self) -> Option<E> {
        E::from_value(&self.0)
    }
}

impl RpcError for RemoteError {
    fn to_value(&self) -> Value {
        self.value().clone()
    }

    fn from_value(value: &Value) -> Option<Self> {
        Some(Self::new(value.clone()))
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(&self.0, f)
    }
}

impl std::error::Error for RemoteError {}

/// The session could not carry a call to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The session is over. Whether a call in flight was carried out is unknown.
    Closed(Closed),
    /// The caller's own deadline passed.
    TimedOut,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => f.write_str(&closed.message),
            Self::TimedOut => f.write_str("The call timed out."),
        }
    }
}

impl std::error::Error for SessionError {}

/// A value and a type do not go together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// An argument has no form on the wire.
    Encode(EncodeError),
    /// The result is not of the expected type.
    Decode(DecodeError),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::Decode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CodecError {}

/// A `TypeError` with this message.
pub(crate) fn type_error(message: String) -> ErrorValue {
    named("TypeError", message)
}

/// What the end of a session looks like to somebody who waits for a value.
pub(crate) fn closed_payload(closed: &Closed) -> Payload<Cap> {
    rejection(&closed_value(closed))
}

/// The code is in `error.code`, if there is one.
fn closed_value(closed: &Closed) -> Value {
    let mut error = named(&closed.name, closed.message.clone());
    if let Some(code) = closed_code(closed) {
        error.props.insert("code", Value::String(code.to_string()));
    }
    error.into()
}

/// Returns the code of a session's end. A session that ended with its transport has one even if
/// nothing more is known.
fn closed_code(closed: &Closed) -> Option<ErrorCode> {
    let gone = (closed.by == ClosedBy::Transport).then_some(ErrorCode::AgentDisconnected);
    ErrorCode::known(&closed.name).or(gone)
}

fn code_of(value: &Value) -> Option<ErrorCode> {
    match value.as_error()?.props.get("code")? {
        Value::String(code) => ErrorCode::known(code),
        _ => None,
    }
}

fn error_value(name: &str, message: String) -> Value {
    Value::Error(Box::new(named(name, message)))
}

fn named(name: &str, message: String) -> ErrorValue {
    ErrorValue { name: name.to_owned(), message, stack: None, props: Object::default() }
}

fn describe(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Error(error) => fmt::Display::fmt(error, f),
        Value::String(text) => f.write_str(text),
        other => write!(f, "{other:?}"),
    }
}
