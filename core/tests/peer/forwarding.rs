//! What gateways need: any number of arguments, forwarded errors, and promises of promises.

use bowline_core::peer::testing::pair;
use bowline_core::peer::{CallError, Never, Promise, RpcError, Stub, Thrown};
use bowline_core::value::{ErrorValue, Object, Value};

/// Creates a function on the other side that returns its arguments as a list.
fn listing() -> (Stub, bowline_core::peer::testing::Pair) {
    let function = Stub::function(|args| async { Ok(Value::Array(args)) });
    let pair = pair(None, Some(function));
    (pair.left.root_dyn(), pair)
}

#[tokio::test]
async fn apply_sends_each_value_as_argument() {
    let (function, pair) = listing();
    for args in [vec![], vec![Value::Undefined], vec![Value::Array(vec![1.into()])], vec![1.into(), "x".into()]] {
        assert_eq!(function.apply(args.clone()).await.unwrap(), Value::Array(args));
    }
    let pushes: Vec<_> = pair.wire.log().into_iter().filter(|line| line.contains("push")).collect();
    assert_eq!(
        pushes,
        [
            r#"> ["push",["pipeline",0,[],[]]]"#,
            r#"> ["push",["pipeline",0,[],[["undefined"]]]]"#,
            r#"> ["push",["pipeline",0,[],[[[1]]]]]"#,
            r#"> ["push",["pipeline",0,[],[1,"x"]]]"#,
        ]
    );
}

#[tokio::test]
async fn caught_error_of_any_kind_can_be_rethrown() {
    async fn forward(function: &Stub) -> Result<Value, Thrown> {
        Ok(function.apply([]).await?)
    }
    let error = ErrorValue::new("RangeError", "far").with_prop("code", 5);
    let thrown = error.clone();
    let function = Stub::function(move |_| {
        let thrown = thrown.clone();
        async move { Err(thrown.into()) }
    });
    let connected = pair(None, Some(function));
    let failed = forward(&connected.left.root_dyn()).await.unwrap_err();
    assert_eq!(failed, Thrown(error.into()));
}

#[tokio::test]
async fn abort_reason_is_forwarded_to_other_sessions() {
    let (function, pair) = listing();
    pair.right.abort("RangeError", "server says no");
    pair.left.closed().await;
    let error: CallError = function.apply([]).await.unwrap_err();
    assert!(error.is_lost());
    assert_eq!(error.to_value(), ErrorValue::new("RangeError", "server says no").into());
}

#[tokio::test]
async fn calls_are_forwarded_through_a_promise_in_a_pending_result() {
    let object = Stub::function(|_| async {
        let late = Promise::<_, Never>::new(async {
            tokio::task::yield_now().await;
            Ok(Stub::function(|args| async { Ok(Value::Array(args)) }))
        });
        Ok(Object::from([("late", Promise::stub(&late).clone().into_value())]).into())
    });
    let connected = pair(None, Some(object));
    let result = connected.left.root_dyn().apply([]);
    let late: Promise<Promise<Stub>> = Promise::from_stub(Promise::stub(&result).get("late"));
    assert_eq!(late.apply([7.into()]).await.unwrap(), Value::Array(vec![7.into()]));
}
