//! Outgoing and incoming errors: hooks, stacks, causes, and aggregates.

use std::sync::{Arc, Mutex};

use bowline_core::limits::Limits;
use bowline_core::peer::testing::{Pair, link, pair, pair_with};
use bowline_core::peer::{
    CallError, Connection, DynTarget, Promise, Receiving, Sending, SessionOptions, Stub, Thrown, Transport,
};
use bowline_core::session::Path;
use bowline_core::value::{ErrorKind, ErrorValue, Object, Value};

use crate::fixture::{Api, Seen};

/// Fails with its argument; `give` returns it. Its properties are objects that contain an error.
struct Thrower;

#[async_trait::async_trait]
impl DynTarget for Thrower {
    async fn call(&self, path: Path, args: Vec<Value>) -> Result<Value, Value> {
        let first = args.into_iter().next().unwrap_or_default();
        match path.first().map(ToString::to_string).as_deref() {
            Some("give") => Ok(first),
            Some("tools") => {
                let function = || Stub::function(|_| async { Ok(Value::Null) }).into_value();
                let deep = Object::from([("mul", function())]);
                Ok(Object::from([("deep", Value::from(deep)), ("list", vec![function()].into())]).into())
            }
            _ => Err(first),
        }
    }

    async fn get(&self, _: Path) -> Result<Value, Value> {
        Ok(Object::from([("inner", ErrorValue::new("Error", "within"))]).into())
    }
}

fn with_stack(mut error: ErrorValue) -> ErrorValue {
    error.stack = Some("at main.rs:1".to_owned());
    error
}

fn nested() -> ErrorValue {
    let cause = with_stack(ErrorValue::new("TypeError", "deeper")).with_prop("code", 7);
    with_stack(ErrorValue::new("Mine", "outer")).with_prop("list", vec![Value::from(1)]).with_cause(cause)
}

/// Creates a client of a thrower whose errors are sent with these options.
fn thrower(options: SessionOptions) -> (Stub, Pair) {
    let (left, right, wire) = link();
    let (left, left_driver) = Connection::start(left, None, Limits::default());
    let (right, right_driver) = Connection::start(right, Some(Stub::dynamic(Thrower)), options);
    tokio::spawn(left_driver);
    tokio::spawn(right_driver);
    (left.root_dyn(), Pair { left, right, wire })
}

async fn rejection(root: &Stub, with: impl Into<Value>) -> Value {
    match root.call("throw", (with.into(),)).await {
        Err(CallError::Remote(error)) => error.value().clone(),
        other => panic!("{other:?}"),
    }
}

