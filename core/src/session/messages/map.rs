//! Maps (`remap`): functions that were recorded by the caller and run where their input is.

use std::fmt::Write as _;

use crate::id::PromiseId;
use crate::session::messages::eval::Names;
use crate::session::state::budget::INSTRUCTION;
use crate::session::state::maps::{Mapper, Mapping};
use crate::session::state::promises::{Call, Found, PromiseState, Queued, Settled, Waiter, Work, payload_of};
use crate::session::state::{Kind, Outgoing, Path, Ref, Session, Step};
use crate::value::text::{Cursor, TextError};
use crate::value::{Payload, PayloadBuilder};
use crate::wire::{WireError, error_text, push_path};

/// The plan for a map whose input has arrived.
struct Plan {
    /// The position of the first element, if the input is an array.
    list: Option<usize>,
    elements: usize,
    /// The number of instructions that each inner map may run.
    share: u64,
}

impl Session {
    pub(in crate::session) fn map_outgoing(
        &mut self,
        on: Ref,
        path: &[Step],
        captures: &[Outgoing],
        instructions: String,
    ) -> Ref {
        if let Some(refused) = self.refuse_call(path) {
            return refused;
        }
        let (Found::Stub(id) | Found::Awaited(id)) = self.follow_through(on) else {
            let captures = captures.iter().map(|capture| self.own_one(capture)).collect();
            let budget = self.limits.map_steps;
            return self.map_here(on, path.into(), Mapper::new(captures, instructions, budget));
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

    /// Maps a local reference. Takes over the captures. Returns the result, held once.
    pub(in crate::session) fn map_here(&mut self, on: Ref, path: Path, mut mapper: Mapper) -> Ref {
        if let Some(refused) = self.refuse_call(&path) {
            mapper.captures.into_iter().for_each(|capture| self.let_go(capture));
            return refused;
        }
        let input = if path.is_empty() {
            self.held(on)
        } else if self.queues_calls(on) {
            mapper.path = path;
            self.held(on)
        } else {
            self.invoke(on, Call::read(path))
        };
        let result = self.pending(1);
        self.account.add(&mapper);
        self.maps.insert(result, mapper);
        if self.defers() {
            self.later.push(Work::Map { result, on: input });
        } else {
            self.apply_map(result, input);
            self.let_go(input);
        }
        Ref::Promise(result)
    }

    /// Returns `true` if calls on `on` are queued.
    fn queues_calls(&mut self, on: Ref) -> bool {
        match self.follow_through(on) {
            Found::Pending(id) => matches!(
                self.promises.get(id).map(|promise| &promise.state),
                Some(PromiseState::Pending { via: None, .. })
            ),
            _ => false,
        }
    }

    /// Runs a map if its input has arrived, or else waits for the input.
    pub(in crate::session) fn apply_map(&mut self, result: PromiseId, input: Ref) {
        if !self.queues_calls(input)
            && let Some(mapper) = self.maps.get_mut(result)
            && !mapper.path.is_empty()
        {
            self.account.remove(mapper);
            let path = std::mem::take(&mut mapper.path);
            self.account.add(mapper);
            let input = self.invoke(input, Call::read(path));
            self.apply_map(result, input);
            return self.let_go(input);
        }
        match self.follow_through(input) {
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
        self.account.remove(&mapper);
        // The caller of this function holds the input that has arrived.
        mapper.input.take().into_iter().for_each(|awaited| self.let_go(awaited));
        if self.is_writable(input) {
            mapper.captures.into_iter().for_each(|capture| self.let_go(capture));
            let refused = error_text("Error", "Cannot use map() on a WritableStream");
            return self.finish(result, Err(Payload::plain(refused)));
        }
        match self.copy_for_peer(input) {
            Ok(value) => self.map_value(result, value, mapper),
            Err(reason) => self.end_map(result, mapper, Err(reason)),
        }
    }

    fn end_map(&mut self, result: PromiseId, mapper: Mapper, settled: Settled) {
        mapper.captures.into_iter().for_each(|capture| self.let_go(capture));
        self.finish(result, settled);
    }

    fn is_writable(&self, of: Ref) -> bool {
        matches!(self.follow(of), Found::Target(target) if self.kind(Ref::Target(target)) == Kind::Writable)
    }

    /// Maps an array element by element, and any other value as a whole. Null and undefined are
    /// returned unchanged. Takes over the references of `value`.
    fn map_value(&mut self, result: PromiseId, value: Payload<Ref>, mapper: Mapper) {
        if matches!(value.text(), "null" | "[\"undefined\"]" | "[[]]") {
            return self.end_map(result, mapper, Ok(value));
        }
        match self.plan_map(&value, &mapper) {
            Ok(Plan { list: Some(at), elements, share }) => {
                let results = Vec::new();
                self.map_elements(
                    result,
                    Box::new(Mapping { mapper, list: value, at, elements, share, results, refs: 0 }),
                );
            }
            Ok(Plan { list: None, share, .. }) => {
                let mapped = self.map_one(value, &mapper, share).map(Payload::capability).map_err(payload_of);
                self.end_map(result, mapper, mapped);
            }
            Err(error) => {
                self.let_go_all(value);
                self.end_map(result, mapper, Err(payload_of(error)));
            }
        }
    }

    /// Checks a map against the limits.
    fn plan_map(&mut self, value: &Payload<Ref>, mapper: &Mapper) -> Result<Plan, WireError> {
        let limits = &*self.limits;
        self.budget.read(value.text_len() + mapper.instructions.len(), limits)?;
        let list = list_of(value.cursor())?;
        let elements = list.map_or(1, |(_, elements)| elements);
        if elements == 0 {
            return Ok(Plan { list: list.map(|(at, _)| at), elements, share: 0 });
        }
        if elements > limits.map_inputs {
            return Err(WireError::limit("elements of a mapped array", limits.map_inputs));
        }
        let instructions = count_items(&mut Cursor::new(&mapper.instructions))?;
        if instructions == 0 {
            return Err(WireError::error("Invalid empty mapper function."));
        }
        if instructions > limits.map_instructions {
            return Err(WireError::limit("instructions of a mapper function", limits.map_instructions));
        }
        let steps = (instructions * elements) as u64;
        if steps > mapper.budget {
            return Err(WireError::limit("instructions carried out by a map", limits.map_steps as usize));
        }
        self.budget.step(steps, limits)?;
        // All elements get equal shares of the budget, and so do the inner maps of each.
        let maps = mapper.instructions.matches("\"remap\"").count().max(1);
        let share = (mapper.budget / elements as u64 - instructions as u64) / maps as u64;
        Ok(Plan { list: list.map(|(at, _)| at), elements, share })
    }

    /// Maps the remaining elements. If the slice is used up, the rest becomes work for the next
    /// one.
    pub(in crate::session) fn map_elements(&mut self, result: PromiseId, mut mapping: Box<Mapping>) {
        while mapping.results.len() < mapping.elements {
            if self.budget.is_slice_over() && !mapping.results.is_empty() {
                self.account.add(&*mapping);
                return self.later.push(Work::Elements { result, mapping });
            }
            match self.map_next(&mut mapping) {
                Ok(of) => mapping.results.push(of),
                Err(error) => {
                    let Mapping { mapper, list, results, .. } = *mapping;
                    results.into_iter().for_each(|of| self.let_go(of));
                    self.let_go_all(list);
                    return self.end_map(result, mapper, Err(payload_of(error)));
                }
            }
        }
        let Mapping { mapper, list, results, .. } = *mapping;
        self.let_go_all(list);
        let mapped = list_of_results(results);
        self.end_map(result, mapper, mapped);
    }

    fn map_next(&mut self, mapping: &mut Mapping) -> Result<Ref, WireError> {
        let Mapping { mapper, list, at, refs, share, .. } = mapping;
        let mut cursor = list.cursor();
        cursor.move_to(*at);
        cursor.take(b',');
        let element = list.parts(*refs, [cursor.skip()?]).next().unwrap_or_else(Payload::undefined);
        (*at, *refs) = (cursor.at(), *refs + element.refs().len());
        element.refs().iter().for_each(|&of| self.hold(of));
        self.map_one(element, mapper, *share)
    }

    /// Runs the instructions for one input, whose references it takes over. Returns the result of
    /// the last one, held once. Each inner map may run `share` instructions.
    fn map_one(&mut self, input: Payload<Ref>, mapper: &Mapper, share: u64) -> Result<Ref, WireError> {
        let mut results = vec![self.named_value(input)];
        let mut cursor = Cursor::new(&mapper.instructions);
        let carried_out = self.carry_out(&mut cursor, &mut results, mapper, share);
        let last = if carried_out.is_ok() { results.pop() } else { None };
        results.into_iter().for_each(|of| self.let_go(of));
        carried_out.and_then(|()| last.ok_or_else(|| WireError::error("Invalid empty mapper function.")))
    }

    fn carry_out(
        &mut self,
        instructions: &mut Cursor<'_>,
        results: &mut Vec<Ref>,
        mapper: &Mapper,
        share: u64,
    ) -> Result<(), WireError> {
        instructions.expect(b'[')?;
        loop {
            instructions.peek();
            let from = instructions.at();
            let names = Names::Mapper { results, captures: &mapper.captures, budget: share };
            let named = match self.value_of(instructions, names)? {
                Ok(value) => self.named_value(value),
                Err(refusal) => Ref::Promise(self.settled(Err(refusal))),
            };
            // Later instructions may refer to this result.
            results.push(named);
            let read = INSTRUCTION + instructions.at() - from;
            self.budget.read(read, &self.limits)?;
            if !instructions.take(b',') {
                return Ok(());
            }
        }
    }

    /// Converts a value into a reference.
    fn named_value(&mut self, value: Payload<Ref>) -> Ref {
        match value.as_capability() {
            Some(&of) => of,
            None => Ref::Promise(self.settled(Ok(value))),
        }
    }
}

fn list_of_results(results: Vec<Ref>) -> Settled {
    let mut list = PayloadBuilder::new();
    list.push_json("[[");
    for (n, of) in results.into_iter().enumerate() {
        list.push_json(if n > 0 { "," } else { "" });
        list.push_capability(of);
    }
    list.push_json("]]");
    list.finish().map_err(|mismatch| Payload::plain(error_text("Error", &mismatch.to_string())))
}

/// Returns the position of the first element of an array and the number of elements, or `None` for
/// any other value.
fn list_of(mut cursor: Cursor<'_>) -> Result<Option<(usize, usize)>, TextError> {
    if !cursor.take(b'[') || cursor.peek() != Some(b'[') {
        return Ok(None);
    }
    let at = cursor.at() + 1;
    let elements = count_items(&mut cursor)?;
    Ok(Some((at, elements)))
}

/// Counts the elements of the array before the cursor.
fn count_items(cursor: &mut Cursor<'_>) -> Result<usize, TextError> {
    cursor.expect(b'[')?;
    if cursor.take(b']') {
        return Ok(0);
    }
    let mut count = 0;
    loop {
        cursor.skip()?;
        count += 1;
        if !cursor.take(b',') {
            return cursor.expect(b']').map(|()| count);
        }
    }
}
