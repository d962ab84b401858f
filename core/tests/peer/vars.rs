//! Session variables: their limits, contents, and recovery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bowline_core::error::{ErrorChain, ErrorCode};
use bowline_core::generated::TypedCalls;
use bowline_core::peer::testing::pair;
use bowline_core::peer::{
    BoxError, CallError, Func, Never, RestoreCtx, Restorer, Restorers, StoredVars, Stub, VarError, Vars,
};
use bowline_core::value::Value;

use crate::fixture::*;
use crate::recipes::{Account, Policy, ctx, restorers};

#[track_caller]
fn refused(result: Result<(), VarError>, words: &str) {
    let error = ErrorChain(&result.unwrap_err()).to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn every_variable_limit_is_exact() {
    let vars = Vars::new();
    vars.set(&"ä".repeat(256), &1).unwrap();
    refused(vars.set(&"ä".repeat(257), &1), "characters of the name of a variable (at most 256)");
    for name in ["", "a\nb", "a\u{7f}", "\u{85}"] {
        refused(vars.set(name, &1), "control character");
    }
    vars.set("list", &vec![0; 1_000]).unwrap();
    refused(vars.set("list", &vec![vec![0; 1_001]]), "elements of an array in a variable (at most 1000)");
    let object = |keys: u32| BTreeMap::from_iter((0..keys).map(|key| (key.to_string(), key)));
    vars.set("object", &object(100)).unwrap();
    refused(vars.set("object", &vec![object(101)]), "keys of an object in a variable (at most 100)");
    assert_eq!(vars.get::<Vec<u32>>("list").unwrap().unwrap().len(), 1_000, "a refused value changes nothing");

    vars.clear();
    (0..1_000).for_each(|n| vars.set(&format!("v{n}"), &n).unwrap());
    refused(vars.set("one more", &1), "variables of a session (at most 1000)");
    vars.set("v7", &"another value").unwrap();
    assert!(vars.delete("v7") && !vars.delete("v7"));
    vars.set("one more", &1).unwrap();

    vars.clear();
    let most = (256 << 10) - 2 - 3;
    vars.set("all", &"x".repeat(most)).unwrap();
    refused(vars.set("all", &"x".repeat(most + 1)), "bytes of the variables of a session (at most 262144)");
    refused(vars.set("b", &1), "bytes of the variables");
    vars.set("all", &1).unwrap();
    vars.set("b", &1).unwrap();
    assert_eq!(vars.names(), ["all", "b"]);
}

#[tokio::test]
async fn variables_are_restored_with_their_references() {
    let policy = Arc::new(Policy::default());
    let restorers = restorers(&policy);
    let vars = Vars::new();
    vars.set("account", &vec![Account::reference("ann", None)]).unwrap();
    vars.set("theme", &"dark").unwrap();
    refused(vars.set("callback", &Func::<(), ()>::new(|()| async {})), "only references to durable objects");
    refused(vars.set("plain", &Stub::dynamic(crate::recipes::Nothing)), "only references to durable objects");
    let kept = serde_json::to_string(&vars.stored()).unwrap();

    let stored = || serde_json::from_str::<StoredVars>(&kept).unwrap();
    let again = Vars::restored(stored(), &restorers, &ctx("ann")).unwrap();
    assert_eq!(serde_json::to_string(&again.stored()).unwrap(), kept);
    assert_eq!(again.get::<String>("theme").unwrap().unwrap(), "dark");
    assert_eq!(policy.made.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        let account = again.get::<Vec<Stub>>("account").unwrap().unwrap().remove(0);
        assert_eq!(account.call_typed::<String, Never>("owner", &()).await.unwrap(), "ann");
    }
    assert_eq!(policy.made.load(Ordering::SeqCst), 1);

    let without = Vars::restored(stored(), &Arc::new(Restorers::new()), &ctx("ann")).unwrap();
    let error = without.get::<Vec<Stub>>("account").unwrap_err();
    assert!(matches!(error, VarError::Lost(ErrorCode::RestorerUnknown)), "{error}");
    assert_eq!(without.get::<String>("theme").unwrap().unwrap(), "dark");
}

#[test]
fn stored_variables_beyond_the_limits_are_refused() {
    let restorers = Arc::new(Restorers::new());
    let long = format!(r#"[{{"n":"a","x":"[[{}]]"}}]"#, vec!["0"; 1_001].join(","));
    for kept in [
        r#"[{"n":"","x":"1"}]"#,
        r#"[{"n":"a","x":"{]"}]"#,
        r#"[{"n":"a","x":"[\"@\"]"}]"#,
        r#"[{"n":"a","x":"\u001a"}]"#,
        &long,
    ] {
        let stored: StoredVars = serde_json::from_str(kept).unwrap();
        assert!(Vars::restored(stored, &restorers, &ctx("ann")).is_err(), "{kept}");
    }
}

#[tokio::test]
async fn client_uses_variables_through_a_target() {
    let policy = Arc::new(Policy::default());
    let vars = Vars::new();
    let both = pair(None, Some(vars.target()));
    let target = both.left.root_dyn();
    target.call("setVariable", ("n", 7)).await.unwrap();
    assert_eq!(vars.get::<u32>("n").unwrap(), Some(7));
    assert_eq!(target.call("getVariable", "n").await.unwrap(), Value::Number(7.0));
    assert_eq!(target.call("getVariable", "m").await.unwrap(), Value::Undefined);
    assert_eq!(target.call("hasVariable", "n").await.unwrap(), Value::Bool(true));
    assert_eq!(target.call_typed::<Vec<String>, Never>("listVariables", &()).await.unwrap(), ["n"]);
    assert_eq!(target.call("deleteVariable", "n").await.unwrap(), Value::Bool(true));
    let error = target.call("setVariable", ("a\0", 1)).await.unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.name() == "TypeError"), "{error}");
    let error = target.call("setVariable", ("a", vec![0; 1_001])).await.unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.name() == "RangeError"), "{error}");

    vars.set("account", &Account::reference("ann", None)).unwrap();
    policy.withdrawn.lock().unwrap().insert("ann".to_owned());
    let again = Vars::restored(vars.stored(), &restorers(&policy), &ctx("ann")).unwrap();
    let later = pair(None, Some(again.target()));
    let error = later.left.root_dyn().call("getVariable", "account").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::PermissionDenied), "a lost object is an error when it is read");
    target.call("clearAllVariables", ()).await.unwrap();
    assert!(vars.names().is_empty());
    assert_idle(&both).await;
}

