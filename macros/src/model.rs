//! The model of an interface after its trait was read and checked.

use syn::punctuated::Punctuated;
use syn::{Attribute, Block, Generics, Ident, Token, Type, TypeParamBound, Visibility};

/// A trait under `#[bowline::interface]`.
pub(crate) struct Interface {
    /// All attributes of the trait.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    pub(crate) generics: Generics,
    pub(crate) supertraits: Punctuated<TypeParamBound, Token![+]>,
    /// In source order. Wire names are distinct.
    pub(crate) members: Vec<Member>,
    /// Whether the option `typescript` is set.
    pub(crate) typescript: bool,
}

/// A method of the trait, which peers see as a method or a property.
pub(crate) struct Member {
    /// All attributes of the method, except `#[rpc]`.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) wire: String,
    pub(crate) kind: Kind,
    pub(crate) repeat: Repeat,
    pub(crate) lifetime: Lifetime,
    pub(crate) receiver: Receiver,
    pub(crate) args: Vec<Argument>,
    /// The last argument, if it collects all remaining ones.
    pub(crate) rest: Option<Argument>,
    pub(crate) output: Output,
    /// The default implementation.
    pub(crate) body: Option<Block>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Method,
    Property,
}

/// Whether a call may be repeated if its outcome was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Never,
    Idempotent,
    Recorded,
}

/// How long a call may run after its caller is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Session,
    Detached,
}

/// `&self`, or `self: Arc<Self>`.
pub(crate) struct Receiver {
    /// The receiver as written. A newly created `self` would have other hygiene than the body in
    /// code that `macro_rules!` generated.
    pub(crate) written: syn::Receiver,
    /// Whether it is `self: Arc<Self>`.
    pub(crate) shared: bool,
}

pub(crate) struct Argument {
    pub(crate) name: Ident,
    /// For the rest argument, the type of one element.
    pub(crate) ty: Type,
}

/// The return type of a method.
pub(crate) struct Output {
    /// The return type as written.
    pub(crate) whole: Type,
    pub(crate) ok: Type,
    /// `None` if the method cannot fail.
    pub(crate) err: Option<Type>,
}
