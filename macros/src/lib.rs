//! Procedural macros of Bowline.
//!
//! Depend on the `bowline` package, which re-exports all of them: the generated code names its items
//! as `::bowline::…`.
//!
//! | macro | use it on | what it does |
//! | --- | --- | --- |
//! | `#[bowline::interface]` | a trait | lets peers call the objects that implement the trait |
//! | `#[bowline::durable]` | a struct | lets another process restore an object from its fields |
//! | `#[derive(bowline::Pipeline)]` | a struct | makes the fields of a result usable before it arrives |
//! | `#[derive(bowline::RpcError)]` | an error | sends the error to the caller as a JavaScript error |
//! | `#[derive(bowline::TypeScript)]` | a struct or an enum | describes the type in TypeScript declarations |

// Each macro checks its whole input before it renders anything, so that rendering cannot fail and
// all mistakes are reported at once. `parse` does this for interfaces.

mod attributes;
mod described;
mod dispatch;
mod durable;
mod error;
mod faults;
mod generics;
mod interface;
mod model;
mod names;
mod parse;
mod pipeline;
mod reference;
mod signature;
mod typescript;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemTrait, parse_macro_input};

/// Turns a trait into an interface: peers can hold references to its implementors and call them.
///
/// ```no_run
/// use bowline::CallError;
/// use serde::{Deserialize, Serialize};
///
/// /// Looks people up.
/// #[bowline::interface]
/// pub trait Directory {
///     /// Returns the person with this id.
///     async fn find(&self, id: u64) -> Result<Person, FindError>;
///     /// Counts the people with these names.
///     async fn count(&self, #[rpc(rest)] names: Vec<String>) -> usize;
///     /// The running release.
///     #[rpc(get)]
///     async fn version(&self) -> String;
/// }
///
/// #[derive(Clone, Serialize, Deserialize, bowline::Pipeline)]
/// pub struct Person {
///     pub name: String,
///     pub boss: u64,
/// }
///
/// #[derive(Debug, thiserror::Error, bowline::RpcError)]
/// pub enum FindError {
///     #[error("there is no person {id}")]
///     Unknown { id: u64 },
/// }
///
/// struct Staff(Vec<Person>);
///
/// impl Directory for Staff {
///     async fn find(&self, id: u64) -> Result<Person, FindError> {
///         self.0.get(id as usize).cloned().ok_or(FindError::Unknown { id })
///     }
///
///     async fn count(&self, names: Vec<String>) -> usize {
///         self.0.iter().filter(|person| names.contains(&person.name)).count()
///     }
///
///     async fn version(&self) -> String {
///         "1.0".to_owned()
///     }
/// }
///
/// # async fn example() -> Result<(), CallError<FindError>> {
/// let staff = Staff(vec![Person { name: "Ann".to_owned(), boss: 0 }]);
/// let directory = DirectoryRef::new(staff); // a client calls `session.root()` instead
///
/// // The argument of the second call is a field of the first result. One round trip.
/// let boss = directory.find(directory.find(0).boss()).await?;
/// println!("{}", boss.name);
///
/// match directory.find(8).await {
///     Err(CallError::App(FindError::Unknown { id })) => println!("there is no person {id}"),
///     other => println!("{}", other?.name),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # What is generated
///
/// - **The trait.** Each `async fn` becomes a function that returns a `Send` future; implementors
///   still write `async fn`. The trait is `Send + Sync + 'static`, because calls arrive on any thread
///   and run concurrently.
/// - **A reference type**, `DirectoryRef`. Callers hold references, whether the object is local or a
///   peer's. `DirectoryRef::new(object)` creates a reference to a local object, and
///   `DirectoryRef::from_arc(object)` one to an object that the application keeps using.
///   `DirectoryRef::durable(object)` creates a reference that carries a recipe; see
///   `#[bowline::durable]`. References are cheap to clone, and they can appear anywhere in arguments,
///   results, and the data inside of them. Dropping the last clone of a reference to a peer's object
///   releases it; when no reference to a local object is left, the object is dropped.
/// - **A method on the reference for each method of the trait. It sends the call at once** and
///   returns a `Promise`. Calls arrive in the order in which they were made, whether or not they are
///   awaited. An argument of type `T` is an `impl IntoArg<T>`: a `T`, a promise of a `T`, or a `&str`
///   where `T` is `String`. A promise of a reference has the methods of that reference; a promise of
///   a struct with `#[derive(Pipeline)]` has a method for each field.
/// - **A constant**, `DirectoryRef::INTERFACE`, that lists the methods and properties.
///
/// The functions of `Promise` itself take the promise as an argument, as in
/// `Promise::timeout(promise, limit)`, and hide no method of the interface.
///
/// # What a trait can contain
///
/// Methods only. A method takes `&self`, or `self: Arc<Self>` if the object passes itself on. State
/// that changes belongs behind a lock or an atomic. A method with a body is a default, as in any
/// trait.
///
/// A method that can fail returns `Result<T, E>`, spelled out rather than as an alias, where `E` is
/// an `RpcError`. Other methods return their value. All types are owned and implement serde's
/// `Serialize` and `Deserialize`.
///
/// An interface can have type parameters: the reference type of `Store<T>` is `StoreRef<T>`, and it
/// requires `T: Serialize + DeserializeOwned + Send + 'static`.
///
/// `#[rpc(rest)]` on a last argument of type `Vec<T>` takes all remaining arguments, as `...rest` does
/// in JavaScript. On the reference, that argument is an iterator.
///
/// # Names
///
/// On the wire, a method has its name in camelCase: `find_all` is `findAll`. `#[rpc(name = "…")]`
/// sets another name. Two members cannot share a name. Names that a JavaScript client cannot send are
/// refused: `then`, `catch`, `finally`, `dup`, `map`, `onRpcBroken`, and the members of every
/// JavaScript object, such as `constructor` and `toString`.
///
/// `#[rpc(get)]` turns a method without arguments into a property, which JavaScript clients read as
/// `directory.version`. On the reference it is a method. The property is read when the promise is
/// awaited or used.
///
/// # Errors
///
/// `Err(error)` crosses the wire as a JavaScript error with the name, message, and properties that
/// `#[derive(RpcError)]` gives it. The caller gets a `CallError<E>`:
///
/// - `App(E)`: the method failed with its declared error.
/// - `Remote`: the peer sent another error, for example that of an earlier call of a chain.
/// - `Session`: there is no answer, because the session closed or the call timed out.
/// - `Codec`: a value could not be encoded, or does not have the expected type.
///
/// A call whose arguments do not fit the method fails with a `TypeError`, without running. So does a
/// call whose result cannot be encoded. A panic is reported to the caller as `Error: internal error`;
/// it affects neither the session nor other calls.
///
/// # Cancellation
///
/// Dropping a promise that was never awaited lets the call run and discards its result. Dropping a
/// promise while it is being awaited, as a timeout does, cancels the call: a Bowline server drops the
/// future of the method at its next `.await`, unless another call waits for the result or was made on
/// it. A method is also canceled when its session ends. JavaScript peers let canceled calls run to
/// their end.
///
/// `#[rpc(detached)]` lets a method run to its end regardless.
///
/// # Calls during a server restart
///
/// When a server process is replaced, it is not known whether its unanswered calls ran. They fail with
/// `CALL_OUTCOME_UNKNOWN`, unless the method has one of these options:
///
/// - `#[rpc(idempotent)]`: running the method twice has the same effect as running it once. The call
///   is repeated.
/// - `#[rpc(recorded)]`: the server records the outcome in its session store, and a retransmitted call
///   gets the recorded outcome. The outcome is kept for as long as the session, unless it contains
///   references or is longer than 64 KiB. Without a session store, the option has no effect.
///
/// No other call runs twice. A property is read again. `bowline::durable::call_id()` returns an id of the
/// running call that is the same whenever the call is repeated. `#[rpc(detached)]` has no influence on
/// any of this: a detached method that its server did not survive is repeated only if it is
/// `idempotent`.
///
/// # Compatibility
///
/// Arguments are matched by position. A missing argument reads as undefined, which is `None` for an
/// `Option` and an error for most other types. Additional arguments are ignored. Adding methods,
/// adding optional arguments at the end, and all changes to data that serde allows are therefore
/// compatible in both directions. Renaming or removing methods and reordering arguments is not. The
/// order of the methods and the names of the arguments and of the trait do not matter.
///
/// # TypeScript
///
/// With the option `typescript`, `bowline::typescript::declarations` writes TypeScript declarations of
/// the interface. All types in its signatures need a description, too:
/// `#[derive(bowline::TypeScript)]` on data, and the same option on other interfaces.
///
/// ```
/// /// Counts.
/// #[bowline::interface(typescript)]
/// pub trait Counter {
///     /// Adds to the count and returns the new one.
///     async fn add(&self, by: Option<u64>) -> u64;
///     async fn watch(&self, changed: bowline::Func<u64, ()>) -> CounterRef;
/// }
///
/// assert!(bowline::typescript::declarations::<CounterRef>().ends_with(
///     r#"
/// import type { RpcStub, RpcTarget } from "capnweb";
///
/// /** Counts. */
/// export interface Counter extends RpcTarget {
///   /** Adds to the count and returns the new one. */
///   add(by?: number | null): Promise<number>;
///   watch(changed: (value: number) => void): Promise<RpcStub<Counter>>;
/// }
/// "#
/// ));
/// ```
#[proc_macro_attribute]
pub fn interface(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemTrait);
    parse::interface(options.into(), item)
        .map_or_else(syn::Error::into_compile_error, |interface| interface::render(&interface))
        .into()
}

