//! Procedural macros of Bowline: `#[interface]`, `#[durable]`, `#[derive(Pipeline)]` and `#[derive(RpcError)]`.
//!
//! They are re-exported by the `bowline` package, which is how to use them: what they generate
//! names everything as `::bowline::…`. Each reads its input into a model first (`parse`), which is
//! where all rules are checked, and renders after that.
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

/// Makes a trait an interface: its implementors are objects that peers can hold and call.
///
/// ```no_run
/// # use bowline::Never;
/// /// Finds people.
/// #[bowline::interface]
/// pub trait Directory {
///     /// The person of this number.
///     async fn find(&self, id: u64) -> Result<Person, FindError>;
///     /// Which release is running.
///     #[rpc(get)]
///     async fn version(&self) -> String;
/// }
/// # #[derive(serde::Serialize, serde::Deserialize, bowline::Pipeline)]
/// # pub struct Person { pub name: String, pub boss: u64 }
/// # #[derive(Debug, thiserror::Error, bowline::RpcError)]
/// # pub enum FindError { #[error("there is no {id}")] Unknown { id: u64 } }
/// ```
///
/// # What is generated
///
/// - **The trait**, with `async fn` turned into a function whose future is `Send`. Implementors
///   write `async fn` all the same. It is `Send + Sync + 'static`, since calls come from anywhere
///   and at the same time.
/// - **A reference type** named after it, `DirectoryRef`, which is what callers hold, whether the
///   object is theirs or a peer's. `DirectoryRef::new(object)` makes one from an object of ours
///   (`from_arc` from one that we go on using). It is cheap to clone, and it can stand anywhere in
///   arguments, results and the data in them. The object is dropped, or the peer told, when the
///   last clone goes.
/// - On the reference, **a plain method for each method of the trait. It sends at once** and
///   returns a `Promise`: calls arrive in the order in which they were made, awaited or not.
///   Arguments are `impl IntoArg<T>`: a `T`, a promise of one that has not arrived, or `&str` for
///   a `String`. A promise of a reference has that reference's methods; a promise of data with
///   `#[derive(Pipeline)]` has a method for each field.
/// - A constant `DirectoryRef::INTERFACE` that lists what peers can use.
///
/// Every method takes `&self`, or `self: Arc<Self>` if the object hands itself out. What changes
/// belongs behind a lock. A method returns `Result<T, E>`, spelled out, or any other `T` if it can
/// not fail; all types are owned, serde's `Serialize` and `Deserialize`, and `E` is an `RpcError`.
/// A method with a body is a default, as in any trait.
///
/// An interface can have type parameters: `Store<T>` has `StoreRef<T>`. For these types `Serialize
/// + DeserializeOwned + Send + 'static` is required of whoever uses the reference.
///
/// # Naming
///
/// On the wire a method is the camelCase of its name: `find_all` is `findAll`. `#[rpc(name = "…")]`
/// says otherwise. Two members can not share a wire name. Names that JavaScript peers keep for
/// themselves are refused: `then`, `catch`, `finally`, `dup`, `map`, `onRpcBroken`, and what every
/// JavaScript object inherits, such as `constructor` or `toString`.
///
/// `#[rpc(get)]` on a method without arguments makes it a property: JavaScript peers read
/// `directory.version`. On the reference it is a method, for which nothing is sent before it is
/// used.
///
/// # Calls that are made again
///
/// When a server is restarted, the fate of calls that it has not answered is not known, and they
/// fail with `CALL_OUTCOME_UNKNOWN`; none is ever carried out twice, unless the method says so:
///
/// - `#[rpc(idempotent)]`: carried out twice it does what it does once. The call is made again.
/// - `#[rpc(recorded)]`: where the server keeps sessions in a store, it keeps the outcome there
///   for as long as the session, and a call that is sent again gets it. An outcome that holds
///   references, or is longer than 64 KiB, is not kept.
///
/// A method is canceled when its result can no longer be delivered: its future is dropped at its next
/// `.await` once its session has ended, or once its caller has stopped waiting for it. `#[rpc(detached)]` lets
/// it run to its end instead. Between processes the two have no bearing on each other: a detached
/// method that its server did not survive is called again only if it is `idempotent`.
///
/// Properties are read again. Inside of any method `bowline::call_id()` names the call, the same
/// whenever it comes again.
///
/// A promise has a few methods of its own, `timeout` among them. They hide methods of the same name
/// on what is promised; `(*promise).timeout()` reaches these.
///
/// # Errors
///
/// An `Err(E)` crosses the wire as a JavaScript error with the name, message and properties that
/// `E` has as an `RpcError`. The caller's promise ends with `CallError<E>`: `App(E)` for an error
/// of this type, `Remote` for any other that the peer threw (an earlier call of a chain, most
/// often), `Session` when there will be no answer, `Codec` when a value does not fit its type.
///
/// Arguments that do not fit are answered with a `TypeError` before the method is entered. A result
/// that can not be encoded is answered with one, too. A panic is answered with `Error: internal
/// error`, and hurts neither the session nor other calls.
///
/// # Cancellation
///
/// Dropping a promise that was never awaited lets the call run to its end and discards the result.
/// Dropping one while it is awaited, as a timeout does, cancels the call at a Bowline peer: the
/// method's future is dropped at its next await, unless something else still waits for it or was
/// called through it. JavaScript peers run to the end either way.
///
/// # Forward and backward compatibility
///
/// Arguments are told apart by position. Those that a caller leaves out read as undefined, which is
/// `None` for an `Option` and an error for most other types; those that a method does not know are
/// ignored. So adding methods, adding optional arguments at the end, and whatever serde allows
/// inside the data is compatible in both directions; renaming, reordering and removing are not. The
/// order of the methods, the names of the arguments and the name of the trait do not matter.
///
/// `#[rpc(rest)]` on a last argument of type `Vec<T>` takes all arguments that are left, as
/// JavaScript's `...rest` does; on the reference it is an iterator.
///
/// # TypeScript
///
/// With the option `typescript` the interface describes itself, and `bowline::typescript` writes the
/// declarations that a browser's program imports. All types it mentions must do so, too: data by
/// `#[derive(bowline::TypeScript)]`, other interfaces by the same option.
///
/// ```
/// /// Counts.
/// #[bowline::interface(typescript)]
/// pub trait Counter {
///     /// Adds to the count and gives the new one.
///     async fn add(&self, by: Option<u64>) -> u64;
///     async fn watch(&self, changed: bowline::Func<u64, ()>) -> CounterRef;
/// }
///
/// assert!(bowline::typescript::<CounterRef>().ends_with(
///     r#"
/// import type { RpcStub, RpcTarget } from "capnweb";
///
/// /** Counts. */
/// export interface Counter extends RpcTarget {
///   /** Adds to the count and gives the new one. */
///   add(by?: number | null): Promise<number>;
///   watch(changed: (value: number) => void): Promise<RpcStub<Counter>>;
/// }
/// "#
/// ));
/// ```
///
/// # Example
///
/// ```no_run
/// use bowline::CallError;
/// use serde::{Deserialize, Serialize};
///
/// #[bowline::interface]
/// pub trait Directory {
///     async fn find(&self, id: u64) -> Result<Person, FindError>;
///     async fn count(&self, #[rpc(rest)] names: Vec<String>) -> usize;
///     #[rpc(get)]
///     async fn version(&self) -> String;
/// }
///
/// #[derive(Serialize, Deserialize, bowline::Pipeline)]
/// pub struct Person {
///     pub name: String,
///     pub boss: u64,
/// }
///
/// #[derive(Debug, thiserror::Error, bowline::RpcError)]
/// pub enum FindError {
///     #[error("there is no {id}")]
///     Unknown { id: u64 },
/// }
///
/// struct Staff(Vec<Person>);
///
/// impl Directory for Staff {
///     async fn find(&self, id: u64) -> Result<Person, FindError> {
///         let person = self.0.get(id as usize).ok_or(FindError::Unknown { id })?;
///         Ok(Person { name: person.name.clone(), boss: person.boss })
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
/// let directory = DirectoryRef::new(staff); // or `session.root()`, if it is a peer's
///
/// // Two calls, the second with a field of the first one's result: one round trip.
/// let boss = directory.find(directory.find(7).boss()).await?;
/// println!("{}", boss.name);
///
/// match directory.find(8).await {
///     Err(CallError::App(FindError::Unknown { id })) => println!("no {id}"),
///     other => println!("{}", other?.name),
/// }
/// # Ok(())
/// # }
/// ```
#[proc_macro_attribute]
pub fn interface(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemTrait);
    parse::interface(options.into(), item)
        .map_or_else(syn::Error::into_compile_error, |interface| interface::render(&interface))
        .into()
}

