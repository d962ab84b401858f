//! A client: it calls, streams and gives callbacks at random, and writes down how each call ended.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline::link::LinkEvent;
use bowline::{CallError, ErrorCode, Func, RpcError, Session, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::app::{ShelfRef, ShopRef};
use crate::dice::Dice;
use crate::network::Network;
use crate::process::SHOP;

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Put,
    Slow,
    Again,
    Once,
    /// On an object that outlives its process.
    Durable,
    /// On one that does not.
    Fleeting,
    /// On one that was saved, and restored.
    Saved,
    Ask,
    Note,
    Upload,
    Download,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Answered(u64),
    Failed(Option<ErrorCode>, String),
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) what: What,
    /// It is not awaited.
    pub(crate) is_dropped: bool,
    pub(crate) end: Option<End>,
    pub(crate) took: Duration,
}

/// Calls by their numbers.
pub(crate) type Calls = Arc<Mutex<BTreeMap<u64, Call>>>;

pub(crate) struct Client {
    number: u64,
    dice: Dice,
    session: Session,
    shop: ShopRef,
    shelves: Arc<Mutex<Vec<(What, ShelfRef)>>>,
    /// Tokens of saved shelves.
    saved: Arc<Mutex<Vec<String>>>,
    pub(crate) calls: Calls,
    /// How often each callback was called.
    pub(crate) asked: Arc<Mutex<BTreeMap<u64, u32>>>,
    waiting: JoinSet<()>,
    next: u64,
    pub(crate) events: Arc<Mutex<Vec<LinkEvent>>>,
}

fn end<E: Display + RpcError>(result: Result<u64, CallError<E>>) -> End {
    match result {
        Ok(value) => End::Answered(value),
        Err(error) => End::Failed(error.code(), error.to_string()),
    }
}

impl Client {
    /// Opens a session, however long that takes.
    pub(crate) async fn connect(number: u64, seed: u64, network: &Network) -> Self {
        let session = loop {
            let network = network.clone();
            let dial = move |host: String, _port| network.clone().dial(host);
            let connecting =
                Session::builder(format!("ws://{SHOP}/rpc")).bearer(format!("client{number}")).dialer(dial);
            match connecting.connect().await {
                Ok(session) => break session,
                Err(_later) => sleep(Duration::from_millis(100)).await,
            }
        };
        let mut waiting = JoinSet::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let (mut coming, seen) = (session.events(), Arc::clone(&events));
        waiting.spawn(async move {
            while let Some(event) = coming.next().await {
                seen.lock().unwrap().push(event);
            }
        });
        Self {
            number,
            dice: Dice(seed),
            shop: session.root(),
            session,
            shelves: Arc::default(),
            saved: Arc::default(),
            calls: Arc::default(),
            asked: Arc::default(),
            waiting,
            next: number * 10_000,
            events,
        }
    }