fn answers(pair: &Pair) -> String {
    pair.wire.log().into_iter().filter(|line| line.starts_with('<')).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn without_a_hook_only_stacks_are_removed() {
    let (root, pair) = thrower(SessionOptions::default());
    let arrived = rejection(&root, nested()).await;
    assert_eq!(
        answers(&pair),
        r#"< ["reject",1,["error","Mine","outer",null,{"list":[[1]],"cause":["error","TypeError","deeper",null,{"code":7}]}]]"#
    );
    let arrived = arrived.as_error().unwrap();
    assert_eq!((arrived.kind(), arrived.name.as_str()), (None, "Mine"), "a name of one's own is kept");
    assert_eq!(arrived.cause().unwrap().kind(), Some(ErrorKind::TypeError));

    rejection(&root, with_stack(ErrorValue::new("Error", "short"))).await;
    let given = root.call("give", (vec![Value::from(with_stack(ErrorValue::new("Error", "in")))],)).await.unwrap();
    assert_eq!(given.at(0).unwrap().as_error().unwrap().stack, None);
    let log = pair.wire.log().join("\n");
    assert!(log.contains(r#"["reject",2,["error","Error","short"]]"#), "{log}");
    assert!(!log.contains("main.rs"), "{log}");
}

#[tokio::test]
async fn hook_sees_causes_first_and_its_result_is_sent() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let (root, pair) = thrower(SessionOptions::new().on_send_error(move |error| {
        log.lock().unwrap().push(error.message.clone());
        let mut sent = ErrorValue::new(error.name, format!("<{}>", error.message));
        sent.stack = Some("kept".to_owned());
        sent.props = error.props.into_iter().filter(|(key, _)| key == "cause").collect();
        sent
    }));
    // The arguments are sent by the other side, which has no hook.
    rejection(&root, nested()).await;
    assert_eq!(*seen.lock().unwrap(), ["deeper", "outer"]);
    assert_eq!(
        answers(&pair),
        r#"< ["reject",1,["error","Mine","<outer>","kept",{"cause":["error","TypeError","<deeper>","kept"]}]]"#
    );
}

#[tokio::test]
async fn hook_runs_for_every_outgoing_error() {
    let shout = |mut error: ErrorValue| {
        error.message = error.message.to_uppercase();
        error
    };
    let both = SessionOptions::new().on_send_error(shout);
    let pair = pair_with(None, Some(Stub::dynamic(Thrower)), both.clone());
    let root = pair.left.root_dyn();
    root.call("give", (Object::from([("a", vec![Value::from(ErrorValue::new("Error", "in"))])]),)).await.unwrap();
    let list = vec![Value::from("error"), "Error".into(), "just strings".into()];
    root.call("give", (list, "[\"error\",\"Error\",\"text\"]")).await.unwrap();
    pair.right.abort("Error", "shutting down");
    pair.left.closed().await;
    let log = pair.wire.log().join("\n");
    for line in [
        r#"> ["push",["pipeline",0,["give"],[{"a":[[["error","Error","IN"]]]}]]]"#,
        r#"< ["resolve",1,{"a":[[["error","Error","IN"]]]}]"#,
        r#"[[["error","Error","just strings"]],"#,
        r#"< ["abort",["error","Error","SHUTTING DOWN"]]"#,
    ] {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    let closed = pair.left.closed().await;
    assert_eq!(closed.message, "SHUTTING DOWN");
}

#[tokio::test]
async fn session_errors_pass_the_hook() {
    let redact = SessionOptions::new().on_send_error(|_| ErrorValue::new("Error", "no details"));
    let api = Stub::new(Api(Arc::new(Seen::default())));
    let pair = pair_with(None, Some(api), redact);
    let root = pair.left.root_dyn();
    for path in ["nothing", "panic", "panicLater", "unencodable"] {
        root.call(path, ()).await.unwrap_err();
    }
    root.get("config").get("no").call("such", ()).await.unwrap_err();
    let log = answers(&pair);
    assert_eq!(log.matches(r#"["error","Error","no details"]"#).count(), 5, "{log}");
}

#[tokio::test]
async fn panicking_or_invalid_hook_is_contained() {
    let (root, pair) = thrower(SessionOptions::new().on_send_error(|error| match error.message.as_str() {
        "panic" => panic!("in a hook"),
        _ => (0..400).fold(error.clone(), |inner, _| ErrorValue::new("Error", "more").with_cause(inner)),
    }));
    rejection(&root, ErrorValue::new("RangeError", "panic")).await;
    rejection(&root, ErrorValue::new("RangeError", "deep")).await;
    assert_eq!(rejection(&root, "no error at all").await, "no error at all".into());
    assert_eq!(
        answers(&pair),
        [
            r#"< ["reject",1,["error","Error","internal error"]]"#,
            r#"< ["reject",2,["error","Error","more"]]"#,
            r#"< ["reject",3,"no error at all"]"#,
        ]
        .join("\n")
    );
}

#[tokio::test]
async fn aggregates_and_causes_of_any_depth_arrive_intact() {
    let pair = pair(None, Some(Stub::dynamic(Thrower)));
    let root = pair.left.root_dyn();
    let both = [ErrorValue::new("RangeError", "one"), ErrorValue::new("TypeError", "two")];
    let sent = ErrorValue::aggregate("both failed", both.clone());
    let arrived = rejection(&root, sent.clone()).await;
    let arrived = arrived.as_error().unwrap();
    assert_eq!(arrived, &sent);
    assert_eq!(arrived.kind(), Some(ErrorKind::AggregateError));
    assert_eq!(arrived.errors().collect::<Vec<_>>(), both.iter().collect::<Vec<_>>());

    let chain = |depth| {
        (0..depth).fold(ErrorValue::new("Error", "0"), |inner, _| ErrorValue::new("Error", "n").with_cause(inner))
    };
    let mut arrived = rejection(&root, chain(253)).await.as_error().unwrap().clone();
    let mut causes = 0;
    while let Some(cause) = arrived.cause().cloned() {
        arrived = cause;
        causes += 1;
    }
    assert_eq!((causes, arrived.message.as_str()), (253, "0"));
    // What exceeds the limit is left out, and the session continues.
    rejection(&root, chain(300)).await;
    assert!(!pair.left.is_closed());
}

#[tokio::test]
async fn error_forwarded_by_a_proxy_loses_its_stack_and_capabilities() {
    let (near, far, wire) = link();
    let (gateway, driver) = Connection::start(far, None, Limits::default());
    tokio::spawn(driver);
    let behind = gateway.root_dyn();
    let front = pair(None, Some(behind));
    let call = front.left.root_dyn().call("fail", ());
    let waiting = tokio::spawn(async move { call.await });
    let (mut sender, mut receiver) = near.split();
    receiver.receive().await.unwrap();
    let text =
        r#"["reject",1,[ "\u0065rror" ,"Mine","m","at secret.js",{"a":["export",-1],"b":[[["export",-2]]],"c":1}]]"#;
    sender.feed(text.to_owned()).await.unwrap();
    sender.flush().await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(
        error.remote().unwrap().downcast::<Thrown>().unwrap().0,
        ErrorValue::new("Mine", "m").with_prop("c", 1).into()
    );
    assert!(!front.wire.log().join("\n").contains("secret.js"));
    let log = wire.log().join("\n");
    assert!(log.contains(r#"["release",-1,1]"#) && log.contains(r#"["release",-2,1]"#), "{log}");
}

#[tokio::test]
async fn uncallable_target_is_named_by_its_whole_path() {
    let (root, _pair) = thrower(SessionOptions::default());
    let tools = root.call("tools", ());
    let tools = Promise::stub(&tools);
    for (path, name) in [(&["deep", "mul", "x"][..], "deep.mul.x"), (&["deep", "x"], "deep.x"), (&["deep"], "deep")] {
        let at = path.iter().fold(tools.clone(), |stub: Stub, name| stub.get(*name));
        let error = at.apply(Vec::<Value>::new()).await.unwrap_err().to_string();
        assert_eq!(error, format!("TypeError: '{name}' is not a function."));
    }
    let inner = tools.get("list").get(0_usize).call("x", ()).await.unwrap_err().to_string();
    assert_eq!(inner, "TypeError: 'list.0.x' is not a function.");
}
