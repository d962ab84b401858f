//! TypeScript declarations of interfaces and data, for clients that use the official package: the
//! trait by which a type tells its form, and the text of all that a type leads to. What the
//! macros call is in `declare`; how types are spelled is in `spelling`.

mod declare;
mod foreign;
mod own;
mod spelling;

pub use declare::{Declarations, InterfaceOf, Shape};
pub use spelling::{Fields, Type, Variants};

/// A type that TypeScript can name: `#[derive(bowline::TypeScript)]` for data,
/// `#[bowline::interface(typescript)]` for the reference of an interface.
#[diagnostic::on_unimplemented(
    message = "TypeScript has no name for `{Self}`",
    label = "reached from an interface or a type that is described to TypeScript",
    note = "add `#[derive(bowline::TypeScript)]` to data, write `#[bowline::interface(typescript)]` for an interface, \
            or say `#[typescript(type = \"…\")]` on the field"
)]
pub trait TypeScript: 'static {
    /// How the type is written, once `to` declares whatever that mentions.
    fn describe(to: &mut Declarations) -> Type;

    /// The same for the arguments of a function: a tuple is several, `()` is none.
    fn arguments(to: &mut Declarations) -> Vec<Type> {
        vec![Self::describe(to)]
    }
}

/// The text of a `.d.ts` file that declares `T`, and each interface and type that it leads to, in
/// the order in which they are mentioned. The same program always writes the same text.
///
/// Writing it in a test, or comparing it there with the file that is kept, keeps both sides in step:
///
/// ```
/// use bowline_core::typescript::{Declarations, Type, TypeScript, typescript};
///
/// struct Colour;
///
/// // By hand; `#[derive(bowline::TypeScript)]` does the same.
/// impl TypeScript for Colour {
///     fn describe(_: &mut Declarations) -> Type {
///         Type::new("`#${string}`")
///     }
/// }
///
/// assert!(typescript::<Vec<Colour>>().starts_with("// Written by Bowline from Rust, for `"));
/// ```
///
/// A client imports the declarations for the stub that the official package gives it:
///
/// ```ts
/// import { newWebSocketRpcSession } from "capnweb";
/// import type { Directory } from "./directory.d.ts";
///
/// const directory = newWebSocketRpcSession<Directory>("wss://example.com/rpc");
/// const name: string = await directory.find(7).name;
/// ```
///
/// # What is written
///
/// - An interface is an `interface` that extends `RpcTarget`, so that objects of a client can
///   implement it; a reference to it, wherever it stands, is an `RpcStub` of it. Methods return
///   promises. Those without a result return `void | Promise<void>`, so that a client's callback
///   may be an ordinary function. Documentation is carried over, and errors stand there as
///   `@throws`, with name, message and properties. (A JavaScript client sees of an error's name
///   only what JavaScript knows; message and properties arrive.)
/// - Data is what serde writes: names, tags and flattening follow the attributes. All integers are
///   `number`, under `with = "bowline::bigint"` they are `bigint`. An `Option` may be left out or
///   be `null`; so may an argument that no other follows.
/// - A generic type is declared for each type that it is used with: `Page<Task>` is `PageOfTask`.
///   Two types of the same name, and one that has the name of a JavaScript class used here, are
///   told apart by a number.
pub fn typescript<T: TypeScript>() -> String {
    let mut declarations = Declarations::default();
    let root = T::describe(&mut declarations);
    declarations.into_text(&root)
}
