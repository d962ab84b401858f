//! The generated code of the macros, used over a real session. This file imports nothing that generated code
//! could rely on, and `hygiene` shadows even the prelude.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bowline::error::Never;
use bowline::interface::MemberKind;
use bowline::testing::{Pair, pair};
use bowline::{CallError, Promise, Reference, Value};

mod errors;

/// A directory of people.
#[bowline::interface]
pub(crate) trait Directory {
    async fn authenticate(&self, token: String) -> Result<AccountRef, TokenError>;
    async fn profile(&self, id: u64) -> Result<Profile, ProfileError>;
    #[rpc(get)]
    async fn version(&self) -> String;
    #[rpc(get, name = "secret")]
    async fn hidden(&self) -> Result<u64, TokenError>;
    async fn arg_count(&self, #[rpc(rest)] values: Vec<Value>) -> usize;
    async fn label(&self, of: String, #[rpc(rest)] parts: Vec<u64>) -> String;
    async fn greet(&self, name: String, greeting: Option<String>) -> String;
    async fn watch(&self, request: Watch) -> u64;
    async fn nothing(&self);
    async fn twice(&self, n: u64) -> u64 {
        n * 2
    }
    #[rpc(name = "type")]
    async fn r#type(&self) -> String;
}

/// An account that counts its uses.
#[bowline::interface]
pub(crate) trait Account {
    async fn me(self: Arc<Self>) -> Result<u64, Never>;
    async fn itself(self: Arc<Self>) -> AccountRef;
}

#[derive(serde::Serialize, serde::Deserialize, bowline::Pipeline)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile {
    pub(crate) id: u64,
    pub(crate) first_name: String,
    #[serde(rename = "chief")]
    pub(crate) boss: u64,
    pub(crate) account: Option<AccountRef>,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Watch {
    topic: String,
    #[serde(flatten)]
    how: How,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum How {
    Ask { account: AccountRef },
    Poll,
}

#[derive(Debug, PartialEq, thiserror::Error, bowline::RpcError)]
pub(crate) enum ProfileError {
    #[error("there is no {user_id}")]
    #[serde(rename_all = "camelCase")]
    NoUser { user_id: u64, hint: Option<String> },
    #[error("{0}")]
    #[rpc(name = "RangeError")]
    TooLarge(#[rpc(message)] String),
    #[error("the token is not valid")]
    Token(
        #[from]
        #[rpc(cause)]
        TokenError,
    ),
    #[error("the directory is empty")]
    Empty,
    #[error("the disk is gone")]
    Disk {
        #[source]
        source: Opaque,
        number: u64,
    },
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("secret path /var/lib")]
pub(crate) struct Opaque;

#[derive(Debug, PartialEq, thiserror::Error, bowline::RpcError)]
#[error("bad token")]
pub(crate) struct TokenError {
    #[rpc(name = "why")]
    reason: String,
}

fn bad_token() -> TokenError {
    TokenError { reason: "too old".to_owned() }
}

struct Staff;

impl Directory for Staff {
    async fn authenticate(&self, token: String) -> Result<AccountRef, TokenError> {
        if token == "good" { Ok(AccountRef::new(Used::default())) } else { Err(bad_token()) }
    }

    async fn profile(&self, id: u64) -> Result<Profile, ProfileError> {
        match id {
            0 => Err(ProfileError::Empty),
            100 => Err(ProfileError::NoUser { user_id: id, hint: None }),
            101 => Err(ProfileError::TooLarge("101 is too large".to_owned())),
            102 => Err(bad_token().into()),
            103 => Err(ProfileError::Disk { source: Opaque, number: 5 }),
            _ => {
                let account = Some(AccountRef::new(Used::default()));
                Ok(Profile { id, first_name: format!("P{id}"), boss: id + 1, account })
            }
        }
    }

    async fn version(&self) -> String {
        "1.0".to_owned()
    }

    async fn hidden(&self) -> Result<u64, TokenError> {
        Err(bad_token())
    }

    async fn arg_count(&self, values: Vec<Value>) -> usize {
        values.len()
    }

    async fn label(&self, of: String, parts: Vec<u64>) -> String {
        format!("{of}{parts:?}")
    }

    async fn greet(&self, name: String, greeting: Option<String>) -> String {
        format!("{}, {name}", greeting.as_deref().unwrap_or("Hello"))
    }

    async fn watch(&self, request: Watch) -> u64 {
        match request.how {
            How::Ask { account } => account.me().await.expect("the callback succeeds"),
            How::Poll => request.topic.len() as u64,
        }
    }

    async fn nothing(&self) {}

    async fn r#type(&self) -> String {
        "directory".to_owned()
    }
}

#[derive(Default)]
struct Used(AtomicU64);

impl Account for Used {
    async fn me(self: Arc<Self>) -> Result<u64, Never> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    async fn itself(self: Arc<Self>) -> AccountRef {
        AccountRef::from_arc(self)
    }
}

/// Returns a reference of a client, and the session through which it calls.
fn connected() -> (DirectoryRef, Pair) {
    let directory = DirectoryRef::new(Staff);
    let pair = pair(None, Some(directory.stub().clone()));
    (pair.left.root(), pair)
}

#[tokio::test]
async fn dependent_calls_take_one_round_trip() {
    let (api, pair) = connected();
    let me = api.authenticate("good").me();
    let boss = api.profile(&me).await.expect("the person exists");
    assert_eq!((boss.id, boss.first_name.as_str()), (1, "P1"));
    assert_eq!(
        pair.wire.log()[..5],
        [
            r#"> ["push",["pipeline",0,["authenticate"],["good"]]]"#,
            r#"> ["push",["pipeline",1,["me"],[]]]"#,
            r#"> ["release",1,1]"#,
            r#"> ["push",["pipeline",0,["profile"],[["pipeline",2]]]]"#,
            r#"> ["pull",3]"#,
        ]
    );
}

#[tokio::test]
async fn fields_of_a_pending_result_are_promises_under_their_wire_names() {
    let (api, pair) = connected();
    let me = api.profile(7);
    let chief = api.profile(me.boss());
    let used = me.account().me().await.expect("an optional reference can be called through");
    assert_eq!(used, 1);
    assert_eq!(chief.await.expect("the person exists").id, 8);
    assert_eq!(me.first_name().await.expect("the field exists"), "P7");
    let log = pair.wire.log().join("\n");
    assert!(log.contains(r#"["pipeline",1,["chief"]]"#), "{log}");
    assert!(log.contains(r#"["pipeline",1,["firstName"]]"#), "{log}");
}

#[tokio::test]
async fn properties_are_read_not_called() {
    let (api, pair) = connected();
    assert_eq!(api.version().await.expect("the property is readable"), "1.0");
    assert!(pair.wire.log()[0].contains(r#"["pipeline",0,["version"]]"#), "{:?}", pair.wire.log());
    let secret = api.hidden().await;
    assert!(matches!(secret, Err(CallError::App(TokenError { reason })) if reason == "too old"));
    let stub = api.stub();
    assert!(stub.call("version", ()).await.is_err(), "a property was called");
}

/// An interface with the names of `Promise`'s own functions.
#[bowline::interface]
trait Shadow {
    async fn stub(&self) -> ShadowRef;
    async fn timeout(&self) -> u64;
    async fn idempotent(&self) -> u64;
}

struct Shade;

impl Shadow for Shade {
    async fn stub(&self) -> ShadowRef {
        ShadowRef::new(Self)
    }
    async fn timeout(&self) -> u64 {
        1
    }
    async fn idempotent(&self) -> u64 {
        2
    }
}

#[tokio::test]
async fn promise_hides_no_method_of_the_interface() {
    let pair = pair(None, Some(ShadowRef::new(Shade).stub.clone()));
    let shadow = pair.left.root::<ShadowRef>().stub();
    assert_eq!(shadow.stub().timeout().await.expect("the call succeeds"), 1);
    assert_eq!(Promise::idempotent(shadow.idempotent()).await.expect("the call succeeds"), 2);
    let within = Promise::timeout(shadow.timeout(), std::time::Duration::from_secs(5));
    assert_eq!(within.await.expect("the call succeeds"), 1);
    let pushes = pair.wire.log().iter().filter(|line| line.contains("push")).count();
    assert_eq!(pushes, 5, "one for each call");
}

#[tokio::test]
async fn rest_arguments_are_spread() {
    let (api, pair) = connected();
    assert_eq!(api.arg_count([]).await.expect("the call succeeds"), 0);
    assert_eq!(api.arg_count([Value::Null, Value::Bool(true)]).await.expect("the call succeeds"), 2);
    assert_eq!(api.label("x", [1, 2, 3]).await.expect("the call succeeds"), "x[1, 2, 3]");
    assert!(pair.wire.log().iter().any(|line| line.contains(r#"["label"],["x",1,2,3]"#)));
    assert_eq!(
        api.stub().call("argCount", (1, "b", Value::Undefined)).await.expect("the call succeeds"),
        Value::Number(3.0)
    );
    let refused = api.stub().call("label", ()).await.expect_err("the first argument is required");
    assert_eq!(refused.remote().expect("the error comes from the peer").name(), "TypeError");
}

#[tokio::test]
async fn missing_arguments_are_undefined_and_additional_ones_ignored() {
    let (api, _pair) = connected();
    let greet = |args: Vec<&'static str>| {
        let stub = api.stub().clone();
        async move {
            match args[..] {
                [a] => stub.call("greet", (a,)).await,
                [a, b] => stub.call("greet", (a, b)).await,
                _ => stub.call("greet", (args[0], args[1], args[2])).await,
            }
        }
    };
    for (args, said) in
        [(vec!["Ann"], "Hello, Ann"), (vec!["Ann", "Hi"], "Hi, Ann"), (vec!["Ann", "Hi", "x"], "Hi, Ann")]
    {
        assert_eq!(greet(args).await.expect("the call succeeds"), Value::String(said.to_owned()));
    }
    assert_eq!(api.greet("Bo", None).await.expect("the call succeeds"), "Hello, Bo");
}

#[tokio::test]
async fn arguments_of_the_wrong_type_are_a_type_error() {
    let (api, _pair) = connected();
    let wrong = api.stub().call("profile", ("seven",)).await.expect_err("the argument is not a number");
    assert_eq!(wrong.remote().expect("the error comes from the peer").name(), "TypeError");
    let unknown = api.stub().call("getProfile", (7,)).await.expect_err("the method does not exist");
    assert_eq!(unknown.remote().expect("the error comes from the peer").message(), "'getProfile' is not a function.");
}

#[tokio::test]
async fn references_in_data_refer_to_the_same_object() {
    let (api, _pair) = connected();
    let account = AccountRef::new(Used::default());
    let ask = |account: &AccountRef| Watch { topic: "t".to_owned(), how: How::Ask { account: account.clone() } };
    assert_eq!(api.watch(ask(&account)).await.expect("the call succeeds"), 1);
    assert_eq!(api.watch(ask(&account)).await.expect("the call succeeds"), 2);
    assert_eq!(account.me().await.expect("a local reference can be called"), 3);
    assert_eq!(account.itself().itself().me().await.expect("the object returns itself"), 4);
    assert_eq!(api.watch(Watch { topic: "four".to_owned(), how: How::Poll }).await.expect("the call succeeds"), 4);
}

#[tokio::test]
async fn default_methods_raw_identifiers_and_unit_results_work() {
    let (api, _pair) = connected();
    assert_eq!(api.twice(21).await.expect("the default method runs"), 42);
    assert_eq!(api.r#type().await.expect("the method is called `type`"), "directory");
    api.nothing().await.expect("a method may return nothing");
}

#[test]
fn interface_lists_its_members() {
    let interface = DirectoryRef::INTERFACE;
    assert_eq!(interface.name, "Directory");
    let member = |name: &str| interface.members.iter().find(|member| member.name == name).expect("the member exists");
    assert_eq!((member("version").kind, member("secret").kind), (MemberKind::Property, MemberKind::Property));
    assert_eq!((member("argCount").kind, member("argCount").args), (MemberKind::Method, &["...values"][..]));
    assert_eq!(member("label").args, ["of", "...parts"]);
    assert_eq!(member("type").args, [""; 0]);
    assert_eq!(interface.members.len(), 11);
}

/// A generic store of values.
#[bowline::interface]
pub(crate) trait Store<T> {
    async fn put(&self, key: String, value: T) -> Option<T>;
}

struct Kept<T>(std::sync::Mutex<Option<T>>);

impl<T: Send + 'static> Store<T> for Kept<T> {
    async fn put(&self, _key: String, value: T) -> Option<T> {
        self.0.lock().expect("the lock is not poisoned").replace(value)
    }
}

#[tokio::test]
async fn interfaces_can_be_generic() {
    let store = StoreRef::<String>::new(Kept(std::sync::Mutex::new(None)));
    let pair = pair(None, Some(store.stub().clone()));
    let store: StoreRef<String> = pair.left.root();
    assert_eq!(store.put("k", "one").await.expect("the call succeeds"), None);
    assert_eq!(store.put("k", "two").await.expect("the call succeeds").as_deref(), Some("one"));
    let references = StoreRef::<AccountRef>::new(Kept(std::sync::Mutex::new(None)));
    let first = references.put("k", AccountRef::new(Used::default()));
    assert!(first.await.expect("the call succeeds").is_none());
    let back = references.put("k", AccountRef::new(Used::default()));
    assert_eq!(back.me().await.expect("the stored reference can be called"), 1);
}

#[test]
fn public_types_are_send_sync_and_static() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<DirectoryRef>();
    anywhere::<StoreRef<std::cell::Cell<u8>>>();
    anywhere::<ProfilePipelined>();
    anywhere::<Promise<Profile, ProfileError>>();
    assert!(format!("{:?}", DirectoryRef::new(Staff)).starts_with("DirectoryRef(Stub("));
}

#[test]
fn reference_wraps_its_stub() {
    let stub = DirectoryRef::new(Staff).stub().clone();
    assert!(DirectoryRef::from_stub(stub.clone()).stub().ptr_eq(&stub));
}

macro_rules! doubling {
    ($trait:ident, $method:ident) => {
        #[bowline::interface]
        trait $trait {
            async fn $method(&self, n: u64) -> u64 {
                self.factor().await * n
            }
            async fn factor(&self) -> u64 {
                2
            }
        }
    };
}

doubling!(Doubling, double);

#[tokio::test]
async fn macro_rules_can_declare_interfaces() {
    struct Twice;
    impl Doubling for Twice {}
    assert_eq!(DoublingRef::new(Twice).double(4).await.expect("the default method runs"), 8);
}

/// Shadows every name that generated code could rely on.
mod hygiene {
    #![allow(
        dead_code,
        non_camel_case_types,
        clippy::upper_case_acronyms,
        reason = "the names shadow those of the standard library"
    )]

    struct Option;
    struct Some;
    struct None;
    struct Ok;
    struct Err;
    struct Box;
    struct Vec;
    struct String;
    struct Arc;
    struct Promise;
    struct Stub;
    trait Send {}
    trait Sync {}
    trait Clone {}
    trait Default {}
    trait From {}
    trait Into {}
    trait Iterator {}
    trait IntoIterator {}
    trait Future {}
    trait Serialize {}
    mod std {}
    mod core {}
    mod serde {}
    mod bowline {}

    #[::bowline::interface]
    trait Hygiene {
        async fn self_made(&self, args: u64, method: u64, error: u64, #[rpc(rest)] rest: ::std::vec::Vec<u64>) -> u64;
        #[rpc(get)]
        async fn property(&self) -> u64;
    }

    #[derive(::serde::Serialize, ::serde::Deserialize, ::bowline::Pipeline)]
    struct Data<T> {
        id: u64,
        of: T,
    }

    #[derive(Debug, ::thiserror::Error, ::bowline::RpcError)]
    enum Broken {
        #[error("a")]
        A { error: u64, value: u64, parts: u64 },
        #[error("{0}")]
        B(#[rpc(message)] ::std::string::String),
        #[error("c")]
        C(#[rpc(skip)] u64),
    }

    #[derive(Debug, ::thiserror::Error, ::bowline::RpcError)]
    enum Impossible {}
}
