//! Connections between hosts: bytes that arrive late, in pieces, and from some point on not at all.

use std::collections::VecDeque;
use std::time::Duration;

use bowline_core::time::Time;

use super::dice::Dice;

/// A direction of a connection, and of a session: the side that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What a connection has brought one of its ends.
pub(crate) enum Arrival {
    Text(String),
    End,
}

/// One direction of a connection. A text is four bytes of length and its own; what is cut within
/// one never arrives, as with the frames of a WebSocket.
#[derive(Default)]
struct Pipe {
    under_way: VecDeque<u8>,
    /// When how many of these bytes have arrived, oldest first.
    due: VecDeque<(Time, usize)>,
    /// The beginning of a text whose end is still to come.
    begun: Vec<u8>,
    /// Nothing arrives before.
    stalled: Time,
    /// Nothing more gets onto it.
    is_over: bool,
    /// Neither side is informed that it has ended: half-open.
    is_silent: bool,
    was_told: bool,
}

pub(crate) struct Connection {
    /// The host that dialled, and the host that it reaches.
    pub(crate) client: usize,
    pub(crate) server: usize,
    latency: Duration,
    /// A side that uses it notices by itself when the other side is gone.
    is_linked: bool,
    pipes: [Pipe; 2],
}

#[derive(Default)]
pub(crate) struct Network {
    pub(crate) connections: Vec<Connection>,
}

impl Network {
    /// A new connection. Each has its own latency, so that a later one may be there before.
    pub(crate) fn connect(&mut self, dice: &mut Dice, client: usize, server: usize, is_linked: bool) -> usize {
        let latency = Duration::from_millis(1 << dice.below(7));
        let pipes = [Pipe::default(), Pipe::default()];
        self.connections.push(Connection { client, server, latency, is_linked, pipes });
        self.connections.len() - 1
    }

    pub(crate) fn write(&mut self, at: usize, way: Way, now: Time, text: &str) {
        let connection = &mut self.connections[at];
        let pipe = &mut connection.pipes[way as usize];
        if pipe.is_over {
            return;
        }
        let length = u32::try_from(text.len()).expect("a text of a test is short");
        pipe.under_way.extend(length.to_be_bytes());
        pipe.under_way.extend(text.as_bytes());
        pipe.due.push_back((now + connection.latency, text.len() + 4));
    }

    /// Lets some of what is due arrive, or all of it when the network is healthy.
    pub(crate) fn read(&mut self, at: usize, way: Way, now: Time, dice: Option<&mut Dice>) -> Vec<Arrival> {
        let pipe = &mut self.connections[at].pipes[way as usize];
        if dice.is_some() && pipe.stalled > now {
            return Vec::new();
        }
        let due: usize = pipe.due.iter().take_while(|(when, _)| *when <= now).map(|(_, bytes)| bytes).sum();
        let mut bytes = dice.map_or(due, |dice| if dice.one_in(3) { dice.below(due + 1) } else { due });
        pipe.begun.extend(pipe.under_way.drain(..bytes));
        while bytes > 0 {
            let (when, of_first) = pipe.due.pop_front().expect("every byte under way is due some time");
            if of_first > bytes {
                pipe.due.push_front((when, of_first - bytes));
            }
            bytes -= bytes.min(of_first);
        }
        let mut arrivals: Vec<_> = std::iter::from_fn(|| pipe.text()).map(Arrival::Text).collect();
        if pipe.is_over && !pipe.is_silent && !pipe.was_told && pipe.under_way.is_empty() {
            pipe.was_told = true;
            arrivals.push(Arrival::End);
        }
        arrivals
    }

    /// Breaks a connection at some byte of either direction, sometimes without informing a side.
    pub(crate) fn cut(&mut self, at: usize, dice: &mut Dice) {
        let is_silent = self.connections[at].is_linked && dice.one_in(4);
        for pipe in &mut self.connections[at].pipes {
            let keep = dice.below(pipe.under_way.len() + 1);
            pipe.keep(keep);
            pipe.is_silent |= is_silent;
        }
    }

    /// Nothing arrives in a direction for a while; then all of it does.
    pub(crate) fn stall(&mut self, at: usize, way: Way, until: Time) {
        self.connections[at].pipes[way as usize].stalled = until;
    }

    /// One end hangs up: what it has written arrives, and it reads nothing more.
    pub(crate) fn hang_up(&mut self, at: usize, reads: Way) {
        let [to_server, to_client] = &mut self.connections[at].pipes;
        let (own, other) = if reads == Way::ToServer { (to_server, to_client) } else { (to_client, to_server) };
        own.keep(0);
        own.was_told = true;
        other.is_over = true;
    }

    /// One end is gone without a word.
    pub(crate) fn vanish(&mut self, at: usize, reads: Way) {
        self.hang_up(at, reads);
        let Connection { is_linked, pipes, .. } = &mut self.connections[at];
        pipes.iter_mut().for_each(|pipe| pipe.is_silent = *is_linked);
    }

    pub(crate) fn is_open(&self, at: usize) -> bool {
        !self.connections[at].pipes.iter().any(|pipe| pipe.is_over)
    }

    /// Something is in flight, or a side has not been informed of the end.
    pub(crate) fn is_busy(&self, at: usize, way: Way) -> bool {
        let pipe = &self.connections[at].pipes[way as usize];
        !pipe.under_way.is_empty() || (pipe.is_over && !pipe.is_silent && !pipe.was_told)
    }
}

impl Pipe {
    fn text(&mut self) -> Option<String> {
        let length = u32::from_be_bytes(self.begun.get(..4)?.try_into().expect("four bytes")) as usize;
        let text = self.begun.get(4..4 + length)?.to_vec();
        self.begun.drain(..4 + length);
        Some(String::from_utf8(text).expect("what was written as text"))
    }

    fn keep(&mut self, bytes: usize) {
        self.is_over = true;
        self.under_way.truncate(bytes);
        let mut left = bytes;
        self.due.retain_mut(|(_, of)| {
            *of = left.min(*of);
            left -= *of;
            *of > 0
        });
    }
}