/// Makes a struct durable: another process can restore the object from its fields.
///
/// `restorer` names the [restorer] that rebuilds the object, in 1 to 128 bytes. `version` is the version
/// of the fields. Both are required.
///
/// ```
/// use bowline::durable::{Durable, RestoreError, Restorers};
///
/// #[bowline::interface]
/// pub trait Account {
///     async fn owner(&self) -> String;
/// }
///
/// #[bowline::durable(restorer = "account", version = 1)]
/// pub struct Ledger {
///     pub owner: String,
///     pub number: u64,
///     /// Not part of the recipe.
///     #[durable(skip)]
///     bank: std::sync::Arc<()>,
/// }
///
/// impl Account for Ledger {
///     async fn owner(&self) -> String {
///         self.owner.clone()
///     }
/// }
///
/// let bank = std::sync::Arc::new(());
/// let restorer = Ledger::restorer(bank.clone(), |ctx, params, bank| async move {
///     if params.owner != ctx.principal() {
///         return Err(RestoreError::PermissionDenied.into());
///     }
///     Ok(AccountRef::durable(params.restore(bank)))
/// });
/// let restorers = Restorers::new().with(restorer);
/// assert!(restorers.knows("account"));
/// let ledger = Ledger { owner: "ann".to_owned(), number: 7, bank };
/// assert_eq!(ledger.recipe().restorer(), "account");
/// ```
///
/// # What is generated
///
/// - An implementation of `Durable`. The recipe names the restorer and its version, and contains a
///   copy of every field without `#[durable(skip)]`. These fields implement `Clone` and serde's
///   `Serialize` and `Deserialize`. They are data, references to durable objects, or references to
///   objects of the peer, such as callbacks.
/// - A struct `LedgerParams` with the fields of the recipe, each with its visibility, documentation,
///   and serde attributes.
/// - `LedgerParams::restore`, which builds the struct. It takes the skipped fields as arguments, in
///   the order of their declaration.
/// - `Ledger::restorer(state, restore)`, which creates the [restorer] of the type. For each recipe,
///   `restore` is called with the context, the parameters, and a clone of `state`.
///
/// # Versions
///
/// Raise `version` when the fields change, and describe the change with `Restorer::migrate`. A new
/// field with `#[serde(default)]` needs no new version.
///
/// [restorer]: https://docs.rs/bowline/latest/bowline/durable/struct.Restorer.html
#[proc_macro_attribute]
pub fn durable(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    durable::expand(options.into(), item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes the fields of a struct usable before the struct has arrived.
///
/// A promise of the struct gets a method for each field, which returns a promise of the field.
///
/// ```
/// # use bowline::Promise;
/// #[derive(serde::Serialize, serde::Deserialize, bowline::Pipeline)]
/// #[serde(rename_all = "camelCase")]
/// pub struct Person {
///     pub first_name: String,
///     pub boss: u64,
/// }
///
/// fn boss_of(person: Promise<Person>) -> Promise<u64> {
///     person.boss() // nothing is sent until the promise is used
/// }
/// ```
///
/// # What is generated
///
/// A struct `PersonPipelined`, to which a promise of the struct dereferences. Its methods have the
/// names and the visibility of the fields.
///
/// # Names
///
/// On the wire, a field has the name that serde gives it: `rename` and `rename_all` are honored. Where
/// the names for serializing and deserializing differ, the name for serializing counts. Fields with
/// `#[serde(skip)]`, `#[serde(skip_serializing)]`, or `#[rpc(skip)]` get no method.
///
/// Only structs with named fields can derive `Pipeline`. A field with `#[serde(flatten)]`, `with`, or
/// `serialize_with` needs `#[rpc(skip)]`, because its form on the wire is not that of its type. The
/// exception is `with = "bowline::bigint"`.
///
/// # Errors
///
/// The promise of a field fails when the promise of the struct fails. The error is that of another
/// call than the one that is awaited, so it is always `CallError::Remote`; `RemoteError::downcast`
/// reads it.
#[proc_macro_derive(Pipeline, attributes(rpc, serde))]
pub fn derive_pipeline(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    pipeline::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Describes a struct or an enum in TypeScript declarations.
///
/// [`bowline::typescript::declarations`] writes the declarations of an interface and of all types in its signatures.
///
/// ```
/// /// What happened to a task.
/// #[derive(serde::Serialize, serde::Deserialize, bowline::TypeScript)]
/// #[serde(tag = "kind", rename_all = "camelCase")]
/// enum Change {
///     /// A task was added.
///     Added { id: u64, title: String, due: Option<bowline::value::Date> },
///     Cleared,
/// }
///
/// assert!(bowline::typescript::declarations::<Change>().ends_with(
///     r#"
/// /** What happened to a task. */
/// export type Change =
///   /** A task was added. */
///   | { kind: "added"; id: number; title: string; due?: Date | null }
///   | { kind: "cleared" };
/// "#
/// ));
/// ```
///
/// # What is described
///
/// - The form that serde gives the type: `rename`, `rename_all`, `rename_all_fields`, `tag`,
///   `content`, `untagged`, `flatten`, `transparent`, `into`, and the `skip` attributes are honored.
///   Where the names for serializing and deserializing differ, the name for serializing counts.
/// - A field is optional if it is an `Option`, has a `default`, or is skipped in one direction or
///   under a condition. One declaration describes both what is sent and what is received.
/// - A field with `with = "bowline::bigint"` is a `bigint`, one with `with = "bowline::date"` a
///   `Date`, and one with `with = "serde_bytes"` a `Uint8Array`. For any other `with`, and for types
///   of other crates, name the TypeScript type with `#[typescript(type = "string")]` on the field or
///   on the type.
/// - Documentation comments become JSDoc comments.
///
/// [`bowline::typescript::declarations`]: https://docs.rs/bowline/latest/bowline/typescript/fn.declarations.html
#[proc_macro_derive(TypeScript, attributes(typescript, serde))]
pub fn derive_typescript(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    typescript::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Sends an error type to callers as a JavaScript error, and reads it at the caller.
///
/// ```
/// #[derive(Debug, thiserror::Error, bowline::RpcError)]
/// pub enum OrderError {
///     #[error("there is no item {item}")]
///     NoItem { item: u64 },
///     #[error("{0}")]
///     #[rpc(name = "RangeError")]
///     Amount(#[rpc(message)] String),
///     #[error("the payment failed")]
///     Payment(#[from] #[rpc(cause)] PaymentError),
///     #[error("the database is down")]
///     Database(#[from] std::io::Error),
/// }
///
/// #[derive(Debug, thiserror::Error, bowline::RpcError)]
/// #[error("card refused")]
/// pub struct PaymentError {
///     pub reason: Option<String>,
/// }
/// ```
///
/// # What is sent
///
/// - **The name** of the variant, or of the struct; `#[rpc(name = "…")]` sets another name.
///   JavaScript clients recognize the names of JavaScript's own error classes, such as `RangeError`
///   and `TypeError`, and read any other as an `Error`.
/// - **The code**, a property `code` by which callers distinguish the cases: the name of the variant,
///   or of the struct; `#[rpc(code = "…")]` sets another.
/// - **The message**: the output of `Display`. The type does not implement `Serialize`.
/// - **The properties**: the fields, under the names that serde would give them, or the one set by
///   `#[rpc(name = "…")]` on the field. Their types implement `Serialize` and `Deserialize`. A value
///   that cannot be encoded is left out.
/// - **The cause**: the field with `#[rpc(cause)]`, whose type is an `RpcError`, too.
///
/// A field that thiserror treats as the source (`#[source]`, `#[from]`, or the name `source`) and that
/// has no `#[rpc(cause)]` **is not sent**, so that database errors, for example, do not reach callers.
/// The caller receives the name, the message, and the other properties, as `CallError::Remote`.
///
/// `#[rpc(message)]` marks a field that holds the whole message; the caller restores it from the
/// message through `From<&str>`. `#[rpc(skip)]` leaves a field out; the caller sees the default of its
/// type.
///
/// # Matching at the caller
///
/// An error matches a variant if the codes are equal and each property fits its field. A JavaScript
/// object throws one as `Object.assign(new Error(message), {code: "NoItem", item: 7})`. An error without
/// a code is matched by its name, if only one variant has that name. A missing property reads as
/// undefined, which is `None` for an `Option`. An error that matches no variant is `CallError::Remote`,
/// so adding variants and optional fields is compatible.
#[proc_macro_derive(RpcError, attributes(rpc, serde))]
pub fn derive_rpc_error(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    error::derive(&input).unwrap_or_else(|error| error::refused(&input, &error)).into()
}
