//! Calls, pipelining, properties, and errors.

use bowline_core::generated::TypedCalls;
use bowline_core::peer::{CallError, Never, Promise, RemoteError, Stub};
use bowline_core::value::{ErrorValue, Value};
use serde::de::DeserializeOwned;

use crate::fixture::*;

fn remote<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, CallError<E>>) -> RemoteError {
    match result {
        Err(CallError::Remote(error)) => error,
        other => panic!("{other:?}"),
    }
}

async fn get<T: DeserializeOwned>(stub: Stub) -> T {
    Promise::<T, Never>::from_stub(stub).await.unwrap()
}

#[tokio::test]
async fn call_takes_four_messages() {
    let (api, pair, _) = client();
    let sum: u32 = api.call_typed::<_, Never>("add", &(2, 3)).await.unwrap();
    assert_eq!(sum, 5);
    assert_idle(&pair).await;
    assert_eq!(
        pair.wire.log(),
        [
            r#"> ["push",["pipeline",0,["add"],[2,3]]]"#,
            r#"> ["pull",1]"#,
            r#"< ["resolve",1,5]"#,
            r#"> ["release",1,1]"#,
        ]
    );
}

#[tokio::test]
async fn chain_takes_one_round_trip() {
    let (api, pair, _) = client();
    let authed = api.call_typed::<Stub, Never>("authenticate", &("tok",));
    let me = authed.call_typed::<Profile, Never>("me", &());
    let boss = api.call_typed::<Profile, NoUser>("profile", &(Promise::stub(&me).get("boss"),)).await.unwrap();
    assert_eq!(boss, Profile { name: "user 7".to_owned(), boss: 8 });
    drop((authed, me));
    assert_idle(&pair).await;
    assert_eq!(
        pair.wire.log(),
        [
            r#"> ["push",["pipeline",0,["authenticate"],["tok"]]]"#,
            r#"> ["push",["pipeline",1,["me"],[]]]"#,
            r#"> ["push",["pipeline",0,["profile"],[["pipeline",2,["boss"]]]]]"#,
            r#"> ["pull",3]"#,
            r#"< ["resolve",3,{"name":"user 7","boss":8}]"#,
            r#"> ["release",3,1]"#,
            r#"> ["release",1,1]"#,
            r#"> ["release",2,1]"#,
        ]
    );
    assert_eq!(pair.wire.round_trips(), 1);
}

#[tokio::test]
async fn chain_temporaries_may_be_dropped_before_their_calls_run() {
    let (api, pair, _) = client();
    let me: Profile =
        api.call_typed::<Stub, Never>("authenticate", &("tok",)).call_typed::<_, Never>("me", &()).await.unwrap();
    assert_eq!(me.name, "Ann");
    assert_idle(&pair).await;
}

#[tokio::test]
async fn properties_are_read_and_walked() {
    let (api, pair, _) = client();
    assert_eq!(get::<String>(api.get("version")).await, "1.2");
    assert_eq!(get::<u32>(api.get("config").get("limits").get("users")).await, 3);
    assert_eq!(api.get("nothing").await.unwrap(), Value::Undefined);
    let name = api.get("root").call("me", ()).get("name").await.unwrap();
    assert_eq!(name, Value::String("Ann".to_owned()));
    assert_idle(&pair).await;
}

#[tokio::test]
async fn method_read_as_a_property_is_a_bound_function() {
    let (api, pair, _) = client();
    let add = Stub::from_value(&api.get("add").await.unwrap()).unwrap();
    let sum: u32 = add.call_typed::<_, Never>("", &(20, 3)).await.unwrap();
    assert_eq!(sum, 23);
    drop(add);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn calling_a_non_function_names_the_whole_path() {
    let (api, pair, _) = client();
    for (result, text) in [
        (api.call("nope", ()).await, "'nope' is not a function."),
        (api.get("config").get("limits").call("raise", ()).await, "'config.limits.raise' is not a function."),
        (api.call("", ()).await, "'' is not a function."),
        (api.call("toString", ()).await, "'toString' is not a function."),
        (api.call("version", ()).await, "'version' is not a function."),
        (api.get("nope").call("deeper", ()).await, "Cannot read properties of undefined (reading 'deeper')"),
    ] {
        let error = remote(result);
        assert_eq!((error.name(), error.message()), ("TypeError", text));
    }
    assert_eq!(api.get("toString").await.unwrap(), Value::Undefined);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn declared_errors_are_typed_and_others_are_recoverable() {
    let (api, pair, _) = client();
    let error = api.call_typed::<Profile, NoUser>("profile", &200).await.unwrap_err();
    assert!(matches!(error, CallError::App(NoUser { id: 200 })), "{error:?}");

    let profile = api.call_typed::<Profile, NoUser>("profile", &200);
    let later = api.call_typed::<u32, ErrorValue>("add", &(Promise::stub(&profile).get("boss"), 1));
    let error = later.await.unwrap_err();
    assert!(matches!(error, CallError::App(_)), "every error is an ErrorValue");

    let untyped = remote(api.call("profile", 200).await);
    assert_eq!(untyped.downcast::<NoUser>(), Some(NoUser { id: 200 }));
    assert_eq!(untyped.to_string(), "NoUser: no user 200");
    drop(profile);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn invalid_arguments_and_results_reject_only_their_call() {
    let (api, pair, _) = client();
    let error = remote(api.call_typed::<u32, Never>("add", &("x", 1)).await);
    assert_eq!(error.name(), "TypeError");
    let error = remote(api.call("unencodable", ()).await);
    assert_eq!(error.name(), "TypeError");
    let error = api.call("add", (u64::MAX, 1)).await.unwrap_err();
    assert!(matches!(error, CallError::Codec(_)), "{error:?}");
    let error = api.call_typed::<u32, Never>("authenticate", &()).await.unwrap_err();
    assert!(matches!(error, CallError::Codec(_)), "{error:?}");
    assert_idle(&pair).await;
}

#[tokio::test]
async fn panic_rejects_the_call_and_keeps_the_session() {
    let (api, pair, _) = client();
    for method in ["panic", "panicLater"] {
        let error = remote(api.call(method, ()).await);
        assert_eq!((error.name(), error.message()), ("Error", "internal error"));
    }
    assert_eq!(api.call_typed::<u32, Never>("add", &(1, 1)).await.unwrap(), 2);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn calls_arrive_in_order_regardless_of_awaits() {
    let (api, pair, seen) = client();
    let calls: Vec<_> = (0..50).map(|n| api.call("note", format!("{n}"))).collect();
    for call in calls.into_iter().rev() {
        call.await.unwrap();
    }
    assert_eq!(seen.order(), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_idle(&pair).await;
}

#[tokio::test]
async fn calls_on_a_missing_main_object_are_rejected() {
    let (_, pair, _) = client();
    let error = remote(pair.right.root_dyn().call("x", ()).await);
    assert_eq!(error.message(), "This connection has no main object.");
}