    /// Works for a while. Calls that are under way then are waited for in `rest`.
    pub(crate) async fn work(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
            let pause = [0, 0, 5, 40, 300, 1_500][self.dice.below(6)];
            sleep(Duration::from_millis(pause)).await;
        }
    }

    fn step(&mut self) {
        self.next += 1;
        let (call, ms) = (self.next, [0, 10, 200, 1_900][self.dice.below(4)]);
        let (shop, client) = (self.shop.clone(), self.number);
        match self.dice.below(16) {
            0..3 => self.wait(What::Put, shop.put(client, call)),
            3 => self.wait(What::Slow, shop.slow(call, ms)),
            4 => self.wait(What::Again, shop.again(call, ms)),
            5 => self.wait(What::Once, shop.once(call, ms)),
            6 => self.hold(),
            7..9 => self.lay(),
            9 => self.ask(),
            10 => self.wait(What::Note, shop.note(call)),
            11 => self.upload(),
            12 => self.download(),
            13 => self.save(),
            14 => self.restore(),
            _ => {
                // Of a call whose promise is dropped nothing is heard.
                self.begin(What::Slow, true);
                drop(shop.slow(call, ms));
            }
        }
    }

    fn begin(&self, what: What, is_dropped: bool) {
        let call = Call { what, is_dropped, end: None, took: Duration::ZERO };
        self.calls.lock().unwrap().insert(self.next, call);
    }

    /// Waits for a call in a task of its own.
    fn wait<F, E>(&mut self, what: What, calling: F)
    where
        F: IntoFuture<Output = Result<u64, CallError<E>>, IntoFuture: Send> + Send + 'static,
        E: Display + RpcError,
    {
        self.begin(what, false);
        let (calls, call, began) = (Arc::clone(&self.calls), self.next, Instant::now());
        self.waiting.spawn(async move {
            let end = end(calling.await);
            let mut calls = calls.lock().unwrap();
            let call = calls.get_mut(&call).unwrap();
            assert_eq!(call.end, None, "a call ends once");
            (call.end, call.took) = (Some(end), began.elapsed());
        });
    }

    fn hold(&mut self) {
        let (what, shelf) = if self.dice.one_in(3) {
            (What::Fleeting, self.shop.box_())
        } else {
            (What::Durable, self.shop.shelf(self.number))
        };
        let shelves = Arc::clone(&self.shelves);
        self.waiting.spawn(async move {
            if let Ok(shelf) = shelf.await {
                shelves.lock().unwrap().push((what, shelf));
            }
        });
    }

    fn lay(&mut self) {
        let call = self.next;
        let shelf = {
            let mut shelves = self.shelves.lock().unwrap();
            if shelves.is_empty() {
                return;
            }
            let at = self.dice.below(shelves.len());
            if self.dice.one_in(6) { shelves.swap_remove(at) } else { shelves[at].clone() }
        };
        let calling = shelf.1.lay(call);
        self.wait(shelf.0, async move {
            let answered = calling.await;
            drop(shelf);
            answered
        });
    }

    fn save(&mut self) {
        let shelves = self.shelves.lock().unwrap().clone();
        let Some((_, shelf)) = shelves.into_iter().find(|(what, _)| *what == What::Durable) else { return };
        let (saving, saved) = (self.shop.save(shelf), Arc::clone(&self.saved));
        self.waiting.spawn(async move {
            if let Ok(token) = saving.await {
                saved.lock().unwrap().push(token);
            }
        });
    }

    /// Restores a shelf and calls it at once.
    fn restore(&mut self) {
        let saved = self.saved.lock().unwrap().clone();
        if !saved.is_empty() {
            let token = saved[self.dice.below(saved.len())].clone();
            let laying = self.shop.restore(token).lay(self.next);
            self.wait(What::Saved, laying);
        }
    }

    fn ask(&mut self) {
        let (call, asked) = (self.next, Arc::clone(&self.asked));
        let answer = Func::new(move |number: u64| {
            *asked.lock().unwrap().entry(number).or_default() += 1;
            async move { number }
        });
        let asking = self.shop.ask(call, answer);
        // Without an answer from its callback the call is answered, too.
        self.wait(What::Ask, async move { asking.await.map(|_answer| call) });
    }

    fn upload(&mut self) {
        let (call, chunks) = (self.next, self.dice.below(150) as u64);
        let (mut writer, reader) = stream::channel(4);
        let uploading = self.shop.upload(call, reader);
        self.waiting.spawn(async move {
            for number in 0..chunks {
                if writer.write(number).await.is_err() {
                    return;
                }
            }
            drop(writer.close().await);
        });
        self.wait(What::Upload, async move {
            uploading.await.map(|came| match came {
                Ok(came) => {
                    assert_eq!(came, chunks, "an upload that ends well is whole");
                    call
                }
                Err(code) => {
                    assert_eq!(code, "STREAM_INTERRUPTED", "an upload ends with its code");
                    0
                }
            })
        });
    }

    fn download(&mut self) {
        let (call, to) = (self.next, self.dice.below(150) as u64);
        let downloading = self.shop.download(to);
        self.wait(What::Download, async move {
            let mut reader = downloading.await?;
            let mut came = 0;
            while let Some(number) = reader.next().await {
                assert_eq!(number?, came, "chunks come in order, once");
                came += 1;
            }
            assert_eq!(came, to, "a download that ends well is whole");
            Ok(call)
        });
    }

    /// Waits until every call has ended, and closes the session. Returns what the variable of the session is at the
    /// end, and the events.
    pub(crate) async fn rest(mut self) -> (Option<u64>, Vec<LinkEvent>) {
        // Of the tasks, that of the events alone ends with the session.
        while self.waiting.len() > 1 {
            self.waiting.join_next().await.unwrap().unwrap();
        }
        self.shelves.lock().unwrap().clear();
        // A session that is closed while it has no connection stays at the server until its window is over.
        let noted = loop {
            match self.shop.noted().await {
                Ok(noted) => break noted,
                // Its process has ended at this moment.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        };
        self.session.close().await;
        self.waiting.join_next().await.unwrap().unwrap();
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        (noted, events)
    }
}
