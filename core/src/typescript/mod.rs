//! TypeScript declarations of interfaces and data, for clients that use the official package.
//!
//! [`TypeScript`] describes a type, and [`declarations`] writes the text of everything that a type refers
//! to. The functions that macros call are in `declare`; the spelling of types is in `spelling`.

mod declare;
mod foreign;
mod own;
mod spelling;

pub use declare::{Declarations, InterfaceOf, Shape};
pub use spelling::{Fields, Type, Variants};

/// A type that can be written in TypeScript. `#[derive(bowline::TypeScript)]` implements it for data, and
/// `#[bowline::interface(typescript)]` for the reference of an interface.
#[diagnostic::on_unimplemented(
    message = "TypeScript has no name for `{Self}`",
    label = "used by an interface or a type with TypeScript declarations",
    note = "add `#[derive(bowline::TypeScript)]` to data, write `#[bowline::interface(typescript)]` for an interface, \
            or say `#[typescript(type = \"…\")]` on the field"
)]
pub trait TypeScript: 'static {
    /// Returns the spelling of the type, and declares the types that it mentions in `to`.
    fn describe(to: &mut Declarations) -> Type;

    /// Returns the spelling of a function's arguments: a tuple is several, and `()` is none.
    fn arguments(to: &mut Declarations) -> Vec<Type> {
        vec![Self::describe(to)]
    }
}

/// Returns the text of a `.d.ts` file that declares `T` and all interfaces and types that it refers to, in
/// the order of their first mention. The text is deterministic.
///
/// Write it in a test, or compare it there with a file in the repository, to keep both sides in sync:
///
/// ```
/// use bowline_core::typescript::{Declarations, Type, TypeScript, declarations};
///
/// struct Color;
///
/// // By hand; `#[derive(bowline::TypeScript)]` does the same.
/// impl TypeScript for Color {
///     fn describe(_: &mut Declarations) -> Type {
///         Type::new("`#${string}`")
///     }
/// }
///
/// assert!(declarations::<Vec<Color>>().starts_with("// Written by Bowline from Rust, for `"));
/// ```
///
/// A client passes the declared interface to the official package:
///
/// ```ts
/// import { newWebSocketRpcSession } from "capnweb";
/// import type { Directory } from "./directory.d.ts";
///
/// const directory = newWebSocketRpcSession<Directory>("wss://example.com/rpc");
/// const name: string = await directory.find(7).name;
/// ```
///
/// # Format
///
/// - An interface is an `interface` that extends `RpcTarget`, so that objects of a client can
///   implement it. A reference to it is an `RpcStub`. Methods return promises. A method without a
///   result returns `void | Promise<void>`, so that a client's callback can be an ordinary function.
///   Doc comments are included.
/// - An error type is a union of its cases, which `code` distinguishes, and `@throws` names it. (A
///   JavaScript client receives the name of an error only if JavaScript has a class of that name;
///   message and properties, of which `code` is one, always arrive.)
/// - Data is what serde writes: names, tags, and flattening follow the attributes. All integers are
///   `number`; under `with = "bowline::bigint"` they are `bigint`. An `Option` may be omitted or be
///   `null`, and so may a trailing argument.
/// - A generic type is declared for each type that it is used with: `Page<Task>` is `PageOfTask`.
///   If two types have the same name, or one has the name of a JavaScript class that is used here, a
///   number is appended.
pub fn declarations<T: TypeScript>() -> String {
    let mut declarations = Declarations::default();
    let root = T::describe(&mut declarations);
    declarations.into_text(&root)
}
