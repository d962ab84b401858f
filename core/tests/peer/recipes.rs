//! Durable objects that are stored alone: recipes, restorers, versions, and refusals.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::generated::TypedCalls;
use bowline_core::peer::{
    Args, CallError, Member, Never, NotDurable, Object, Recipe, Repeat, Reply, RestoreCtx, RestoreError, Restorer,
    Restorers, StoredRecipe, Stub, reply,
};
use serde::{Deserialize, Serialize};

use crate::objects::{method, now, repeatable};

/// The current permissions.
#[derive(Default)]
pub(crate) struct Policy {
    pub(crate) withdrawn: Mutex<HashSet<String>>,
    pub(crate) made: AtomicUsize,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AccountKey {
    pub(crate) owner: String,
    pub(crate) parent: Option<Stub>,
}

pub(crate) struct Account(pub(crate) AccountKey);

impl Account {
    pub(crate) fn reference(owner: &str, parent: Option<Stub>) -> Stub {
        let key = AccountKey { owner: owner.to_owned(), parent };
        let recipe = Recipe::new("account", 2, &key);
        Stub::durable(Self(key), recipe)
    }
}

impl Object for Account {
    fn interface(&self) -> &'static str {
        "Account"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[repeatable("owner", Repeat::Idempotent), method("parent")];
        MEMBERS
    }

    fn call(self: Arc<Self>, method: &str, _: Args) -> Option<Reply> {
        match method {
            "owner" => now(self.0.owner.clone()),
            "parent" => now(self.0.parent.clone()),
            _ => None,
        }
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

/// Creates the current restorers: accounts of version 2, which were bare names in version 1.
pub(crate) fn restorers(policy: &Arc<Policy>) -> Arc<Restorers> {
    let policy = Arc::clone(policy);
    let account = Restorer::new("account", 2, move |ctx: RestoreCtx, key: AccountKey| {
        let policy = Arc::clone(&policy);
        async move {
            if policy.withdrawn.lock().unwrap().contains(ctx.principal()) {
                return Err(RestoreError::PermissionDenied.into());
            }
            policy.made.fetch_add(1, Ordering::SeqCst);
            Ok(Account::reference(&key.owner, key.parent))
        }
    });
    let account = account.migrate(1, |owner: String| Ok(AccountKey { owner, parent: None }));
    let slow = Restorer::new("slow", 1, |_, ()| async { std::future::pending::<Result<Stub, _>>().await });
    let broken = Restorer::new("broken", 1, |_, ()| async { Err::<Stub, _>("no".parse::<u32>().unwrap_err().into()) });
    let refuses = Restorer::new("refuses", 1, |_, ()| async {
        Err::<Stub, _>(Unloadable { source: RestoreError::PermissionDenied }.into())
    });
    let panics = Restorer::new("panics", 1, |_, ()| async { panic!("in a restorer") as Result<Stub, _> });
    Arc::new(Restorers::new().with(account).with(slow).with(broken).with(refuses).with(panics))
}

pub(crate) fn ctx(principal: &str) -> RestoreCtx {
    RestoreCtx::new("s_1", principal, "tests")
}

async fn owner(stub: &Stub) -> Result<String, CallError> {
    stub.call_typed("owner", &()).await
}

fn stored(name: &str, version: u32, params: &str) -> StoredRecipe {
    serde_json::from_value(serde_json::json!({"r": name, "v": version, "p": params})).unwrap()
}

/// A failure of the application that has a refusal as its cause.
#[derive(Debug, thiserror::Error)]
#[error("the object cannot be loaded")]
struct Unloadable {
    source: RestoreError,
}

#[tokio::test]
async fn refusal_that_is_the_cause_of_an_error_is_a_refusal() {
    let restorers = restorers(&Arc::default());
    let refused = owner(&restorers.restore(&ctx("ann"), &stored("refuses", 1, "null"))).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::PermissionDenied));
    let failed = owner(&restorers.restore(&ctx("ann"), &stored("broken", 1, "null"))).await.unwrap_err();
    assert_eq!(failed.code(), Some(ErrorCode::RestoreFailed));
}

#[tokio::test]
async fn restorer_reauthorizes_and_migrates() {
    let policy = Arc::new(Policy::default());
    let restorers = restorers(&policy);
    let old = stored("account", 1, r#""ann""#);
    let account = restorers.restore(&ctx("ann"), &old);
    assert_eq!(owner(&account).await.unwrap(), "ann");

    policy.withdrawn.lock().unwrap().insert("ann".to_owned());
    let refused = owner(&restorers.restore(&ctx("ann"), &old)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::PermissionDenied));
    assert_eq!(policy.made.load(Ordering::SeqCst), 1, "a refused object is not created");
    assert_eq!(owner(&restorers.restore(&ctx("bob"), &old)).await.unwrap(), "ann");
}

