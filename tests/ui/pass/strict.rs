//! Generated code causes no warnings under strict lints.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, unused_qualifications)]
#![deny(elided_lifetimes_in_paths, single_use_lifetimes, trivial_casts, unused_lifetimes, unnameable_types)]

/// A profile.
#[derive(Debug, serde::Serialize, serde::Deserialize, bowline::Pipeline)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Id.
    pub id: u64,
    /// Name.
    pub first_name: String,
    /// Boss.
    #[serde(rename = "chief")]
    pub boss: u64,
    secret: u8,
}
/// Page.
#[derive(Debug, serde::Serialize, serde::Deserialize, bowline::Pipeline)]
pub struct Page<T>
where
    T: Clone,
{
    /// Items.
    pub items: Vec<T>,
}

/// Errors.
#[derive(Debug, thiserror::Error, bowline::RpcError)]
pub enum ApiError {
    /// A.
    #[error("no user {id}")]
    NoUser {
        /// id
        id: u64,
    },
    /// B.
    #[error("{0}")]
    #[rpc(name = "RangeError")]
    Range(#[rpc(message)] String),
    /// C.
    #[error("db")]
    Db(#[from] std::io::Error),
    /// D.
    #[error("token")]
    Token(
        #[from]
        #[rpc(cause)]
        TokenError,
    ),
    /// E.
    #[error("gone")]
    Gone,
}
/// Bad token.
#[derive(Debug, thiserror::Error, bowline::RpcError)]
#[error("bad")]
pub struct TokenError {
    /// w
    pub why: Option<String>,
}

/// A directory.
#[bowline::interface]
pub trait Directory {
    /// Makes.
    async fn authenticate(&self, token: String) -> Result<DirectoryRef, ApiError>;
    /// Profile.
    async fn profile(&self, id: u64) -> Result<Profile, ApiError>;
    /// Version
    #[rpc(get)]
    async fn version(&self) -> String;
    /// Count.
    async fn arg_count(&self, #[rpc(rest)] values: Vec<u64>) -> usize;
    /// Held
    async fn call_held(&self, key: String, then: u8, #[rpc(rest)] values: Vec<u64>) -> usize;
    /// Nothing.
    async fn nothing(&self);
    /// This.
    async fn myself(self: std::sync::Arc<Self>) -> DirectoryRef;
    /// Default.
    async fn maybe(&self, a: u8, b: Option<String>) -> Result<(), ApiError> {
        let _ = (a, b);
        Ok(())
    }
    /// Raw
    #[deprecated]
    async fn r#type(&self, a: u8) -> u8;
    /// Conditional
    #[cfg(any())]
    async fn cond(&self, a: Nothing) -> u8;
    /// Len
    async fn len(&self) -> u64;
    /// Deref
    #[rpc(name = "Deref!")]
    async fn deref(&self) -> u64;
}

/// Empty.
#[bowline::interface]
pub trait Handle {}

#[bowline::interface]
trait Private {
    async fn quiet(&self, n: u64) -> u64;
}

/// Store.
#[bowline::interface]
pub trait Store<T: Clone = String>
where
    T: std::fmt::Debug,
{
    /// Get
    async fn load(&self, key: String) -> Option<T>;
    /// Put
    async fn put(&self, key: String, value: T) -> Result<bool, ApiError>;
}

struct Dir;
impl Directory for Dir {
    async fn authenticate(&self, token: String) -> Result<DirectoryRef, ApiError> {
        let _ = token;
        Ok(DirectoryRef::new(Self))
    }
    async fn profile(&self, id: u64) -> Result<Profile, ApiError> {
        Err(ApiError::NoUser { id })
    }
    async fn version(&self) -> String {
        String::new()
    }
    async fn arg_count(&self, values: Vec<u64>) -> usize {
        values.len()
    }
    async fn call_held(&self, key: String, then: u8, values: Vec<u64>) -> usize {
        let _ = (key, then);
        values.len()
    }
    async fn nothing(&self) {}
    async fn myself(self: std::sync::Arc<Self>) -> DirectoryRef {
        DirectoryRef::from_arc(self)
    }
    async fn r#type(&self, a: u8) -> u8 {
        a
    }
    async fn len(&self) -> u64 {
        0
    }
    async fn deref(&self) -> u64 {
        0
    }
}
struct Mem;
impl<T: Clone + std::fmt::Debug + Send + 'static> Store<T> for Mem {
    async fn load(&self, key: String) -> Option<T> {
        let _ = key;
        None
    }
    async fn put(&self, key: String, value: T) -> Result<bool, ApiError> {
        let _ = (key, value);
        Ok(true)
    }
}
async fn user() -> Option<u64> {
    let api = DirectoryRef::new(Dir);
    let me = api.authenticate("x").profile(7);
    let boss = api.profile(me.boss()).await.ok()?;
    let _ = me.secret();
    let _ = api.arg_count([1, 2]).await;
    let _ = api.call_held("x", 1, [1, 2]).await;
    let store: StoreRef<String> = StoreRef::new(Mem);
    let _ = store.put("k", "v").await;
    let s: StoreRef = store.clone();
    let _ = s.load("x").await.ok()?;
    Some(boss.id)
}
fn local() {
    #[bowline::interface]
    trait Inner {
        async fn quiet(&self, n: u64) -> u64;
    }
    struct X;
    impl Inner for X {
        async fn quiet(&self, n: u64) -> u64 {
            n
        }
    }
    let _ = InnerRef::new(X);
}

fn main() {
    local();
    drop(user());
}
