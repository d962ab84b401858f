//! Maps over results that have not arrived: what is recorded, sent, and refused.

use bowline_core::generated::TypedCalls;
use bowline_core::peer::{Func, Mapped, Never, Promise, Stub};
use bowline_core::value::Value;
use serde::{Deserialize, Serialize};

use super::fixture::{Profile, assert_idle, client, settle};

fn numbers(api: &Stub, numbers: &[u32]) -> Promise<Vec<u32>> {
    api.call_typed("echo", &(numbers,))
}

#[tokio::test]
async fn list_is_mapped_in_one_round_trip() {
    let (api, pair, _) = client();
    let list = numbers(&api, &[1, 2]);
    let mapped = list.map_each(|n| api.call_typed::<u32, Never>("add", &(&n, 10)));
    drop(list);
    assert_eq!(mapped.await.unwrap(), [11, 12]);
    settle().await;
    assert_eq!(
        pair.wire.take_log(),
        [
            r#"> ["push",["pipeline",0,["echo"],[[[1,2]]]]]"#,
            r#"> ["push",["remap",1,[],[["import",0]],[["pipeline",-1,["add"],[["pipeline",0],10]],["pipeline",1]]]]"#,
            r#"> ["release",1,1]"#,
            r#"> ["pull",2]"#,
            r#"< ["resolve",2,[[["promise",-1],["promise",-2]]]]"#,
            r#"< ["resolve",-1,11]"#,
            r#"< ["resolve",-2,12]"#,
            r#"> ["release",2,1]"#,
            r#"> ["release",-1,1]"#,
            r#"> ["release",-2,1]"#,
        ]
    );
    assert_idle(&pair).await;
}

#[tokio::test]
async fn map_on_a_property_of_a_call() {
    let (api, pair, _) = client();
    let list = numbers(&api, &[1, 2]);
    let names = list.map_each(|id| {
        let profile = api.call_typed::<Profile, Never>("profile", &id);
        Promise::<String>::from_stub(Promise::stub(&profile).get("name"))
    });
    drop(list);
    assert_eq!(names.await.unwrap(), ["user 1", "user 2"]);
    let log = pair.wire.take_log();
    let instructions = r#"[["pipeline",-1,["profile"],[["pipeline",0]]],["pipeline",1,["name"]]]"#;
    assert!(log[1].contains(instructions), "{log:#?}");
    assert_idle(&pair).await;
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    id: Promise<u32>,
    more: Vec<Promise<u32>>,
    fixed: String,
}

impl Mapped for Row {
    type Value = Self;
}