/// What a restorer receives of its peer.
struct OfPeer {
    vars: Vars,
}

#[tokio::test]
async fn restorer_of_a_variable_can_read_variables() {
    let stored = {
        let vars = Vars::new();
        vars.set("name", &"ann").unwrap();
        vars.set("account", &Account::reference("missing", None)).unwrap();
        vars.set("twice", &[Account::reference("a", None), Account::reference("b", None)]).unwrap();
        vars.stored()
    };
    let reads = Restorer::new("account", 2, |ctx: RestoreCtx, _: Value| {
        // Before the first await, and the variable that is being restored itself.
        let vars = ctx.peer::<OfPeer>().unwrap().vars.clone();
        let name = vars.get::<String>("name").unwrap().unwrap();
        assert!(vars.get::<Stub>("account").unwrap().is_some());
        vars.set("seen", &true).unwrap();
        async move { Ok::<_, BoxError>(Account::reference(&name, None)) }
    });
    let restorers = Arc::new(Restorers::new().with(reads));
    let (done, is_done) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _entered = runtime.enter();
        let vars = Vars::restored_for(stored, &restorers, |vars| ctx("ann").with_peer(OfPeer { vars })).unwrap();
        let account = vars.get::<Stub>("account").unwrap().unwrap();
        let [first, second] = vars.get::<[Stub; 2]>("twice").unwrap().unwrap();
        assert_eq!(vars.get::<bool>("seen").unwrap(), Some(true));
        done.send((account, first, second)).unwrap();
    });
    let restored = tokio::task::spawn_blocking(move || is_done.recv_timeout(std::time::Duration::from_secs(20)));
    let (account, first, second) = restored.await.unwrap().expect("the variable is read in time");
    for account in [account, first, second] {
        assert_eq!(account.call_typed::<String, Never>("owner", &()).await.unwrap(), "ann");
    }
}
