//! The errors of a call, sorted by who can act on them, and the trait of errors that can cross the
//! wire. The codes are in `crate::error`.

use std::fmt;

use crate::error::ErrorCode;
use crate::peer::interface::object::{error_payload, rejection};
use crate::session::{CloseReason, ClosedBy};
use crate::value::{self, Cap, DecodeError, EncodeError, ErrorKind, ErrorValue, Object, Payload, Value};

/// An error type that can cross the wire. `#[derive(RpcError)]` implements it.
pub trait RpcError: Send + 'static {
    /// Returns the value that the peer receives.
    fn to_value(&self) -> Value;

    /// Returns the error that `value` represents, or `None` if it is a different error.
    fn from_value(value: &Value) -> Option<Self>
    where
        Self: Sized;

    /// Returns the known cases of the error, for descriptions of interfaces, or `None` if it can be any error.
    fn description() -> Option<ErrorDescription>
    where
        Self: Sized,
    {
        None
    }
}

/// What callers can know of an error type before they see an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorDescription {
    /// The name of the type.
    pub name: &'static str,
    /// The cases, which differ in their codes.
    pub cases: &'static [ErrorCase],
}

/// One case of an error type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCase {
    /// The property `code` on the wire, by which callers distinguish the cases.
    pub code: &'static str,
    /// The name on the wire.
    pub name: &'static str,
    /// The message, with `{…}` for the variable parts. Empty if it is not known.
    pub message: &'static str,
    /// The properties: their names and types. A type is written in TypeScript, or in Rust where
    /// TypeScript has no name for it.
    pub props: &'static [(&'static str, &'static str)],
}

/// Writes the case as documentation shows it: `NoUser {id: number} — there is no {id}`.
impl fmt::Display for ErrorCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)?;
        for (at, (name, ty)) in self.props.iter().enumerate() {
            write!(f, "{}{name}: {ty}", if at == 0 { " {" } else { ", " })?;
        }
        if !self.props.is_empty() {
            f.write_str("}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, " — {}", self.message) }
    }
}

/// The error type of a method that cannot fail.
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

/// Any value as an error. JavaScript can throw values that are not errors.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::Thrown; pub mod error { pub use bowline_core::value::ErrorValue; } }
/// use bowline::error::ErrorValue;
/// use bowline::Thrown;
///
/// fn parse(text: &str) -> Result<u32, Thrown> {
///     text.parse().map_err(|_| Thrown::from(ErrorValue::new("RangeError", format!("{text:?} is not a number"))))
/// }
/// assert_eq!(parse("x").unwrap_err().to_string(), r#"RangeError: "x" is not a number"#);
/// ```
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

impl std::error::Error for Thrown {
    /// Returns the `cause` of the value, if both are errors.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_error()?.source()
    }
}

/// Allows `?` in a method that calls others and declares [`Thrown`] as its error.
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

/// The reason that a call has no result.
///
/// ```
/// # mod bowline { pub use bowline_core::error::ErrorCode; pub use bowline_core::peer::CallError; pub mod error { pub use bowline_core::peer::SessionError; } }
/// use bowline::error::SessionError;
/// use bowline::{CallError, ErrorCode};
///
/// fn advice(error: &CallError) -> &'static str {
///     match error {
///         CallError::Session(SessionError::TimedOut) => "try again later",
///         CallError::Session(_) => "connect again",
///         error if error.code() == Some(ErrorCode::CallOutcomeUnknown) => "check what was done",
///         CallError::Remote(_) => "the server failed",
///         _ => "report a bug",
///     }
/// }
/// # assert_eq!(advice(&CallError::Session(SessionError::TimedOut)), "try again later");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<E = Never> {
    /// The method failed with an error of its declared type.
    App(E),
    /// The method, or a call that this one is chained to, failed with another error.
    Remote(RemoteError),
    /// The session ended, or the call timed out.
    Session(SessionError),
    /// The arguments cannot be encoded, or the result is not of the expected type.
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
    /// Returns the code of the error, if it is one of Bowline's, such as the reason that the session or
    /// an object was lost. JavaScript peers read it as `error.code`.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::App(error) => code_of(&error.to_value()),
            Self::Remote(error) => error.code(),
            Self::Session(SessionError::Closed(closed)) => closed.code(),
            Self::Codec(CodecError::Encode(_)) => Some(ErrorCode::InvalidParams),
            Self::Session(SessionError::TimedOut) | Self::Codec(CodecError::Decode(_)) => None,
        }
    }
}

impl<E> CallError<E> {
    /// Returns the error that the peer sent, if it is not of the declared type.
    pub fn remote(&self) -> Option<&RemoteError> {
        match self {
            Self::Remote(error) => Some(error),
            _ => None,
        }
    }

