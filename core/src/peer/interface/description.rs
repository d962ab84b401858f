//! Descriptions of interfaces: the names that a peer can use on an object.

/// The description of an interface. `#[bowline::interface]` generates it as `INTERFACE` of the reference
/// type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name of the trait.
    pub name: &'static str,
    /// The members, in source order.
    pub members: &'static [Member],
}

/// A method or property that a peer can use on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name on the wire.
    pub name: &'static str,
    /// Whether it is a method or a property.
    pub kind: MemberKind,
    /// The names of the arguments. The name of a variadic argument begins with `...`.
    pub args: &'static [&'static str],
    /// What happens to a call whose outcome was lost with a process.
    pub repeat: Repeat,
    /// How long a call may run after its caller is gone.
    pub lifetime: Lifetime,
}

/// How long a call may run after its caller is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Until the session ends or the caller stops waiting; the call is then aborted.
    #[default]
    Session,
    /// To completion, even if the session ends or the caller stops waiting: `#[rpc(detached)]`.
    Detached,
}

/// What happens to a call whose outcome was lost with a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// The call fails and is never repeated. This is the default.
    #[default]
    Never,
    /// The call runs again: `#[rpc(idempotent)]`.
    Idempotent,
    /// The outcome is recorded, and returned again: `#[rpc(recorded)]`.
    Recorded,
}

/// The kind of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A method. Reading it without calling it returns a bound function.
    Method,
    /// A property.
    Property,
}
