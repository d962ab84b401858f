//! The objects that the tests call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use bowline_core::peer::testing::{Pair, pair};
use bowline_core::peer::{
    Args, CallError, Func, Lifetime, Member, MemberKind, Never, Object, Promise, Repeat, Reply, RpcError, Stub,
};
use bowline_core::value::{ErrorValue, Object as Props, Value};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub(crate) use crate::objects::{assert_idle, later, method, now, settle};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) boss: u32,
}

#[derive(Debug, PartialEq)]
pub(crate) struct NoUser {
    pub(crate) id: u32,
}

impl RpcError for NoUser {
    fn to_value(&self) -> Value {
        Value::Error(Box::new(ErrorValue {
            name: "NoUser".to_owned(),
            message: format!("no user {}", self.id),
            stack: None,
            props: [("id", Value::Number(self.id.into()))].into_iter().collect::<Props>(),
        }))
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Error(error) = value else { return None };
        match error.props.get("id") {
            Some(Value::Number(id)) if error.name == "NoUser" => Some(Self { id: *id as u32 }),
            _ => None,
        }
    }
}

/// What the tests observe.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) held: Mutex<Vec<Stub>>,
    pub(crate) order: Mutex<Vec<String>>,
    pub(crate) cancelled: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    pub(crate) started: Notify,
    pub(crate) go_on: Notify,
}

impl Seen {
    pub(crate) fn held(&self) -> MutexGuard<'_, Vec<Stub>> {
        self.held.lock().unwrap()
    }

    pub(crate) fn order(&self) -> Vec<String> {
        self.order.lock().unwrap().clone()
    }
}

pub(crate) struct Api(pub(crate) Arc<Seen>);

pub(crate) const fn property(name: &'static str) -> Member {
    Member { name, kind: MemberKind::Property, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session }
}

impl Object for Api {
    fn interface(&self) -> &'static str {
        "Api"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[
            method("add"),
            method("authenticate"),
            method("profile"),
            method("counter"),
            method("counterLater"),
            method("callBack"),
            method("hold"),
            method("give"),
            method("echo"),
            method("note"),
            method("panic"),
            method("panicLater"),
            method("forever"),
            method("slow"),
            method("unencodable"),
            property("version"),
            property("config"),
            property("root"),
            method("toString"),
        ];
        MEMBERS
    }

    fn call(self: Arc<Self>, name: &str, args: Args) -> Option<Reply> {
        let seen = Arc::clone(&self.0);
        match name {
            "add" => later(async move {
                let (a, b): (u32, u32) = args.decode()?;
                Ok::<_, ErrorValue>(a + b)
            }),
            "authenticate" => now(Stub::new(Authed)),
            "profile" => later(async move {
                match args.decode::<u32>() {
                    Ok(id @ 0..100) => Ok(Profile { name: format!("user {id}"), boss: id + 1 }),
                    Ok(id) => Err(NoUser { id }),
                    Err(error) => panic!("{error}"),
                }
            }),
            "counter" => now(counter(args.decode().unwrap_or(0), &seen)),
            "counterLater" => now(Later {
                counter: Promise::new(async move {
                    seen.go_on.notified().await;
                    Ok(counter(5, &seen))
                }),
            }),
            "callBack" => later(async move {
                let (function, n): (Func<u32, u32>, u32) = args.decode().map_err(CallError::App)?;
                function.call(n).await.map_err(|error| CallError::Remote(error.remote().unwrap().clone()))
            }),
            "hold" => {
                seen.held().push(args.decode().unwrap());
                now(())
            }
            "give" => now(seen.held().first().cloned()),
            "echo" => {
                let value: Value = args.decode().unwrap();
                now(value)
            }
            "note" => {
                let note: String = args.decode().unwrap();
                seen.order.lock().unwrap().push(note);
                now(())
            }
            "panic" => panic!("at once"),
            "panicLater" => later::<(), Never, _>(async move {
                tokio::task::yield_now().await;
                panic!("later")
            }),
            "forever" => later::<(), Never, _>(async move {
                let _guard = Cancelled(Arc::clone(&seen));
                seen.started.notify_one();
                std::future::pending().await
            }),
            "slow" => later(async move {
                let _guard = Cancelled(Arc::clone(&seen));
                seen.started.notify_one();
                seen.go_on.notified().await;
                seen.order.lock().unwrap().push("slow".to_owned());
                Ok::<_, Never>(args.len())
            }),
            "unencodable" => now(u64::MAX),
            "toString" => now("never"),
            _ => None,
        }
    }

    fn get(self: Arc<Self>, name: &str) -> Option<Reply> {
        match name {
            "version" => now("1.2"),
            "config" => now(serde_json::json!({"limits": {"users": 3}})),
            "root" => now(Stub::new(Authed)),
            _ => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Later {
    pub(crate) counter: Promise<Stub>,
}

struct Cancelled(Arc<Seen>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

struct Authed;

impl Object for Authed {
    fn interface(&self) -> &'static str {
        "Authed"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("me")];
        MEMBERS
    }

    fn call(self: Arc<Self>, name: &str, _: Args) -> Option<Reply> {
        match name {
            "me" => now(Profile { name: "Ann".to_owned(), boss: 7 }),
            _ => None,
        }
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

pub(crate) struct Counter {
    count: AtomicUsize,
    seen: Arc<Seen>,
}

pub(crate) fn counter(start: usize, seen: &Arc<Seen>) -> Stub {
    Stub::new(Counter { count: start.into(), seen: Arc::clone(seen) })
}

impl Object for Counter {
    fn interface(&self) -> &'static str {
        "Counter"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("add"), property("count")];
        MEMBERS
    }

    fn call(self: Arc<Self>, name: &str, args: Args) -> Option<Reply> {
        match name {
            "add" => {
                let by: usize = args.decode().unwrap();
                now(self.count.fetch_add(by, Ordering::SeqCst) + by)
            }
            _ => None,
        }
    }

    fn get(self: Arc<Self>, name: &str) -> Option<Reply> {
        match name {
            "count" => now(self.count.load(Ordering::SeqCst)),
            _ => None,
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.seen.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Creates a client on the left and an `Api` on the right.
pub(crate) fn client() -> (Stub, Pair, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let pair = pair(None, Some(Stub::new(Api(Arc::clone(&seen)))));
    (pair.left.root_dyn(), pair, seen)
}
