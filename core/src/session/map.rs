//! `remap`: a recorded function, applied where its input is.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::eval::Names;
use super::promise::{Found, PromiseState, Queued, Waiter};
use super::{Kind, Outgoing, Path, Ref, Session, Step};
use crate::id::PromiseId;
use crate::value::text::{Cursor, TextError};
use crate::value::{Payload, PayloadBuilder};
use crate::wire::{WireError, error_text, push_path};

/// A function recorded by the caller of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mapper {
    /// What it uses from outside, each held.
    pub(super) captures: Vec<Ref>,
    /// The text of a list of expressions, carried out in order; the last one is the result.
    pub(super) instructions: String,
    /// How many instructions may be carried out, inner maps included.
    pub(super) budget: u64,
    /// The result of the peer's that it waits for, held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<Ref>,
}

impl Session {
    pub(super) fn map_outgoing(&mut self, on: Ref, path: &[Step], captures: &[Outgoing], instructions: String) -> Ref {
        if let Some(refused) = self.refuse_call(path) {
            return refused;
        }
        let (Found::Stub(id) | Found::Awaited(id)) = self.follow(on) else {
            let captures = captures.iter().map(|capture| self.own_one(capture)).collect();
            let budget = self.limits.map_steps;
            return self.map_here(on, path.into(), Mapper { captures, instructions, budget, input: None });
        };
        let captures: Vec<Ref> = captures.iter().map(|capture| self.own_one(capture)).collect();
        let mut message = self.new_call(instructions.len() + 48);
        let _ = write!(message.text, "[\"push\",[\"remap\",{id},");
        push_path(&mut message.text, path);
        message.text.push_str(",[");
        for (n, &capture) in captures.iter().enumerate() {
            message.text.push_str(if n > 0 { "," } else { "" });
            self.write_capture(&mut message, capture);
        }
        let _ = write!(message.text, "],{instructions}]]");
        let result = Ref::Import(self.send_call(id, message, false));
        captures.into_iter().for_each(|capture| self.let_go(capture));
        result
    }

    /// A map on something of ours. Takes over the captures; the result is held once.
    pub(super) fn map_here(&mut self, on: Ref, path: Path, mapper: Mapper) -> Ref {
        if let Some(refused) = self.refuse_call(&path) {
            mapper.captures.into_iter().for_each(|capture| self.let_go(capture));
            return refused;
        }
        let input = if path.is_empty() { self.held(on) } else { self.invoke(on, path, None) };
        let result = self.pending(1);
        self.held_bytes += mapper.instructions.len();
        self.maps.insert(result, mapper);
        self.apply_map(result, input);
        self.let_go(input);
        Ref::Promise(result)
    }

    /// Carries a map out if its input has arrived, or has it wait for that.
    pub(super) fn apply_map(&mut self, result: PromiseId, input: Ref) {
        match self.follow(input) {
            Found::Pending(id) => {
                if let Some(PromiseState::Pending { calls, .. }) =
                    self.promises.get_mut(id).map(|promise| &mut promise.state)
                {
                    calls.push(Queued::Map(result));
                }
                return;
            }
            Found::Awaited(id) => {
                let awaited = Ref::Import(id);
                let Some(mapper) = self.maps.get_mut(result) else { return };
                let before = mapper.input.replace(awaited);
                self.hold(awaited);
                self.subscribe(awaited, Waiter::Map(result));
                return before.into_iter().for_each(|before| self.let_go(before));
            }
            _ => {}
        }
        let Some(mut mapper) = self.maps.remove(result) else { return };
        self.held_bytes -= mapper.instructions.len();
        // The caller holds what has arrived.
        mapper.input.take().into_iter().for_each(|awaited| self.let_go(awaited));
        if self.is_writable(input) {
            mapper.captures.into_iter().for_each(|capture| self.let_go(capture));
            let refused = error_text("Error", "Cannot use map() on a WritableStream");
            return self.finish(result, Err(Payload::plain(refused)));
        }
        let settled = match self.copy_of(input) {
            Ok(value) => {
                self.map_value(value, &mapper).map_err(|error| Payload::plain(error_text(error.name, &error.message)))
            }
            Err(reason) => Err(reason),
        };
        mapper.captures.into_iter().for_each(|capture| self.let_go(capture));
        self.finish(result, settled);
    }

    fn is_writable(&self, of: Ref) -> bool {
        matches!(self.follow(of), Found::Target(target) if self.kind(Ref::Target(target)) == Kind::Writable)
    }

