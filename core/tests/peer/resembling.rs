//! Typed data that resembles a capability, beside capabilities: in arguments and results, through a
//! gateway, in session variables, and in recipes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_core::generated::TypedCalls;
use bowline_core::peer::testing::{Pair, pair};
use bowline_core::peer::{Func, Never, Recipe, Reference, Restorer, Restorers, RpcError, StoredVars, Stub, Vars};
use bowline_core::value::Value;
use serde::{Deserialize, Serialize};

use crate::recipes::{Account, AccountKey, Policy, ctx, restorers};

const MARKERS: [&str; 12] =
    ["@", "[\"@\"]", "[[\"@\"]]", "\\u0040", "\u{1a}", "\u{1}", "\\u001a", "\"", "\\", "\u{fffd}", "", "$"];

/// One entry of a list that every client may write to, with its reference.
#[derive(Clone, Serialize, Deserialize)]
struct Item {
    name: String,
    tags: Vec<String>,
    notes: BTreeMap<String, Vec<String>>,
    file: Stub,
}

fn item(name: &str, marker: &str, file: Stub) -> Item {
    let tags = vec![marker.to_owned()];
    let notes = BTreeMap::from([(marker.to_owned(), tags.clone())]);
    Item { name: name.to_owned(), tags, notes, file }
}

/// Returns the names of the files that are reached through each item, in order.
async fn reached(items: &[Item]) -> Vec<String> {
    let mut names = Vec::new();
    for item in items {
        names.push(item.file.call_typed::<String, Never>("owner", &()).await.unwrap());
    }
    names
}

/// Serves the items of a peer, each with a durable file that returns its name.
fn serve(marker: &'static str) -> Pair {
    let list = Stub::function(move |_| async move {
        let items = ["draft", "payroll", "taxes"].map(|name| item(name, marker, Account::reference(name, None)));
        Ok(bowline_core::value::to_value(&items.to_vec()).unwrap())
    });
    pair(None, Some(list))
}

#[tokio::test]
async fn call_on_a_list_item_reaches_that_item() {
    for marker in MARKERS {
        let connected = serve(marker);
        let list = connected.left.root_dyn().apply([]);
        for (n, name) in ["draft", "payroll", "taxes"].into_iter().enumerate() {
            let file = list.stub().get(n).get("file");
            assert_eq!(file.call_typed::<String, Never>("owner", &()).await.unwrap(), name, "{marker:?}");
        }
        let items: Vec<Item> = bowline_core::value::from_value(&list.await.unwrap()).unwrap();
        assert_eq!(reached(&items).await, ["draft", "payroll", "taxes"], "{marker:?}");
        assert!(items.iter().all(|item| item.tags == [marker] && item.notes[marker] == [marker]));
    }
}

#[tokio::test]
async fn gateway_forwards_items_with_their_own_references() {
    for marker in MARKERS {
        let behind = serve(marker);
        let list = behind.left.root_dyn();
        let gateway = Stub::function(move |args| {
            let list = list.clone();
            async move {
                let items = list.apply([]).await.map_err(|error| error.to_value())?;
                Ok(Value::Array(vec![Value::Array(args), items]))
            }
        });
        let front = pair(None, Some(gateway));
        let mine = item("mine", marker, Account::reference("mine", None));
        let passed = front.left.root_dyn().apply([bowline_core::value::to_value(&mine).unwrap()]).await.unwrap();
        let (own, items): (Vec<Item>, Vec<Item>) = bowline_core::value::from_value(&passed).unwrap();
        assert_eq!(reached(&own).await, ["mine"], "{marker:?}");
        assert_eq!(reached(&items).await, ["draft", "payroll", "taxes"], "{marker:?}");
        assert!(own.iter().chain(&items).all(|item| item.tags == [marker] && item.notes[marker] == [marker]));
    }
}

#[tokio::test]
async fn limited_reference_does_not_become_the_full_one() {
    for marker in MARKERS {
        let service = Stub::function(move |_| async move {
            let full = Account::reference("ann", Some(Account::reference("bank", None)));
            let limited = full.only(["owner"]);
            Ok(bowline_core::value::to_value(&[item("full", marker, full), item("limited", marker, limited)]).unwrap())
        });
        let connected = pair(None, Some(service));
        let items = connected.left.root_dyn().apply([]).await.unwrap();
        let [full, limited]: [Item; 2] = bowline_core::value::from_value(&items).unwrap();
        full.file.call_typed::<Stub, Never>("parent", &()).await.unwrap();
        assert!(limited.file.call_typed::<Stub, Never>("parent", &()).await.is_err(), "{marker:?}");
        assert_eq!(reached(&[limited]).await, ["ann"]);
    }
}

