//! Recording of mapper functions. While the closure runs, calls on placeholders and on outside
//! references become instructions instead of messages.
//!
//! A closure runs on one thread from start to end, so a stack in a thread-local holds the recorder. A
//! nested map pushes another recorder.

use std::cell::RefCell;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::peer::host::wait::Broken;
use crate::peer::interface::object::error_payload;
use crate::peer::reference::stub::{Inner, Stub};
use crate::session::{Kind, Step};
use crate::value::{Cap, Payload};
use crate::wire::push_path;

thread_local! {
    static RECORDERS: RefCell<Vec<Arc<Recorder>>> = const { RefCell::new(Vec::new()) };
}

/// The recorder of one mapper function.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Recording>);

/// A recorded mapper function.
#[derive(Default)]
pub(crate) struct Recording {
    instructions: Vec<String>,
    /// The outside references that it uses. None of them is a property.
    captures: Vec<Stub>,
    /// The first invalid use.
    error: Option<Payload<Cap>>,
}

/// A variable of a mapper function: 0 is its input, and `n` the result of instruction `n`.
pub(crate) struct Placeholder {
    of: Arc<Recorder>,
    variable: i64,
}

/// A guard that pops the recorder when the closure ends, even by a panic.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        let ended = RECORDERS.try_with(|recorders| recorders.borrow_mut().pop());
        drop(ended);
    }
}

/// Returns the recorder of the innermost closure that runs on this thread.
pub(crate) fn current() -> Option<Arc<Recorder>> {
    RECORDERS.try_with(|recorders| recorders.borrow().last().cloned()).ok().flatten()
}

/// Returns the failure of creating an object inside of a mapper function, or `None` outside of one.
pub(crate) fn refuse_new() -> Option<Broken> {
    current()?;
    let message = "Can't construct an RpcTarget or RPC callback inside a mapper function. \
                   Make it before, and use its reference inside.";
    Some(Broken::Rejected(error_payload("Error", message)))
}

/// Returns the failure of using a placeholder outside of its mapper function.
pub(crate) fn misused() -> Broken {
    let message = "Attempted to use an abstract placeholder from a mapper function. \
                   It stands for no value yet: call it, take its properties, or return it.";
    Broken::Rejected(error_payload("Error", message))
}

/// Records `function`. Its result, encoded by `encode`, becomes the last instruction.
pub(crate) fn record<R>(
    function: impl FnOnce(Stub) -> R,
    encode: impl FnOnce(&R) -> Result<Payload<Cap>, Payload<Cap>>,
) -> Result<Recording, Payload<Cap>> {
    let recorder = Arc::new(Recorder::default());
    RECORDERS.with_borrow_mut(|recorders| recorders.push(Arc::clone(&recorder)));
    let running = Running;
    let result = function(recorder.placeholder(0));
    let last = encode(&result)?;
    let mut text = String::new();
    recorder.lock().fill(&recorder, &mut text, &last);
    drop(running);
    let mut recording = std::mem::take(&mut *recorder.lock());
    recording.instructions.push(text);
    match recording.error.take() {
        Some(error) => Err(error),
        None => Ok(recording),
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn placeholder(self: &Arc<Self>, variable: i64) -> Stub {
        Stub::from_inner(Inner::Placeholder(Arc::new(Placeholder { of: Arc::clone(self), variable })))
    }

    /// Records a call on `base`, which is not a property.
    pub(crate) fn call(self: &Arc<Self>, base: &Stub, path: &[Step], args: &Payload<Cap>) -> Stub {
        let mut recording = self.lock();
        let mut text = String::from("[\"pipeline\",");
        let _ = write!(text, "{},", recording.variable(self, base));
        push_path(&mut text, path);
        text.push(',');
        recording.fill(self, &mut text, args);
        text.push(']');
        recording.add(self, text)
    }

    /// Records a map of `base`, which is not a property, by a function that was recorded before.
    pub(crate) fn map(self: &Arc<Self>, base: &Stub, path: &[Step], inner: &Recording) -> Stub {
        let mut recording = self.lock();
        let mut text = String::from("[\"remap\",");
        let _ = write!(text, "{},", recording.variable(self, base));
        push_path(&mut text, path);
        text.push_str(",[");
        for (n, capture) in inner.captures.iter().enumerate() {
            text.push_str(if n > 0 { "," } else { "" });
            let _ = write!(text, "[\"import\",{}]", recording.variable(self, capture));
        }
        let _ = write!(text, "],{}]", inner.instructions());
        recording.add(self, text)
    }
}

impl Recording {
    /// Returns the list of instructions as JSON.
    pub(crate) fn instructions(&self) -> String {
        format!("[{}]", self.instructions.join(","))
    }

    /// Returns the outside references that the function uses.
    pub(crate) fn captures(self) -> Vec<Cap> {
        self.captures.into_iter().map(Stub::into_cap).collect()
    }

    fn add(&mut self, of: &Arc<Recorder>, instruction: String) -> Stub {
        self.instructions.push(instruction);
        of.placeholder(self.instructions.len() as i64)
    }

    /// Returns the number of `base` inside of the function: its variable, or -1 and below for a capture,
    /// which is added if it is new.
    fn variable(&mut self, of: &Arc<Recorder>, base: &Stub) -> i64 {
        match base.inner() {
            Inner::Placeholder(placeholder) if Arc::ptr_eq(&placeholder.of, of) => return placeholder.variable,
            Inner::Placeholder(placeholder) if !placeholder.is_live() => self.misuse(misused()),
            Inner::Broken(broken) => self.misuse((**broken).clone()),
            Inner::Local(local) if local.body.kind() != Kind::Object => {
                let message = "A stream cannot be used inside a mapper function.";
                self.misuse(Broken::Rejected(error_payload("TypeError", message)));
            }
            _ => {}
        }
        let known = self.captures.iter().position(|capture| capture.ptr_eq(base));
        let at = known.unwrap_or_else(|| {
            self.captures.push(base.clone());
            self.captures.len() - 1
        });
        -1 - at as i64
    }

    fn misuse(&mut self, broken: Broken) {
        self.error.get_or_insert_with(|| broken.into_payload());
    }

    /// Appends `payload`, with each capability replaced by an expression for its variable.
    fn fill(&mut self, of: &Arc<Recorder>, out: &mut String, payload: &Payload<Cap>) {
        for (json, cap) in payload.segments() {
            out.push_str(json);
            let Some(cap) = cap else { return };
            let stub = Stub::from_cap(cap);
            let (base, path) = stub.parts();
            let variable = self.variable(of, base);
            let tag = if path.is_empty() && base.is_object() { "import" } else { "pipeline" };
            let _ = write!(out, "[\"{tag}\",{variable}");
            if !path.is_empty() {
                out.push(',');
                push_path(out, path);
            }
            out.push(']');
        }
    }
}

impl Placeholder {
    /// Returns `true` if its function is still being recorded on this thread.
    fn is_live(&self) -> bool {
        let on_stack = |recorders: &RefCell<Vec<Arc<Recorder>>>| {
            recorders.borrow().iter().any(|recorder| Arc::ptr_eq(recorder, &self.of))
        };
        RECORDERS.try_with(on_stack).unwrap_or(false)
    }

    /// Returns `true` if both are the same variable.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.of, &other.of) && self.variable == other.variable
    }
}

impl fmt::Debug for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Placeholder({})", self.variable)
    }
}
