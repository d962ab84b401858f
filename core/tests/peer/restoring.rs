//! Sessions that another process recovers: what the peer held is restored, or fails with the
//! reason. The test plays the client, message by message.

mod calls;
mod dropped;
mod narrowed;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_core::endpoint::Endpoint;
use bowline_core::error::ErrorCode;
use bowline_core::generated::TypedCalls;
use bowline_core::limits::Limits;
use bowline_core::link::Attachment;
use bowline_core::peer::testing::{End, EndReceiver, EndSender, link};
use bowline_core::peer::{
    Args, Begun, BoxError, CallLog, Connection, Durability, Func, Member, Never, Object, Receiving, Recipe, Repeat,
    Reply, Restorer, Restorers, Sending, SessionOptions, Stub, Transport, Vars, call_id,
};
use bowline_core::session::{Report, Revived, Session, Snapshot, Wanted};
use bowline_core::value::Value;

use crate::objects::{later, method, now, repeatable, settle};
use crate::recipes::{Account, Policy, ctx, restorers};

/// What outlives the processes of these tests.
#[derive(Default)]
struct World {
    policy: Arc<Policy>,
    ran: Mutex<Vec<String>>,
    /// Whether slow calls return in this process.
    ends: AtomicUsize,
    log: Mutex<std::collections::HashMap<i64, Option<String>>>,
    vars: Vars,
}

struct Root(Arc<World>);

