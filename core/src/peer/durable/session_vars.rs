//! Session variables as an RPC target, for clients of any kind. The method names are part of the wire
//! protocol.

use std::future::ready;
use std::sync::Arc;

use crate::error::ErrorChain;
use crate::peer::durable::vars::{VarError, Vars};
use crate::peer::interface::description::{Lifetime, Member, MemberKind, Repeat};
use crate::peer::interface::error::Never;
use crate::peer::interface::lost::RestoreFailure;
use crate::peer::interface::object::{Answer, Args, Object, Reply, error_payload, rejection, reply};
use crate::peer::reference::stub::Stub;
use crate::value::{Cap, Payload, Value};

impl Vars {
    /// Returns the variables as an object to give to the peer.
    ///
    /// Its methods are `setVariable(name, value)`, `getVariable(name)`, `hasVariable(name)`,
    /// `deleteVariable(name)`, `listVariables()`, and `clearAllVariables()`. A peer that has the object can
    /// read and set all variables, so a service gives it out only if that is intended.
    pub fn target(&self) -> Stub {
        Stub::new(SessionVars(self.clone()))
    }
}

struct SessionVars(Vars);

const fn method(name: &'static str, args: &'static [&'static str]) -> Member {
    Member { name, kind: MemberKind::Method, args, repeat: Repeat::Idempotent, lifetime: Lifetime::Session }
}

impl Object for SessionVars {
    fn interface(&self) -> &'static str {
        "SessionVars"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[
            method("setVariable", &["name", "value"]),
            method("getVariable", &["name"]),
            method("hasVariable", &["name"]),
            method("deleteVariable", &["name"]),
            method("listVariables", &[]),
            method("clearAllVariables", &[]),
        ];
        MEMBERS
    }

    fn call(self: Arc<Self>, method: &str, args: Args) -> Option<Reply> {
        let answer = match method {
            "setVariable" => self.set(args),
            "getVariable" => {
                self.name(args, |vars, name| vars.payload(name).map(|value| value.unwrap_or_else(Payload::undefined)))
            }
            "hasVariable" => self.name(args, |vars, name| Ok(truth(vars.has(name)))),
            "deleteVariable" => self.name(args, |vars, name| Ok(truth(vars.delete(name)))),
            "listVariables" => reply(Ok::<_, Never>(self.0.names())),
            "clearAllVariables" => {
                self.0.clear();
                reply(Ok::<_, Never>(()))
            }
            _ => return None,
        };
        Some(Box::pin(ready(answer)))
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

impl SessionVars {
    fn set(&self, args: Args) -> Answer {
        let (name, value): (String, Value) = args.decode().map_err(|error| rejection(&error.into()))?;
        self.0.set(&name, &value).map_err(refusal)?;
        reply(Ok::<_, Never>(()))
    }

    fn name(&self, args: Args, ask: impl FnOnce(&Vars, &str) -> Result<Payload<Cap>, VarError>) -> Answer {
        let (name,): (String,) = args.decode().map_err(|error| rejection(&error.into()))?;
        ask(&self.0, &name).map_err(refusal)
    }
}

fn truth(is: bool) -> Payload<Cap> {
    Payload::plain(if is { "true" } else { "false" })
}

fn refusal(error: VarError) -> Payload<Cap> {
    match error {
        VarError::Lost(code) => RestoreFailure(code).payload(),
        VarError::Limit(..) => error_payload("RangeError", &ErrorChain(&error).to_string()),
        error => error_payload("TypeError", &ErrorChain(&error).to_string()),
    }
}