#[tokio::test]
async fn map_over_a_list_calls_each_item() {
    for marker in MARKERS {
        let connected = serve(marker);
        let owners = connected.left.root_dyn().apply([]).stub().map_each(|item| item.get("file").call("owner", ()));
        let expected: Vec<Value> = ["draft", "payroll", "taxes"].map(Value::from).into();
        assert_eq!(owners.await.unwrap(), Value::Array(expected), "{marker:?}");
    }
}

#[tokio::test]
async fn callback_receives_data_and_references_in_their_positions() {
    for marker in MARKERS {
        let connected = serve(marker);
        let function = Func::new(move |(first, again): (Item, Item)| async move {
            assert_eq!((first.tags, again.tags), (vec![marker.to_owned()], vec![marker.to_owned()]));
            [first.name, again.name]
        });
        let call = Stub::function(move |mut args| async move {
            let function = Stub::from_value(&args.remove(0)).unwrap();
            function.apply(args).await.map_err(|error| error.to_value())
        });
        let caller = pair(None, Some(call));
        let items = connected.left.root_dyn().apply([]);
        let function = function.stub().clone().into_value();
        let args =
            [function, items.stub().get(2_usize).clone().into_value(), items.stub().get(0_usize).clone().into_value()];
        let names = caller.left.root_dyn().apply(args).await.unwrap();
        assert_eq!(names, Value::Array(vec!["taxes".into(), "draft".into()]), "{marker:?}");
    }
}

#[tokio::test]
async fn variables_are_stored_and_read_back() {
    let restorers = restorers(&Arc::new(Policy::default()));
    for marker in MARKERS {
        let vars = Vars::new();
        vars.set("items", &["a", "b"].map(|name| item(name, marker, Account::reference(name, None)))).unwrap();
        let items: Vec<Item> = vars.get("items").unwrap().unwrap();
        assert_eq!(reached(&items).await, ["a", "b"], "{marker:?}");
        let stored = serde_json::to_string(&vars.stored()).unwrap();
        let stored: StoredVars = serde_json::from_str(&stored).unwrap();
        let again = Vars::restored(stored, &restorers, &ctx("ann")).unwrap();
        let items: Vec<Item> = again.get("items").unwrap().unwrap();
        assert_eq!(reached(&items).await, ["a", "b"], "{marker:?}");
        assert!(items.iter().all(|item| item.tags == [marker] && item.notes[marker] == [marker]));
    }
}

#[tokio::test]
async fn object_is_restored_from_data_and_references_in_their_positions() {
    let restorer = Restorer::new("items", 1, |_, items: Vec<Item>| async move {
        let names = reached(&items).await;
        assert!(names.iter().eq(items.iter().map(|item| &item.name)));
        Ok(Account::reference(&items[0].tags.concat(), Some(items[1].file.clone())))
    });
    let account =
        Restorer::new("account", 2, |_, key: AccountKey| async move { Ok(Account::reference(&key.owner, key.parent)) });
    let restorers = Arc::new(Restorers::new().with(restorer).with(account));
    for marker in MARKERS {
        let items = vec![
            item("a", marker, Account::reference("a", None)),
            item("b", marker, Account::reference("b", Some(Account::reference(marker, None)))),
        ];
        let made =
            Stub::durable(Account(AccountKey { owner: String::new(), parent: None }), Recipe::new("items", 1, &items));
        let stored = serde_json::to_string(&made.stored_recipe().unwrap()).unwrap();
        let again = restorers.restore(&ctx("ann"), &serde_json::from_str(&stored).unwrap());
        assert_eq!(again.call_typed::<String, Never>("owner", &()).await.unwrap(), marker);
        let parent: Stub = again.call_typed::<_, Never>("parent", &()).await.unwrap();
        assert_eq!(parent.call_typed::<String, Never>("owner", &()).await.unwrap(), "b", "{marker:?}");
        let bank: Stub = parent.call_typed::<_, Never>("parent", &()).await.unwrap();
        assert_eq!(bank.call_typed::<String, Never>("owner", &()).await.unwrap(), marker);
    }
}
