//! What an interface tells about itself: the names that a peer can use.

/// An interface as peers see it; `#[bowline::interface]` makes one as `INTERFACE` of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name of the trait.
    pub name: &'static str,
    /// In the order of the source.
    pub members: &'static [Member],
}

/// A name that a peer can use on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name on the wire.
    pub name: &'static str,
    /// What it names.
    pub kind: MemberKind,
    /// The arguments' names; one that stands for all that are left begins with `...`.
    pub args: &'static [&'static str],
    /// What a second call with the same arguments does.
    pub repeat: Repeat,
    /// How long a call may run.
    pub lifetime: Lifetime,
}

/// How long a call may run when its caller is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the session: a call that is still running when the session ends is aborted, and so
    /// is one whose caller stops waiting for it.
    #[default]
    Session,
    /// To its end, whatever becomes of the session and of the caller: `#[rpc(detached)]`.
    Detached,
}

/// What becomes of a call whose outcome was lost with a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// It fails; it is never carried out twice. So it is with everything that does not say
    /// otherwise.
    #[default]
    Never,
    /// It is carried out again: `#[rpc(idempotent)]`.
    Idempotent,
    /// Its outcome is kept, and given again: `#[rpc(recorded)]`.
    Recorded,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// Called with arguments. Read without being called, it is a bound function.
    Method,
    /// Read.
    Property,
}
