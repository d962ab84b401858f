//! The TypeScript declarations of an interface, as text and as TypeScript's compiler reads them:
//! `tests/typescript/client.ts` uses them with the official package, correctly and incorrectly.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use bowline::value::{BigInt, Blob, Date};
use bowline::{Bytes, Func, Reader, Stub, Value, Writer};
use serde::{Deserialize, Serialize};

use crate::tsc;

/// A directory of people.
///
/// All clients share it.
#[bowline::interface(typescript)]
trait Directory {
    /// Returns the account that the token belongs to.
    async fn authenticate(&self, token: String) -> Result<AccountRef, TokenError>;
    async fn profile(&self, id: u64, note: Option<String>) -> Result<Profile, ProfileError>;
    /// The subscription ends when the handle is disposed.
    async fn watch(&self, request: Watch, sink: SinkRef) -> Result<HandleRef, ProfileError>;
    async fn each(&self, r#function: Func<Event, ()>);
    async fn fold(&self, with: Func<(u64, Option<Event>), Option<u64>>) -> u64;
    async fn friends(&self) -> Vec<AccountRef>;
    async fn adopt(&self, account: AccountRef, #[rpc(rest)] ids: Vec<u64>);
    async fn find(&self, first: Option<u64>, page_size: u32) -> Page<Event>;
    async fn find_people(&self, last: Option<u64>) -> Page<Option<AccountRef>>;
    async fn raw(&self, bytes: Bytes, when: Date, number: BigInt) -> HashMap<String, Bytes>;
    async fn anything(&self, value: Value) -> Value;
    async fn object(&self) -> Stub;
    async fn upload(&self, bytes: Reader<Bytes>) -> Reader<Option<Event>>;
    async fn picture(&self, of: Blob) -> Option<Blob>;
    async fn log(&self) -> Writer<String>;
    async fn shapes(&self, level: Level, shape: Shape, plain: Plain) -> (Outside, Adjacent);
    #[rpc(get)]
    async fn version(&self) -> String;
    #[rpc(get, name = "main-account")]
    async fn main_account(&self) -> Result<AccountRef, TokenError>;
}

#[bowline::interface(typescript)]
trait Account {
    async fn me(&self) -> Profile;
    async fn directory(&self) -> DirectoryRef;
}

#[bowline::interface(typescript)]
trait Handle {}

/// Implemented by clients.
#[bowline::interface(typescript)]
trait Sink {
    async fn push(&self, event: Event);
    async fn accept(&self, account: AccountRef) -> bool;
}

/// A person.
#[derive(Serialize, Deserialize, bowline::Pipeline, bowline::TypeScript)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only declared in TypeScript")]
struct Profile {
    /// Unique.
    id: u64,
    first_name: String,
    #[serde(rename = "chief")]
    boss: Option<u64>,
    account: AccountRef,
    tags: HashMap<String, String>,
    #[serde(default)]
    nick_names: BTreeSet<String>,
    #[serde(with = "bowline::bigint")]
    balance: i128,
    #[serde(skip)]
    cached: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    likes: Vec<Self>,
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
struct Watch {
    topic: String,
    #[serde(flatten)]
    how: How,
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum How {
    /// Calls back for each event.
    PushEach {
        call_back: Func<Event, ()>,
    },
    Poll,
    As(Plan),
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
struct Plan {
    every: UserId,
    r#in: Option<Level>,
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
struct UserId(u32);

#[derive(Serialize, Deserialize, bowline::TypeScript)]
#[expect(dead_code, reason = "only declared in TypeScript")]
#[serde(rename_all = "kebab-case")]
enum Level {
    VeryLow,
    High,
    #[serde(skip)]
    Unknown,
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
struct Event {
    text: String,
    from: Option<AccountRef>,
    #[typescript(type = "\"a\" | \"b\"")]
    letter: char,
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
struct Page<T> {
    items: Vec<T>,
    next: Option<u64>,
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
enum Outside {
    Nothing,
    Number(f64),
    Pair(u8, Option<String>),
    Named { a: bool },
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Nothing,
    Number(f64),
    Pair(u8, [f32; 2]),
    Named { a: bool },
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
#[serde(untagged)]
enum Shape {
    Number(f64),
    Named { a: bool },
    List(Vec<Option<Self>>),
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
struct Plain;

#[derive(Debug, thiserror::Error, bowline::RpcError)]
#[error("bad token")]
struct TokenError;

#[derive(Debug, thiserror::Error, bowline::RpcError)]
enum ProfileError {
    #[error("there is no {id}")]
    NoUser { id: u64, like: Vec<String> },
    #[error("{0}")]
    #[rpc(name = "RangeError")]
    Range(#[rpc(message)] String),
}

/// The folder of the declarations. They are stored as `.ts`, because the compiler ignores mistakes in `.d.ts`
/// files.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/typescript");

#[test]
fn declarations_are_unchanged() {
    let text = bowline::typescript::declarations::<DirectoryRef>();
    assert_eq!(text, bowline::typescript::declarations::<DirectoryRef>());
    let file = Path::new(FOLDER).join("directory.ts");
    if std::env::var_os("BOWLINE_BLESS").is_some() {
        std::fs::write(&file, &text).expect("directory.ts is writable");
    }
    let stored = std::fs::read_to_string(&file).expect("directory.ts is readable");
    assert_eq!(text, stored, "BOWLINE_BLESS=1 rewrites {}; read the diff", file.display());
}

#[test]
fn compiler_accepts_correct_uses_and_refuses_incorrect_ones() {
    tsc::compile(FOLDER);
}

#[test]
fn declarations_of_plain_data_import_nothing() {
    let text = bowline::typescript::declarations::<Level>();
    assert_eq!(
        text,
        "// Written by Bowline from Rust, for `Level`; changes belong there.\n\nexport type Level = \"very-low\" | \"high\";\n"
    );
}

/// Names that TypeScript defines itself, and one name for two types.
mod names {
    #[derive(bowline::TypeScript)]
    #[expect(dead_code, reason = "only declared in TypeScript")]
    pub(super) struct Request {
        pub(super) other: other::Date,
        pub(super) own: Date,
    }

    #[derive(bowline::TypeScript)]
    #[expect(dead_code, reason = "only declared in TypeScript")]
    pub(super) struct Date(pub(super) bowline::value::Date);

    pub(super) mod other {
        #[derive(bowline::TypeScript)]
        #[expect(dead_code, reason = "only declared in TypeScript")]
        pub(crate) struct Date {
            pub(crate) at: bowline::value::Date,
        }
    }
}

#[test]
fn types_with_the_same_name_are_distinguished() {
    let text = bowline::typescript::declarations::<names::Request>();
    assert!(text.contains("interface Request2 {\n  other: Date2;\n  own: Date3;\n}"), "{text}");
    assert!(text.contains("interface Date2 {\n  at: Date;\n}"), "{text}");
    assert!(text.contains("type Date3 = Date;"), "{text}");
}