    /// Returns `true` if the session ended before the answer arrived.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Session(SessionError::Closed(_)))
    }
}

impl<E: RpcError> RpcError for CallError<E> {
    fn description() -> Option<ErrorDescription> {
        E::description()
    }

    /// Returns the value with which to forward the failure, as a proxy does.
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

/// `CallError` adds nothing to the error that it contains, so the cause is that of the contained error.
impl<E: std::error::Error> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::App(error) => error.source(),
            Self::Remote(error) => error.source(),
            Self::Session(error) => error.source(),
            Self::Codec(error) => error.source(),
        }
    }
}

/// An error from the peer that is not of the declared type.
///
/// ```
/// # mod bowline { pub mod error { pub use bowline_core::peer::RemoteError; } }
/// use bowline::error::RemoteError;
///
/// fn describe(error: &RemoteError) -> String {
///     let retry = error.props().and_then(|props| props.get("retryAfter")?.as_f64());
///     match retry {
///         Some(seconds) => format!("{}, try again in {seconds} s", error.message()),
///         None => error.to_string(),
///     }
/// }
/// # let _ = describe;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteError(Box<Value>);

impl RemoteError {
    pub(crate) fn new(value: Value) -> Self {
        Self(Box::new(value))
    }

    /// Returns the value that the peer threw.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Returns the class of the error, such as `TypeError`, or `Error` if the peer threw another value.
    pub fn name(&self) -> &str {
        match &*self.0 {
            Value::Error(error) => &error.name,
            _ => "Error",
        }
    }

    /// Returns the JavaScript class of the error, or `None` if it is of no such class or is not an error.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.0.as_error()?.kind()
    }

    /// Returns the message. A thrown string is its own message.
    pub fn message(&self) -> &str {
        match &*self.0 {
            Value::Error(error) => &error.message,
            Value::String(text) => text,
            _ => "",
        }
    }

    /// Returns the code, if it is one of Bowline's; see [`CallError::code`].
    pub fn code(&self) -> Option<ErrorCode> {
        code_of(&self.0)
    }

    /// Returns the properties of the error other than its name, message, and stack.
    pub fn props(&self) -> Option<&Object> {
        match &*self.0 {
            Value::Error(error) => Some(&error.props),
            _ => None,
        }
    }

    /// Converts the error into a declared type, most often that of an earlier call in the chain.
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

impl std::error::Error for RemoteError {
    /// Returns the `cause` of the error, if it is an error.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_error()?.source()
    }
}

/// The reason that a session could not complete a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The session ended. A call in flight may or may not have run.
    Closed(CloseReason),
    /// The caller's timeout elapsed.
    TimedOut,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => reason.fmt(f),
            Self::TimedOut => f.write_str("the call timed out"),
        }
    }
}

impl std::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed(reason) => reason.source(),
            Self::TimedOut => None,
        }
    }
}

/// A value that does not fit its type.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// An argument cannot be encoded.
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

impl std::error::Error for CodecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode(error) => error.source(),
            Self::Decode(error) => error.source(),
        }
    }
}

/// Creates a `TypeError` with this message.
pub(crate) fn type_error(message: String) -> ErrorValue {
    named("TypeError", message)
}

/// Returns the error of a call while the retransmit buffer is full.
pub(crate) fn overflow() -> CloseReason {
    let message = "the retransmit buffer is full while there is no connection";
    CloseReason::with_code(ClosedBy::Transport, ErrorCode::BufferOverflow, message)
}

/// Returns the rejection of a call that panicked.
pub(crate) fn internal_error<R>() -> Payload<R> {
    error_payload("Error", "internal error")
}

/// Returns the rejection of a call that its runtime has dropped.
pub(crate) fn runtime_is_gone<R>() -> Payload<R> {
    error_payload("Error", "the async runtime of this call has shut down")
}

/// Returns the rejection of a call on an object that was dropped.
pub(crate) fn object_is_gone<R>() -> Payload<R> {
    error_payload("Error", "The object no longer exists.")
}

/// Returns the rejection of a promise whose session ended.
pub(crate) fn closed_payload(closed: &CloseReason) -> Payload<Cap> {
    rejection(&closed_value(closed))
}

/// Returns the end of a session as an error value, with the code, if any, in `error.code`.
fn closed_value(closed: &CloseReason) -> Value {
    let mut error = named(closed.cause.name(), closed.message.clone());
    if let Some(code) = closed.code() {
        error.props.insert("code", Value::String(code.to_string()));
    }
    error.into()
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
