//! The scripts that run inside of the server. Each is atomic: nothing changes between its reads and
//! writes.

use redis::Script;

/// A script on a session that does nothing unless the caller owns the session.
macro_rules! fenced {
    ($file:literal) => {
        Script::new(concat!(include_str!("fence.lua"), include_str!($file)))
    };
}

/// A script on a session that does nothing unless the caller owns the session, and that changes how
/// much is stored.
macro_rules! charged {
    ($file:literal) => {
        Script::new(concat!(include_str!("charge.lua"), include_str!("fence.lua"), include_str!($file)))
    };
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) create: Script,
    pub(super) claim: Script,
    pub(super) checkpoint: Script,
    pub(super) load: Script,
    pub(super) release: Script,
    pub(super) delete: Script,
    pub(super) record: Script,
    pub(super) forget: Script,
    pub(super) recorded: Script,
    pub(super) renew: Script,
    pub(super) mark: Script,
    pub(super) unmark: Script,
    pub(super) describe: Script,
    pub(super) want: Script,
    pub(super) wanted: Script,
    pub(super) save: Script,
    pub(super) list: Script,
    pub(super) revoke: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            create: Script::new(concat!(include_str!("charge.lua"), include_str!("create.lua"))),
            claim: Script::new(include_str!("claim.lua")),
            checkpoint: charged!("checkpoint.lua"),
            load: fenced!("load.lua"),
            release: fenced!("release.lua"),
            delete: charged!("delete.lua"),
            record: charged!("record.lua"),
            forget: fenced!("forget.lua"),
            recorded: fenced!("recorded.lua"),
            renew: Script::new(include_str!("renew.lua")),
            mark: Script::new(include_str!("mark.lua")),
            unmark: Script::new(include_str!("unmark.lua")),
            describe: Script::new(include_str!("describe.lua")),
            want: Script::new(include_str!("want.lua")),
            wanted: Script::new(include_str!("wanted.lua")),
            save: Script::new(include_str!("save.lua")),
            list: Script::new(include_str!("list.lua")),
            revoke: Script::new(include_str!("revoke.lua")),
        }
    }
}
