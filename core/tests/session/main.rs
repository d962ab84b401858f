//! The session state machine, driven without sockets, tasks, or sleeps.
//!
//! - `app`: the objects that both ends of a test serve
//! - `half`: a link under a session whose other end is the test, cut at every message
//! - `held`: the count of what a session holds for its peer
//! - `hostile`: arbitrary lines, and the corpus of the fuzz target
//! - `labels`: two sessions that exchange labeled capabilities, and the corpus of the fuzz target
//! - `malformed`: malformed values
//! - `maps`: functions that run where their input is
//! - `operations`: two sessions that perform random operations
//! - `pair`: two sessions connected by a list of messages, which is compared line by line
//! - `placement`: capabilities keep their position in any data
//! - `placeholders`: data that resembles a capability
//! - `programs`: arbitrary mapper functions
//! - `snapshot`: corrupt snapshots
//! - `stored`: arbitrary text as a snapshot, and the corpus of the fuzz target
//! - `streams`: pipes, sinks, chunks, and their ends
//! - `transcripts`: the messages of ordinary exchanges
//! - `replan`: a client whose server was recovered
//! - `revive`: a server that was recovered from a snapshot
//! - `refusals`: what ends a session, and what rejects only a call
//! - `bounds`: limits on what a peer can make a session hold
//! - `work`: limits on the work that one message can cause

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
