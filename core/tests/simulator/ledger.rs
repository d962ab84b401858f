//! What an onlooker knows of one session who numbers the messages himself: what each side has
//! sent, and how far the other has come with it.

use std::collections::BTreeMap;

use super::network::Way;

#[derive(Default)]
pub(crate) struct Ledger {
    /// Every message in the order of its number, by the side that reads it.
    sent: [Vec<String>; 2],
    processed: [u64; 2],
    /// The number of the next message, on each connection.
    writes: BTreeMap<(usize, Way), u64>,
    reads: BTreeMap<(usize, Way), u64>,
    /// Each epoch, with the connection it belongs to.
    epochs: BTreeMap<u64, usize>,
}

impl Ledger {
    /// A side begins to use a connection: what it writes there is read `way`.
    pub(crate) fn begins(&mut self, way: Way, connection: usize, writes: u64, reads: u64) {
        let back = if way == Way::ToServer { Way::ToClient } else { Way::ToServer };
        self.writes.insert((connection, way), writes);
        self.reads.insert((connection, back), reads);
    }

    /// A connection is a session's newest.
    pub(crate) fn epoch(&mut self, epoch: u64, connection: usize) -> Result<(), String> {
        if self.epochs.last_key_value().is_some_and(|(last, _)| *last >= epoch) {
            return Err(format!("I4: epoch {epoch} comes after {:?}", self.epochs));
        }
        self.epochs.insert(epoch, connection);
        Ok(())
    }

    /// A message is written: a new one, or one of before, and then the same.
    pub(crate) fn wrote(&mut self, way: Way, connection: usize, text: &str) -> Result<(), String> {
        let number = self.writes.get_mut(&(connection, way)).ok_or("I4: a connection is used that has had no turn")?;
        let sent = &mut self.sent[way as usize];
        let next = sent.len() as u64 + 1;
        if *number == next {
            sent.push(text.to_owned());
        } else if *number > next {
            return Err(format!("I2: message {number} is written, and only {} were before", sent.len()));
        } else if sent[*number as usize - 1] != text {
            return Err(format!("I1: message {number} was {}, and is {text}", sent[*number as usize - 1]));
        }
        *number += 1;
        Ok(())
    }

    /// A message has arrived on the connection whose turn it is; `before` and `after` are how
    /// far the reader says it has come.
    pub(crate) fn read(
        &mut self,
        way: Way,
        connection: usize,
        text: &str,
        (before, after): (u64, u64),
    ) -> Result<(), String> {
        let number = self.reads.get_mut(&(connection, way)).ok_or("I4: a connection is read that has had no turn")?;
        let (this, processed) = (*number, &mut self.processed[way as usize]);
        *number += 1;
        if self.sent[way as usize].get(this as usize - 1).map(String::as_str) != Some(text) {
            return Err(format!("I1, I2: {text} arrives as message {this}"));
        }
        if before != *processed {
            return Err(format!("I1, I2: {processed} were processed, and the reader counts {before}"));
        }
        match this {
            _ if this == before + 1 && after == this => *processed = after,
            _ if this <= before && after == before => {}
            _ if this <= before => return Err(format!("I1: message {this} is processed again")),
            _ => return Err(format!("I2: message {this} arrives when {before} were processed, then {after}")),
        }
        Ok(())
    }

    /// Messages that were sent to a side, and those that it has processed.
    pub(crate) fn count(&self, way: Way) -> (u64, u64) {
        (self.sent[way as usize].len() as u64, self.processed[way as usize])
    }
}
