//! The runtime on which the methods of a session run: that of its driver, regardless of which
//! thread uses the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bowline_core::endpoint::Attach;
use bowline_core::limits::Limits;
use bowline_core::link::{Features, LinkRules, Role};
use bowline_core::peer::testing::{link, pair};
use bowline_core::peer::{Args, Connection, Member, Never, Object, Reply, Sending, Stub, Transport};
use tokio::runtime::{Builder, Handle};

use crate::fixture::*;

/// Records whether its methods run on the right runtime.
struct Homebound {
    home: tokio::runtime::Id,
    strays: Arc<AtomicUsize>,
}

impl Homebound {
    fn look(&self) {
        let is_home = Handle::try_current().is_ok_and(|handle| handle.id() == self.home);
        self.strays.fetch_add(usize::from(!is_home), Ordering::SeqCst);
    }
}

impl Object for Homebound {
    fn interface(&self) -> &'static str {
        "Homebound"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("at_once"), method("waits"), method("sleeps")];
        MEMBERS
    }

    fn call(self: Arc<Self>, name: &str, _: Args) -> Option<Reply> {
        self.look();
        match name {
            "at_once" => now(()),
            "waits" => later(async move {
                tokio::task::yield_now().await;
                self.look();
                Ok::<_, Never>(())
            }),
            _ => later(async move {
                tokio::time::sleep(Duration::from_micros(10)).await;
                self.look();
                Ok::<_, Never>(())
            }),
        }
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

fn homebound() -> (Stub, Arc<AtomicUsize>) {
    let strays = Arc::new(AtomicUsize::new(0));
    (Stub::new(Homebound { home: Handle::current().id(), strays: Arc::clone(&strays) }), strays)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_run_on_the_runtime_of_the_driver() {
    let (main, strays) = homebound();
    let pair = pair(Some(Stub::new(Api(Arc::default()))), Some(main));
    let is_over = Arc::new(AtomicBool::new(false));
    let uses = |stub: Stub| {
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::SeqCst) {
                // Creating, pulling, and dropping each cause outputs of the session.
                let made: Vec<_> = (0..2).map(|_| stub.call("echo", "x")).collect();
                let pulled: Vec<_> = made.iter().map(|made| made.clone().into_future()).collect();
                drop(made);
                drop(pulled);
                // Leaves time for the calls that are observed.
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    };
    // A thread without a runtime and one of another runtime, on the side whose methods are called.
    let plain = std::thread::spawn(uses(pair.right.root_dyn()));
    let other = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let foreign = other.spawn_blocking(uses(pair.right.root_dyn()));
    let api = pair.left.root_dyn();
    let calls = async {
        for _ in 0..200 {
            let calls: Vec<_> =
                ["at_once", "waits", "sleeps"].iter().map(|name| api.call(name, ()).into_future()).collect();
            for call in calls {
                call.await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), calls).await.expect("calls return");
    is_over.store(true, Ordering::SeqCst);
    plain.join().unwrap();
    foreign.await.unwrap();
    other.shutdown_background();
    assert_eq!(strays.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn waiting_call_runs_while_its_session_is_detached() {
    let seen = Arc::new(Seen::default());
    let mut limits = Limits::default();
    limits.running_calls = 1;
    let main = Stub::new(Api(Arc::clone(&seen)));
    let server = Connection::linked(Some(main), limits, Role::Server, LinkRules::default());
    let attached = server.attach(Features::default(), Attach::New).unwrap();
    let (left, right, wire) = link();
    let driver = tokio::spawn(server.drive(attached.attachment, right, None));
    let (mut sender, _receiver) = left.split();
    for text in [r#"["push",["pipeline",0,["slow"],[]]]"#, r#"["push",["pipeline",0,["note"],["after"]]]"#] {
        sender.feed(text.to_owned()).await.unwrap();
    }
    seen.started.notified().await;
    settle().await;
    wire.cut();
    driver.await.unwrap();
    assert_eq!(seen.order(), [""; 0]);
    seen.go_on.notify_one();
    let both = async {
        while seen.order().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both calls run");
    assert_eq!(seen.order(), ["slow", "after"]);
}