#[tokio::test]
async fn map_result_built_from_promises() {
    let (api, pair, _) = client();
    let list = numbers(&api, &[3]);
    let rows = list.map_each(|n| Row {
        id: n.clone(),
        more: vec![api.call_typed("add", &(&n, &n)), n],
        fixed: "x".to_owned(),
    });
    let pairs = list.map_each(|n| (api.call_typed::<u32, Never>("add", &(&n, 1)), n));
    drop(list);
    assert_eq!(pairs.await.unwrap(), [(4, 3)]);
    let mut rows = rows.await.unwrap();
    let row = rows.remove(0);
    assert_eq!((row.id.await.unwrap(), row.fixed.as_str()), (3, "x"));
    let mut more = Vec::new();
    for n in row.more {
        more.push(n.await.unwrap());
    }
    assert_eq!(more, [6, 3]);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn nested_map() {
    let (api, pair, _) = client();
    let lists: Promise<Vec<Vec<u32>>> = api.call_typed("echo", &([[1, 2], [3, 4]],));
    let sums = lists.map_each(|list| {
        let first = list.at(0);
        list.map_each(|n| api.call_typed::<u32, Never>("add", &(&n, &first)))
    });
    drop(lists);
    assert_eq!(sums.await.unwrap(), [[2, 3], [6, 7]]);
    let log = pair.wire.take_log();
    let map = r#"> ["push",["remap",1,[],[["import",0]],[["remap",0,[],[["import",-1],["import",0]],[["pipeline",-1,["add"],[["pipeline",0],["pipeline",-2,[0]]]],["pipeline",1]]],["pipeline",1]]]]"#;
    assert_eq!(log[1], map);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn map_of_an_option() {
    let (api, pair, _) = client();
    for (n, sum) in [(Some(1), Some(3)), (None, None)] {
        let maybe: Promise<Option<u32>> = api.call_typed("echo", &(n,));
        let mapped = maybe.map_each(|n| api.call_typed::<u32, Never>("add", &(n, 2)));
        drop(maybe);
        assert_eq!(mapped.await.unwrap(), sum);
    }
    assert_idle(&pair).await;
}

#[tokio::test]
async fn map_without_types() {
    let (api, pair, _) = client();
    let list = api.call("echo", ([1, 2],));
    let mapped = list.map_each(|n| api.call("add", (n, 1)));
    drop(list);
    assert_eq!(mapped.await.unwrap(), Value::from(vec![Value::from(2), Value::from(3)]));
    assert_idle(&pair).await;
}

#[tokio::test]
async fn local_functions_are_captured_once() {
    let (api, pair, _) = client();
    let double = Func::<u32, u32>::new(|n| async move { 2 * n });
    let list = numbers(&api, &[1, 2]);
    let mapped = list.map_each(|n| double.call(1).map_to(double.call_with(&n)));
    drop(list);
    assert_eq!(mapped.await.unwrap(), [(2, 2), (2, 4)]);
    let log = pair.wire.take_log();
    assert!(log[1].contains(r#"[["export",-1]],"#), "{}", log[1]);
    drop(double);
    assert_idle(&pair).await;
}

/// Calls of a function with arguments that have not arrived.
trait CallWith {
    fn call_with(&self, n: &Promise<u32>) -> Promise<u32>;
}

impl CallWith for Func<u32, u32> {
    fn call_with(&self, n: &Promise<u32>) -> Promise<u32> {
        bowline_core::peer::Reference::stub(self).call_typed("", &(n,))
    }
}

trait MapTo: Sized {
    fn map_to<R>(self, other: R) -> (Self, R) {
        (self, other)
    }
}

impl MapTo for Promise<u32> {}

#[tokio::test]
async fn error_of_an_element_rejects_the_map() {
    let (api, pair, _) = client();
    let list = numbers(&api, &[1, 500]);
    let mapped = list.map_each(|id| api.call_typed::<Value, Never>("profile", &id));
    drop(list);
    assert_eq!(mapped.await.unwrap_err().to_string(), "NoUser: no user 500");
    assert_idle(&pair).await;
}

#[tokio::test]
async fn placeholder_refuses_unsupported_operations() {
    let (api, pair, _) = client();
    let list = numbers(&api, &[1]);
    let mut leaked = None;
    let mapped = list.map_each(|n| {
        leaked = Some(n.clone());
        n
    });
    assert_eq!(mapped.await.unwrap(), [1]);
    let leaked = leaked.unwrap();
    let abstract_ = "Attempted to use an abstract placeholder from a mapper function.";
    let error = leaked.clone().await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("Error: {abstract_}")), "{error}");
    let error = api.call("add", (&leaked, 1)).await.unwrap_err().to_string();
    assert!(error.contains(abstract_), "{error}");
    let other = list.map_each(|n| api.call_typed::<u32, Never>("add", &(n, &leaked)));
    assert!(other.await.unwrap_err().to_string().contains(abstract_));
    let made = list.map_each(|n| {
        let function = Func::<u32, u32>::new(|n| async move { n });
        api.call_typed::<u32, Never>("callBack", &(function, n))
    });
    let error = made.await.unwrap_err().to_string();
    let expected = "Error: Can't construct an RpcTarget or RPC callback inside a mapper function.";
    assert!(error.starts_with(expected), "{error}");
    drop(list);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn calls_are_not_recorded_after_a_panic() {
    let (api, pair, _) = client();
    let list = numbers(&api, &[1]);
    let closure = std::panic::AssertUnwindSafe(|| list.map_each(|_| -> Promise<u32> { panic!("in the closure") }));
    assert!(std::panic::catch_unwind(closure).is_err());
    assert_eq!(api.call("add", (1, 2)).await.unwrap(), Value::from(3));
    drop(list);
    assert_idle(&pair).await;
}

#[tokio::test]
async fn local_list_is_mapped() {
    let (api, pair, _) = client();
    let list = Promise::<Vec<u32>>::new(async { Ok(vec![1, 2]) });
    let mapped = list.map_each(|n| api.call_typed::<u32, Never>("add", &(n, 5)));
    assert_eq!(mapped.await.unwrap(), [6, 7]);
    drop(list);
    assert_idle(&pair).await;
}