/// Makes a struct durable: an object that another process can make again, from its fields.
///
/// ```
/// use bowline::{Durable, RestoreError, Restorer, Restorers};
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
///     /// The bank: state and connections are no part of a recipe.
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
/// let restorers = Restorers::new().with(Restorer::of::<Ledger, _, _, _>({
///     let bank = bank.clone();
///     move |ctx, params: LedgerParams| {
///         let bank = bank.clone();
///         async move {
///             if params.owner != ctx.principal() {
///                 return Err(RestoreError::PermissionDenied);
///             }
///             Ok(AccountRef::durable(params.restore(bank)))
///         }
///     }
/// }));
/// assert!(restorers.knows("account"));
/// let ledger = Ledger { owner: "ann".to_owned(), number: 7, bank };
/// assert_eq!(ledger.recipe().restorer(), "account");
/// ```
///
/// # What is generated
///
/// - `Durable` for the struct. The recipe names the restorer and its version, and holds a copy of
///   every field that is not under `#[durable(skip)]`. So these fields are `Clone`, and serde's
///   `Serialize` and `Deserialize`; they are data, references to durable objects, or references
///   to objects of the peer's.
/// - A struct `LedgerParams` of the same fields, with the visibility of each. Attributes of serde
///   on a field, and documentation, go there too.
/// - `LedgerParams::restore`, which puts the struct together again; the fields that were left out
///   are its arguments, in their order.
/// - `Restorable` for the struct, so that `Restorer::of` finds name, version and parameters.
///
/// Whenever the form of the fields changes, `version` rises, and the restorer gets a step:
/// `Restorer::migrate`. A field that is new and has `#[serde(default)]` needs none.
#[proc_macro_attribute]
pub fn durable(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    durable::expand(options.into(), item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes the fields of a struct usable before it has arrived: a promise of it has a method for
/// each, which returns a promise of the field.
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
///     person.boss() // nothing is sent until it is used
/// }
/// ```
///
/// # What is generated
///
/// A struct `PersonPipelined`, to which a promise of the struct derefs. Its methods have the names
/// and the visibility of the fields.
///
/// # Naming
///
/// On the wire a field has the name that serde gives it: `rename` and `rename_all` are honoured
/// (where they differ by direction, that of serialising). Fields under `serde(skip)` and
/// `#[rpc(skip)]` get no method.
///
/// Only structs with named fields have it. A flattened field and one with a serialiser of its own
/// must be left out with `#[rpc(skip)]`, since what is on the wire is not the field.
///
/// # Errors
///
/// The promise of a field fails as that of the struct does. Since the error comes from another call
/// than the one awaited, it is always `CallError::Remote`, which has `downcast`.
#[proc_macro_derive(Pipeline, attributes(rpc, serde))]
pub fn derive_pipeline(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    pipeline::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Tells TypeScript the form of a struct or an enum, for [`bowline::typescript`]
/// (`typescript::<DirectoryRef>()` writes the `.d.ts` of an interface and all that it mentions).
///
/// ```
/// /// What happened to a task.
/// #[derive(serde::Serialize, serde::Deserialize, bowline::TypeScript)]
/// #[serde(tag = "kind", rename_all = "camelCase")]
/// enum Change {
///     /// There is one more.
///     Added { id: u64, title: String, due: Option<bowline::Date> },
///     Cleared,
/// }
///
/// assert!(bowline::typescript::<Change>().ends_with(
///     r#"
/// /** What happened to a task. */
/// export type Change =
///   /** There is one more. */
///   | { kind: "added"; id: number; title: string; due?: Date | null }
///   | { kind: "cleared" };
/// "#
/// ));
/// ```
///
/// # What is told
///
/// - **The form that serde gives the type**: `rename`, `rename_all`, `rename_all_fields`, `tag`,
///   `content`, `untagged`, `flatten`, `transparent`, `into` and the `skip`s are honoured (where
///   names differ by direction, those of serialising).
/// - What may be left out is marked so: an `Option`, and a field with a `default` or that is
///   skipped in one direction or sometimes. That holds for what is sent and for what is received.
/// - Under `with = "bowline::bigint"` a field is a `bigint`, under `with = "bowline::date"` a `Date`,
///   under `with = "serde_bytes"` a `Uint8Array`. For any other `with`, and for a type that is not
///   ours, `#[typescript(type = "string")]` on the field, or on the type, says what it is.
/// - Documentation is carried over.
///
/// [`bowline::typescript`]: https://docs.rs/bowline/latest/bowline/fn.typescript.html
#[proc_macro_derive(TypeScript, attributes(typescript, serde))]
pub fn derive_typescript(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    typescript::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an error type one that crosses the wire, as a JavaScript error, and is the same again at
/// the caller.
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
///     pub code: Option<String>,
/// }
/// ```
///
/// # What crosses the wire
///
/// - **The name** is that of the variant, or of the struct; `#[rpc(name = "…")]` says otherwise.
///   JavaScript knows its own error classes (`RangeError`, `TypeError`, …) by name, and takes any
///   other for an `Error`.
/// - **The message** is what `Display` writes. The type needs no `Serialize`.
/// - **The properties** are the fields, under the names that serde would give them or
///   `#[rpc(name = "…")]` on the field does. Their types are `Serialize` and `Deserialize`.
///   A value that can not be encoded is left out.
/// - **The cause** is the field with `#[rpc(cause)]`, whose type is an `RpcError` too.
/// - A field that thiserror takes for the source (`#[source]`, `#[from]`, or the name `source`) and
///   that is no `#[rpc(cause)]` **stays here**: what a database has to say is not for callers. The
///   caller gets name, message and the other properties, as `CallError::Remote`.
/// - `#[rpc(message)]` marks a field that the message consists of: it is read back from it, through
///   `From<&str>`. `#[rpc(skip)]` leaves a field out; the caller finds the default of its type.
///
/// # Errors
///
/// An error that arrives is compared by name, then each property must fit its field; a property
/// that is missing reads as undefined, so `None` for an `Option`. What fits no variant is
/// `CallError::Remote`, so adding variants and adding optional fields is compatible.
#[proc_macro_derive(RpcError, attributes(rpc, serde))]
pub fn derive_rpc_error(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    error::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
