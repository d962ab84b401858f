//! When a checkpoint is due: after every change that a checkpoint would contain, and after nothing
//! else.

use std::sync::Arc;
use std::time::Duration;

use bowline_core::endpoint::Attach;
use bowline_core::generated::TypedCalls;
use bowline_core::link::{Features, LinkRules, Role, Secret, Ticket};
use bowline_core::peer::testing::link;
use bowline_core::peer::{Connection, Durability, Never, Promise, SessionOptions, Stub};
use futures_util::FutureExt;

use crate::dice::Dice;
use crate::fixture::{Api, Seen, counter, settle};
use crate::recipes::{Account, Policy, ctx, restorers};

/// Both ends of a session with checkpoints, and the newest checkpoint.
struct Kept {
    client: Connection,
    server: Connection,
    /// What the application holds on either side.
    at_client: Arc<Seen>,
    at_server: Arc<Seen>,
    newest: Option<serde_json::Value>,
}

impl Kept {
    fn start() -> Self {
        let (at_client, at_server) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
        let durability = Durability::new(ctx("ann"), restorers(&Arc::new(Policy::default())));
        let options = SessionOptions::new().durability(durability);
        let main = |seen: &Arc<Seen>| Some(Stub::new(Api(Arc::clone(seen))));
        let server = Connection::linked(main(&at_server), options, Role::Server, LinkRules::default());
        server.keep_checkpoints();
        let client = Connection::linked(main(&at_client), SessionOptions::new(), Role::Client, LinkRules::default());
        client.keep_sent(1 << 20);
        let kept = Self { client, server, at_client, at_server, newest: None };
        kept.connect();
        kept
    }

    /// Attaches a new connection.
    fn connect(&self) {
        let (left, right, _) = link();
        for (side, peer, end) in [(&self.client, &self.server, left), (&self.server, &self.client, right)] {
            let processed = peer.processed();
            let how = Attach::Resume { peer_processed: processed, peer_sends_after: None };
            let attached = side.attach(Features::ALL, how).unwrap();
            tokio::spawn(side.drive(attached.attachment, end, None));
        }
    }

    /// Returns what a checkpoint would contain, except messages and releases that need not be
    /// retransmitted.
    async fn state(&self) -> serde_json::Value {
        let snapshot = self.server.inspect(|endpoint| endpoint.session().snapshot().unwrap()).await;
        let mut state = serde_json::to_value(snapshot).unwrap();
        let fields = state.as_object_mut().unwrap();
        fields.remove("out");
        fields.remove("late");
        state
    }

    fn is_due(&self) -> bool {
        self.server.is_checkpoint_due()
    }

    /// Takes and stores a checkpoint as a server does. Returns `false` if that has to wait.
    async fn keep(&mut self) -> bool {
        let number = self.server.checkpoint(serde_json::Value::Null).await;
        let Some(number) = number.map(|checkpoint| checkpoint.number) else { return false };
        self.newest = Some(self.state().await);
        let ticket = Ticket { resume_token: Secret::new(format!("token {number}")), resume_key: None };
        self.server.checkpoint_stored(ticket, None);
        true
    }
}

/// Waits until nothing happens any more, acks of the link included.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// What both applications hold of each other, and the calls in flight.
#[derive(Default)]
struct Hands {
    of_client: Vec<Stub>,
    of_server: Vec<Stub>,
    /// Calls of either side that are awaited.
    calls: Vec<tokio::task::JoinHandle<()>>,
    /// Calls of the client whose result is not pulled.
    unasked: Vec<Promise<usize>>,
}