    /// An array is mapped element by element, null and undefined are what they are, and anything
    /// else is mapped as a whole. Takes over the references of `value`.
    fn map_value(&mut self, value: Payload<Ref>, mapper: &Mapper) -> Result<Payload<Ref>, WireError> {
        if matches!(value.text(), "null" | "[\"undefined\"]") {
            return Ok(value);
        }
        let outcome = match elements(value.cursor()) {
            Ok(None) => self.map_whole(&value, mapper),
            Ok(Some(elements)) if elements.len() > self.limits.map_inputs => {
                Err(WireError::limit("elements of a mapped array", self.limits.map_inputs))
            }
            Ok(Some(elements)) => self.map_elements(&value, &elements, mapper),
            Err(error) => Err(error.into()),
        };
        self.let_go_all(value);
        outcome
    }

    fn map_whole(&mut self, value: &Payload<Ref>, mapper: &Mapper) -> Result<Payload<Ref>, WireError> {
        let instructions = self.instructions(mapper, 1)?;
        value.refs().iter().for_each(|&of| self.hold(of));
        self.map_one(value.clone(), &instructions, mapper, 1).map(Payload::capability)
    }

    fn map_elements(
        &mut self,
        list: &Payload<Ref>,
        elements: &[&str],
        mapper: &Mapper,
    ) -> Result<Payload<Ref>, WireError> {
        if elements.is_empty() {
            return Ok(Payload::plain("[[]]"));
        }
        let instructions = self.instructions(mapper, elements.len())?;
        let mut results = PayloadBuilder::new();
        results.push_json("[[");
        for (n, element) in list.parts(0, elements.iter().copied()).enumerate() {
            results.push_json(if n > 0 { "," } else { "" });
            element.refs().iter().for_each(|&of| self.hold(of));
            match self.map_one(element, &instructions, mapper, elements.len() as u64) {
                Ok(result) => results.push_capability(result),
                Err(error) => {
                    results.into_refs().into_iter().for_each(|of| self.let_go(of));
                    return Err(error);
                }
            }
        }
        results.push_json("]]");
        Ok(results.finish()?)
    }

    /// The instructions one by one, when `elements` times them is within the bounds.
    fn instructions<'m>(&self, mapper: &'m Mapper, elements: usize) -> Result<Vec<&'m str>, WireError> {
        let mut cursor = Cursor::new(&mapper.instructions);
        let instructions = items(&mut cursor)?;
        if instructions.is_empty() {
            return Err(WireError::error("Invalid empty mapper function."));
        }
        if instructions.len() > self.limits.map_instructions {
            return Err(WireError::limit("instructions of a mapper function", self.limits.map_instructions));
        }
        if (instructions.len() * elements) as u64 > mapper.budget {
            return Err(WireError::limit("instructions carried out by a map", self.limits.map_steps as usize));
        }
        Ok(instructions)
    }

    /// Carries the instructions out for one input; what the last one gives is held once.
    fn map_one(
        &mut self,
        input: Payload<Ref>,
        instructions: &[&str],
        mapper: &Mapper,
        elements: u64,
    ) -> Result<Ref, WireError> {
        let budget = mapper.budget / elements - instructions.len() as u64;
        let mut results = vec![self.named_value(input)];
        let mut failure = None;
        for instruction in instructions {
            let names = Names::Mapper { results: &results, captures: &mapper.captures, budget };
            match self.value_of(&mut Cursor::new(instruction), names) {
                Ok(Ok(value)) => results.push(self.named_value(value)),
                Ok(Err(refusal)) => results.push(Ref::Promise(self.settled(Err(refusal)))),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let last = if failure.is_none() { results.pop() } else { None };
        results.into_iter().for_each(|of| self.let_go(of));
        match (last, failure) {
            (Some(last), None) => Ok(last),
            (_, error) => Err(error.unwrap_or_else(|| WireError::error("Invalid empty mapper function."))),
        }
    }

    /// A value as something that can be named.
    fn named_value(&mut self, value: Payload<Ref>) -> Ref {
        match value.as_capability() {
            Some(&of) => of,
            None => Ref::Promise(self.settled(Ok(value))),
        }
    }
}

/// The elements of an array; `None` for anything else.
fn elements(mut cursor: Cursor<'_>) -> Result<Option<Vec<&str>>, TextError> {
    if !cursor.take(b'[') || cursor.peek() != Some(b'[') {
        return Ok(None);
    }
    items(&mut cursor).map(Some)
}

fn items<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<&'a str>, TextError> {
    let mut items = Vec::new();
    cursor.expect(b'[')?;
    if !cursor.take(b']') {
        loop {
            items.push(cursor.skip()?);
            if !cursor.take(b',') {
                cursor.expect(b']')?;
                break;
            }
        }
    }
    Ok(items)
}
