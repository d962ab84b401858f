//! The session machine, driven without a socket, a task or a sleep.
//!
//! - `app`: the objects both ends of a test serve
//! - `half`: a link under a session that is spoken to by hand, cut at every message
//! - `held`: what a session holds for its peer is counted
//! - `hostile`: arbitrary lines, and the corpus of the fuzz target
//! - `labels`: two sessions that pass each other labeled capabilities, and the corpus of the fuzz target
//! - `malformed`: values that cannot be
//! - `maps`: functions that are sent to where their input is
//! - `operations`: two sessions, and everything they can do to each other in any order
//! - `pair`: two sessions joined by a list of messages; what crossed is compared line by line
//! - `placement`: each capability stays in its place, whatever data is around it
//! - `placeholders`: data that resembles a capability
//! - `programs`: arbitrary functions to map with
//! - `snapshot`: snapshots that are not what a session was
//! - `stored`: arbitrary text as a snapshot, and the corpus of the fuzz target
//! - `streams`: pipes, sinks, chunks and their ends
//! - `transcripts`: what peers say to each other when all goes well
//! - `replan`: a client whose server has lost its memory
//! - `revive`: a server that was made again from a snapshot
//! - `refusals`: what ends a session and what only rejects a call
//! - `bounds`: what a peer cannot make us hold
//! - `work`: what one message may make a session do

mod app;
mod bounds;
mod half;
mod held;
mod hostile;
mod labels;
mod malformed;
mod maps;
mod operations;
mod pair;
mod placeholders;
mod placement;
mod programs;
mod refusals;
mod replan;
mod revive;
mod snapshot;
mod stored;
mod streams;
mod transcripts;
mod work;
