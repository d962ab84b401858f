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
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// Called with arguments. Read without being called, it is a bound function.
    Method,
    /// Read.
    Property,
}