impl Object for Root {
    fn interface(&self) -> &'static str {
        "Root"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[
            method("account"),
            method("setVariable"),
            method("plain"),
            method("watcher"),
            method("unknown"),
            method("slow"),
            repeatable("slowAgain", Repeat::Idempotent),
            repeatable("count", Repeat::Recorded),
            repeatable("slowCount", Repeat::Recorded),
            method("narrow"),
            method("revocable"),
        ];
        MEMBERS
    }

    fn call(self: Arc<Self>, method: &str, args: Args) -> Option<Reply> {
        let world = Arc::clone(&self.0);
        match method {
            "account" => {
                let (owner, parent): (String, Option<Stub>) = args.decode().unwrap();
                now(Account::reference(&owner, parent))
            }
            "setVariable" => {
                let (name, value): (String, Value) = args.decode().unwrap();
                world.vars.set(&name, &value).unwrap();
                now(())
            }
            "plain" => now(Stub::new(Self(world))),
            "unknown" => now(Stub::durable(Self(world), Recipe::new("missing", 1, &()))),
            "narrow" => {
                let (stub, names): (Stub, Vec<String>) = args.decode().unwrap();
                now(stub.only(names))
            }
            "revocable" => now(args.decode::<Stub>().unwrap().only(["owner"]).revocable().0),
            "watcher" => now(watcher(args.decode().unwrap())),
            "count" => {
                world.ran.lock().unwrap().push("count".to_owned());
                later(async move { Ok::<_, Never>(world.ran.lock().unwrap().len()) })
            }
            "slow" | "slowAgain" | "slowCount" => {
                world.ran.lock().unwrap().push(format!("{method} {}", call_id().unwrap()));
                later(async move {
                    if world.ends.load(Ordering::SeqCst) == 0 {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Never>("done")
                })
            }
            _ => None,
        }
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

/// Calls the client back.
struct Watcher(Func<String, ()>);

fn watcher(callback: Func<String, ()>) -> Stub {
    let recipe = Recipe::new("watcher", 1, &(&callback,));
    Stub::durable(Watcher(callback), recipe)
}

impl Object for Watcher {
    fn interface(&self) -> &'static str {
        "Watcher"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("poke")];
        MEMBERS
    }

    fn call(self: Arc<Self>, _: &str, _: Args) -> Option<Reply> {
        drop(self.0.call("poked".to_owned()));
        now("ok")
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

#[derive(Clone)]
struct Log(Arc<World>);

#[async_trait::async_trait]
impl CallLog for Log {
    async fn begin(&self, call: i64) -> Result<Begun, ErrorCode> {
        let before = self.0.log.lock().unwrap().get(&call).cloned();
        Ok(match before {
            None => {
                self.0.log.lock().unwrap().insert(call, None);
                Begun::Now
            }
            Some(None) => Begun::Before,
            Some(Some(outcome)) => Begun::Ended(outcome),
        })
    }

    async fn end(&self, call: i64, outcome: &str) -> Result<(), ErrorCode> {
        self.0.log.lock().unwrap().insert(call, Some(outcome.to_owned()));
        Ok(())
    }
}

fn options(world: &Arc<World>) -> SessionOptions {
    let mut all = Arc::into_inner(restorers(&world.policy)).unwrap();
    all = all.with(Restorer::new("watcher", 1, |_, (callback,): (Func<String, ()>,)| async move {
        Ok::<_, BoxError>(watcher(callback))
    }));
    options_with(world, all)
}

fn options_with(world: &Arc<World>, restorers: Restorers) -> SessionOptions {
    let durability = Durability::new(ctx("ann"), Arc::new(restorers)).log(Log(Arc::clone(world)));
    SessionOptions::new().durability(durability)
}

/// A process of the server, and the client's end of the connection.
struct Life {
    server: Connection,
    sender: EndSender,
    receiver: EndReceiver,
}

impl Life {
    fn first(world: &Arc<World>) -> Self {
        let (client, server) = wire();
        let (server, driver) = Connection::start(server, Some(Stub::new(Root(Arc::clone(world)))), options(world));
        tokio::spawn(driver);
        let (sender, receiver) = client.split();
        Self { server, sender, receiver }
    }

    /// Creates the next process, for a client that holds `hold` and awaits `pull`.
    fn next(world: &Arc<World>, options: SessionOptions, kept: &str, hold: &[i64], pull: &[i64]) -> (Self, Revived) {
        let snapshot: Snapshot = serde_json::from_str(kept).unwrap();
        let mut session = Session::restore(snapshot, Limits::default()).unwrap();
        let clients = session.ids().of_peer();
        let known = Arc::clone(&all_of(world));
        let revived = session.revive(Report::Whole(clients), |recipe, kind| known.lives(recipe, kind)).unwrap();
        session.reconcile(&Wanted { hold: hold.to_vec(), pull: pull.to_vec() });
        let endpoint = Endpoint::over(session);
        let main = Some(Stub::new(Root(Arc::clone(world))));
        let server = Connection::recovered(endpoint, &revived.targets, main, options);
        let (client, end) = wire();
        tokio::spawn(server.drive(Attachment::PLAIN, end, None));
        let (sender, receiver) = client.split();
        (Self { server, sender, receiver }, revived)
    }

    async fn say(&mut self, text: &str) {
        self.sender.feed(text.to_owned()).await.unwrap();
    }

    async fn hear(&mut self) -> String {
        let heard = tokio::time::timeout(Duration::from_secs(10), self.receiver.receive());
        heard.await.expect("the server sends a message").unwrap()
    }

    async fn ask(&mut self, id: i64, push: &str) -> String {
        self.say(&format!(r#"["push",{push}]"#)).await;
        self.say(&format!(r#"["pull",{id}]"#)).await;
        self.hear().await
    }

    async fn keep(&self) -> String {
        settle().await;
        self.server.inspect(snapshot).await
    }
}

fn snapshot(endpoint: &Endpoint) -> String {
    serde_json::to_string(&endpoint.session().snapshot().unwrap()).unwrap()
}

fn all_of(world: &Arc<World>) -> Arc<Restorers> {
    let all = Arc::into_inner(restorers(&world.policy)).unwrap();
    Arc::new(all.with(Restorer::new("watcher", 1, |_, (): ()| async { Err::<Stub, _>("".into()) })))
}

fn wire() -> (End, End) {
    let (left, right, _) = link();
    (left, right)
}

const ACCOUNT: &str = r#"["pipeline",0,["account"],["ann",null]]"#;

#[tokio::test]
async fn durable_objects_are_restored_and_equal_recipes_share_one_object() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    assert_eq!(first.ask(1, ACCOUNT).await, r#"["resolve",1,["export",-1]]"#);
    assert_eq!(first.ask(2, ACCOUNT).await, r#"["resolve",2,["export",-2]]"#);
    assert_eq!(first.ask(3, r#"["pipeline",0,["plain"],[]]"#).await, r#"["resolve",3,["export",-3]]"#);
    assert_eq!(first.ask(4, r#"["pipeline",0,["unknown"],[]]"#).await, r#"["resolve",4,["export",-4]]"#);
    let kept = first.keep().await;
    drop(first);

    let (mut next, revived) = Life::next(&world, options(&world), &kept, &[-1, -2], &[]);
    let lost: Vec<(i64, ErrorCode)> = revived.lost.into_iter().filter(|&(id, _)| id < 0).collect();
    assert_eq!(lost, [(-4, ErrorCode::RestorerUnknown), (-3, ErrorCode::CapabilityLost)]);
    assert_eq!(world.policy.made.load(Ordering::SeqCst), 0, "nothing is restored before it is used");
    assert_eq!(next.ask(5, r#"["pipeline",-1,["owner"],[]]"#).await, r#"["resolve",5,"ann"]"#);
    assert_eq!(next.ask(6, r#"["pipeline",-2,["owner"],[]]"#).await, r#"["resolve",6,"ann"]"#);
    assert_eq!(world.policy.made.load(Ordering::SeqCst), 1);

    let kept = next.keep().await;
    let (mut third, _) = Life::next(&world, options(&world), &kept, &[-1], &[]);
    assert_eq!(third.ask(7, r#"["pipeline",-1,["owner"],[]]"#).await, r#"["resolve",7,"ann"]"#);
}

#[tokio::test]
async fn revoked_permission_stays_revoked_after_recovery() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let kept = first.keep().await;
    drop(first);
    world.policy.withdrawn.lock().unwrap().insert("ann".to_owned());

    let (mut next, _) = Life::next(&world, options(&world), &kept, &[-1], &[]);
    for id in [2, 3] {
        let answer = next.ask(id, r#"["pipeline",-1,["owner"],[]]"#).await;
        assert!(answer.starts_with(&format!(r#"["reject",{id},["error","Error","#)), "{answer}");
        assert!(answer.ends_with(r#"null,{"code":"PERMISSION_DENIED"}]]"#), "{answer}");
    }
    assert_eq!(world.policy.made.load(Ordering::SeqCst), 0);
    assert_eq!(next.ask(4, r#"["pipeline",0,["account"],["bob",null]]"#).await, r#"["resolve",4,["export",-2]]"#);
}

#[tokio::test]
async fn dependencies_are_restored_first_and_keep_their_identity() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let child = r#"["pipeline",0,["account"],["bank",["import",-1]]]"#;
    assert_eq!(first.ask(2, child).await, r#"["resolve",2,["export",-2]]"#);
    let kept = first.keep().await;
    drop(first);

    let (mut next, _) = Life::next(&world, options(&world), &kept, &[-1, -2], &[]);
    next.say(r#"["push",["pipeline",-2,["parent"],[]]]"#).await;
    assert_eq!(next.ask(4, r#"["pipeline",3,["owner"],[]]"#).await, r#"["resolve",4,"ann"]"#);
    assert_eq!(world.policy.made.load(Ordering::SeqCst), 2);
    // An unrestored object as an argument: the new account is durable, as its parent is.
    let (mut other, _) = Life::next(&world, options(&world), &kept, &[-1], &[]);
    other.ask(3, child).await;
    let kept = other.keep().await;
    let (mut third, revived) = Life::next(&world, options(&world), &kept, &[-3], &[]);
    assert!(revived.restored.contains(&-3), "{revived:?}");
    third.say(r#"["push",["pipeline",-3,["parent"],[]]]"#).await;
    assert_eq!(third.ask(5, r#"["pipeline",4,["owner"],[]]"#).await, r#"["resolve",5,"ann"]"#);
}

#[tokio::test]
async fn unrestored_object_can_be_stored_in_a_variable() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    first.ask(2, r#"["pipeline",0,["account"],["bank",["import",-1]]]"#).await;
    let kept = first.keep().await;
    drop(first);

    let (mut next, _) = Life::next(&world, options(&world), &kept, &[-1, -2], &[]);
    let store = r#"["pipeline",0,["setVariable"],["mine",["import",-2]]]"#;
    assert_eq!(next.ask(3, store).await, r#"["resolve",3,["undefined"]]"#);
    assert_eq!(world.policy.made.load(Ordering::SeqCst), 0);
    let again = Vars::restored(world.vars.stored(), &all_of(&world), &ctx("ann")).unwrap();
    let mine = again.get::<Stub>("mine").unwrap().unwrap();
    let parent = mine.call_typed::<Stub, Never>("parent", &()).await.unwrap();
    assert_eq!(parent.call_typed::<String, Never>("owner", &()).await.unwrap(), "ann");
}

#[tokio::test]
async fn restored_object_calls_the_clients_callback() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, r#"["pipeline",0,["watcher"],[["export",-1]]]"#).await;
    first.say(r#"["release",1,1]"#).await;
    let kept = first.keep().await;
    drop(first);

    let (mut next, revived) = Life::next(&world, options(&world), &kept, &[-1], &[]);
    assert_eq!(revived.imports, [(-1, 1)]);
    next.say(r#"["push",["pipeline",-1,["poke"],[]]]"#).await;
    assert_eq!(next.hear().await, r#"["push",["pipeline",-1,[],["poked"]]]"#);
}

#[tokio::test]
async fn calls_wait_for_the_restored_object_in_order() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let kept = first.keep().await;
    drop(first);
    let (made, order) = (Arc::new(tokio::sync::Notify::new()), Arc::clone(&world));
    let gate = Arc::clone(&made);
    let slow = Restorer::new("account", 2, move |_, _: serde_json::Value| {
        let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
        async move {
            gate.notified().await;
            Ok(Stub::durable(Noted(order), Recipe::new("account", 2, &())))
        }
    });
    let (mut next, _) = Life::next(&world, options_with(&world, Restorers::new().with(slow)), &kept, &[-1], &[]);
    for note in 0..20 {
        if note == 10 {
            settle().await;
            made.notify_one();
        }
        next.say(&format!(r#"["push",["pipeline",-1,["note"],[{note}]]]"#)).await;
    }
    next.ask(22, r#"["pipeline",-1,["note"],[20]]"#).await;
    let expected: Vec<String> = (0..=20).map(|note| note.to_string()).collect();
    assert_eq!(*world.ran.lock().unwrap(), expected);
}

struct Noted(Arc<World>);

impl Object for Noted {
    fn interface(&self) -> &'static str {
        "Noted"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("note")];
        MEMBERS
    }

    fn call(self: Arc<Self>, _: &str, args: Args) -> Option<Reply> {
        let note: u32 = args.decode().unwrap();
        self.0.ran.lock().unwrap().push(note.to_string());
        now(())
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

#[tokio::test]
async fn eager_restorers_run_without_a_call() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let kept = first.keep().await;
    drop(first);
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let eager = Restorer::new("account", 2, move |_, _: serde_json::Value| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(Account::reference("ann", None)) }
    });
    let all = Restorers::new().with(eager.eager());
    let (_next, _) = Life::next(&world, options_with(&world, all), &kept, &[-1], &[]);
    settle().await;
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn changes_are_reported_and_released_state_is_dropped() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    let empty = first.keep().await;
    first.server.changed().await;
    first.ask(1, ACCOUNT).await;
    tokio::time::timeout(Duration::from_secs(10), first.server.changed()).await.expect("a call is a change");
    first.say(r#"["release",1,1]"#).await;
    first.say(r#"["release",-1,1]"#).await;
    settle().await;
    let after: serde_json::Value = serde_json::from_str(&first.keep().await).unwrap();
    let before: serde_json::Value = serde_json::from_str(&empty).unwrap();
    let but_counters = |mut value: serde_json::Value| {
        value.as_object_mut().unwrap().remove("nid");
        value
    };
    assert_eq!(but_counters(after), but_counters(before));
}

#[tokio::test]
async fn calls_on_an_object_are_answered_when_its_runtime_ends_during_restore() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let kept = first.keep().await;
    drop(first);
    let panics = Restorer::new("account", 2, |_, _: serde_json::Value| async {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let _bomb = Bomb;
        std::future::pending::<Result<Stub, BoxError>>().await
    });
    let restorers = Restorers::new().with(panics).restore_timeout(Duration::from_millis(10));
    let (mut next, _) = Life::next(&world, options_with(&world, restorers), &kept, &[-1], &[]);
    let answer = next.ask(2, r#"["pipeline",-1,["owner"],[]]"#).await;
    assert!(answer.ends_with(r#"{"code":"RESTORE_FAILED"}]]"#), "{answer}");
}
