//! An interface as the macros see it once its trait has been read and found good.

use syn::punctuated::Punctuated;
use syn::{Attribute, Block, Generics, Ident, Token, Type, TypeParamBound, Visibility};

/// A trait under `#[bowline::interface]`.
pub(crate) struct Interface {
    /// Everything that stood on the trait.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    pub(crate) generics: Generics,
    pub(crate) supertraits: Punctuated<TypeParamBound, Token![+]>,
    /// In the order of the source; wire names are distinct.
    pub(crate) members: Vec<Member>,
    /// Whether it describes itself to TypeScript.
    pub(crate) typescript: bool,
}

/// A method of the trait: what peers see as a method or as a property.
pub(crate) struct Member {
    /// Everything that stood on the method, except `#[rpc]`.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) wire: String,
    pub(crate) kind: Kind,
    pub(crate) repeat: Repeat,
    pub(crate) lifetime: Lifetime,
    pub(crate) receiver: Receiver,
    pub(crate) args: Vec<Argument>,
    /// The last argument, when it collects all that are left.
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

/// Whether a call whose outcome was lost may be made again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Never,
    Idempotent,
    Recorded,
}

/// How long a call may run when its caller is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Session,
    Detached,
}

/// `&self`, or `self: Arc<Self>`.
pub(crate) struct Receiver {
    /// As written: in what `macro_rules!` made, a `self` of ours would be another than the body's.
    pub(crate) written: syn::Receiver,
    /// Whether it takes the `Arc`.
    pub(crate) shared: bool,
}

pub(crate) struct Argument {
    pub(crate) name: Ident,
    /// Of the rest it is the type of one element.
    pub(crate) ty: Type,
}

/// What a method returns.
pub(crate) struct Output {
    /// As written, what its future ends with.
    pub(crate) whole: Type,
    pub(crate) ok: Type,
    /// `None` if the method can not fail.
    pub(crate) err: Option<Type>,
}