impl Hands {
    /// Performs one step of either application, or of the network.
    async fn step(&mut self, kept: &Kept, dice: &mut Dice) {
        let (desk, phone) = (kept.client.root_dyn(), kept.server.root_dyn());
        match dice.below(15) {
            0 => self.of_client.push(desk.call_typed::<Stub, Never>("counter", &0).await.unwrap()),
            1 => drop(take(&mut self.of_client, dice)),
            2 => self.of_server.push(phone.call_typed::<Stub, Never>("counter", &0).await.unwrap()),
            3 => drop(take(&mut self.of_server, dice)),
            4 => phone.call_typed::<(), Never>("hold", &Account::reference("ann", None)).await.unwrap(),
            5 => drop(take(&mut kept.at_client.held(), dice)),
            6 => desk.call_typed::<(), Never>("hold", &counter(0, &kept.at_client)).await.unwrap(),
            7 => drop(take(&mut kept.at_server.held(), dice)),
            8 => {
                let of = if dice.one_in(2) { &desk } else { &phone };
                let slow = of.call_typed::<usize, Never>("slow", &());
                self.calls.push(tokio::spawn(async move { drop(slow.await) }));
            }
            9 => drop(take(&mut self.calls, dice).map(|call| call.abort())),
            10 => self.unasked.push(desk.call_typed("slow", &())),
            11 => drop(take(&mut self.unasked, dice)),
            12 => kept.at_server.go_on.notify_waiters(),
            13 => kept.at_client.go_on.notify_waiters(),
            _ => kept.connect(),
        }
    }
}

fn take<T>(from: &mut Vec<T>, dice: &mut Dice) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(dice.below(from.len())))
}

#[tokio::test(start_paused = true)]
async fn checkpoint_is_due_exactly_when_the_session_has_changed() {
    let (mut kept_again, mut at_rest) = (0, 0);
    for seed in 0..60 {
        let (mut kept, mut hands, mut dice) = (Kept::start(), Hands::default(), Dice(seed));
        rest().await;
        let mut was_due = kept.is_due();
        assert!(was_due, "no checkpoint was taken yet");
        for step in 0..40 {
            let was_kept = dice.one_in(3) && kept.keep().await;
            if was_kept {
                kept_again += 1;
            } else {
                hands.step(&kept, &mut dice).await;
            }
            rest().await;
            let told = kept.server.changed().now_or_never().is_some();
            let is_due = kept.is_due();
            assert!(!(is_due && was_kept), "seed {seed}, step {step}: the ack of a token is not a change");
            assert!(is_due || !told, "seed {seed}, step {step}: nothing has changed");
            assert!(told || !is_due || was_due, "seed {seed}, step {step}: the owner is not notified");
            if !is_due {
                assert_eq!(Some(kept.state().await), kept.newest, "seed {seed}, step {step}");
                at_rest += 1;
            }
            was_due = is_due;
            // Reading the endpoint wakes the driver, which may send something.
            settle().await;
        }
    }
    assert!(kept_again > 500 && at_rest > 500, "{kept_again} {at_rest}");
}

#[tokio::test(start_paused = true)]
async fn waiting_checkpoint_is_retried_only_after_something_arrives() {
    let kept = Kept::start();
    rest().await;
    assert!(kept.server.changed().now_or_never().is_some());
    let take = || kept.server.checkpoint(serde_json::Value::Null);
    assert!(take().await.is_some());
    for _ in 0..3 {
        assert!(take().await.is_none(), "the first is still being stored");
        rest().await;
        assert!(kept.is_due() && kept.server.changed().now_or_never().is_none());
        rest().await;
    }
    kept.client.root_dyn().call_typed::<(), Never>("note", &"here").await.unwrap();
    rest().await;
    assert!(kept.server.changed().now_or_never().is_some());
}

/// Without a checkpoint, the reference is lost with the process.
#[tokio::test]
async fn checkpoint_is_due_at_once_after_a_durable_object_is_first_exported() {
    let mut kept = Kept::start();
    let phone = kept.server.root_dyn();
    let is_urgent = |kept: &Kept| kept.server.is_checkpoint_urgent();
    phone.call_typed::<(), Never>("hold", &counter(0, &kept.at_server)).await.unwrap();
    assert!(!is_urgent(&kept), "an object that cannot be restored is lost in any case");
    assert!(kept.server.urgent().now_or_never().is_none());
    let account = Account::reference("ann", None);
    phone.call_typed::<(), Never>("hold", &account).await.unwrap();
    assert!(is_urgent(&kept) && kept.server.urgent().now_or_never().is_some());
    settle().await;
    assert!(kept.keep().await);
    assert!(!is_urgent(&kept));
    phone.call_typed::<(), Never>("hold", &account).await.unwrap();
    assert!(!is_urgent(&kept), "the checkpoint contains it");
    phone.call_typed::<(), Never>("hold", &Account::reference("bob", None)).await.unwrap();
    assert!(is_urgent(&kept));
}