#[tokio::test]
async fn object_is_restored_after_its_dependencies() {
    let policy = Arc::new(Policy::default());
    let child = Account::reference("ann", Some(Account::reference("bank", None)));
    let recipe = child.stored_recipe().unwrap();
    let text = serde_json::to_string(&recipe).unwrap();
    let again = restorers(&policy).restore(&ctx("ann"), &serde_json::from_str(&text).unwrap());
    let parent = again.call_typed::<Stub, Never>("parent", &()).await.unwrap();
    assert_eq!(owner(&parent).await.unwrap(), "bank");
    assert!(parent.is_local());
    assert_eq!(policy.made.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn each_restore_failure_has_its_code() {
    let policy = Arc::new(Policy::default());
    let restorers = restorers(&policy);
    for (recipe, code) in [
        (stored("missing", 1, "null"), ErrorCode::RestorerUnknown),
        (stored("slow", 1, "null"), ErrorCode::RestoreFailed),
        (stored("broken", 1, "null"), ErrorCode::RestoreFailed),
        (stored("panics", 1, "null"), ErrorCode::RestoreFailed),
        (stored("account", 0, r#""ann""#), ErrorCode::RestoreFailed),
        (stored("account", 3, r#""ann""#), ErrorCode::RestoreFailed),
        (stored("account", 2, "7"), ErrorCode::RestoreFailed),
        (stored("account", 2, "{]"), ErrorCode::RestoreFailed),
        (stored("account", 2, r#"{"owner":"a","parent":["@"]}"#), ErrorCode::RestoreFailed),
        (stored("account", 2, "{\"owner\":\"a\",\"parent\":\u{1a}}"), ErrorCode::RestoreFailed),
    ] {
        let error = owner(&restorers.restore(&ctx("ann"), &recipe)).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{recipe:?}: {error}");
        let CallError::Remote(error) = error else { panic!("{error:?}") };
        assert!(!error.message().contains("digit"), "the internal error is not exposed: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_restores_are_limited() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let counted = Restorer::new("counted", 1, {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        move |_, ()| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(Account::reference("ann", None))
            }
        }
    });
    let restorers = Arc::new(Restorers::new().with(counted));
    let stubs: Vec<Stub> = (0..200).map(|_| restorers.restore(&ctx("ann"), &stored("counted", 1, "null"))).collect();
    for stub in &stubs {
        assert_eq!(owner(stub).await.unwrap(), "ann", "waiting for a place does not count against the timeout");
    }
    assert_eq!(most.load(Ordering::SeqCst), 64);
}

#[test]
fn recipe_that_depends_on_the_session_cannot_be_stored_alone() {
    let plain = Stub::dynamic(Nothing);
    assert!(matches!(plain.stored_recipe(), Err(NotDurable::NoRecipe)));
    let of_plain = Account::reference("ann", Some(plain));
    assert!(matches!(of_plain.stored_recipe(), Err(NotDurable::NoRecipe)));
    // Each level contains the one below twice. Expanded, that would be 2^31 recipes.
    let doubled = (0..30).fold(Account::reference("ann", None), |below, _| {
        let recipe = Recipe::new("account", 2, &(below.clone(), below));
        Stub::durable(Account(AccountKey { owner: String::new(), parent: None }), recipe)
    });
    assert!(matches!(doubled.stored_recipe(), Err(NotDurable::TooLong)));
    let long = Account::reference(&"x".repeat(65 << 10), None);
    assert!(matches!(long.stored_recipe(), Err(NotDurable::TooLong)));
    let unwritable =
        Stub::durable(Account(AccountKey { owner: String::new(), parent: None }), Recipe::new("account", 2, &u64::MAX));
    assert!(matches!(unwritable.stored_recipe(), Err(NotDurable::Encode(_))));
    let deep = (0..40).fold(Account::reference("ann", None), |below, _| Account::reference("ann", Some(below)));
    assert!(matches!(deep.stored_recipe(), Err(NotDurable::TooDeep)));
}

pub(crate) struct Nothing;

#[async_trait::async_trait]
impl bowline_core::peer::DynTarget for Nothing {
    async fn call(
        &self,
        _: bowline_core::session::Path,
        _: Vec<bowline_core::value::Value>,
    ) -> Result<bowline_core::value::Value, bowline_core::value::Value> {
        Ok(bowline_core::value::Value::Null)
    }

    async fn get(
        &self,
        _: bowline_core::session::Path,
    ) -> Result<bowline_core::value::Value, bowline_core::value::Value> {
        Ok(bowline_core::value::Value::Null)
    }
}

#[test]
fn debug_output_hides_parameters() {
    let account = Account::reference("ann", None);
    let shown = format!("{:?} {:?}", account.stored_recipe().unwrap(), reply(Ok::<_, Never>(1)));
    assert!(!shown.contains("ann"), "{shown}");
}
