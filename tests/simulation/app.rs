//! The objects under test, and what their calls did, which outlives every process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline::auth::Secret;
use bowline::durable::Restorer;
use bowline::error::{ErrorValue, Never};
use bowline::{Func, Peer, Reader, stream};
use tokio::time::sleep;

/// What calls did.
#[derive(Default)]
pub(crate) struct Ledger {
    /// How often each call was carried out.
    effects: Mutex<BTreeMap<u64, u32>>,
    /// The calls of each order of a client, as they were carried out first.
    order: Mutex<BTreeMap<u64, Vec<u64>>>,
}

impl Ledger {
    pub(crate) fn effects(&self, call: u64) -> u32 {
        self.effects.lock().unwrap().get(&call).copied().unwrap_or(0)
    }

    /// The calls that a client made in order, as they were carried out first.
    pub(crate) fn order(&self, client: u64) -> Vec<u64> {
        self.order.lock().unwrap().get(&client).cloned().unwrap_or_default()
    }
}

/// The process that an object lives in.
#[derive(Clone, Default)]
pub(crate) struct Life(Arc<(AtomicBool, AtomicUsize)>);

impl Life {
    pub(crate) fn end(&self) {
        self.0.0.store(true, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    /// Objects that are there.
    pub(crate) fn objects(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// What objects of one process share.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) life: Life,
}

impl Site {
    /// Carries a call out. A process that was killed carries nothing out any more.
    async fn effect(&self, call: u64) {
        if self.life.is_over() {
            std::future::pending::<()>().await;
        }
        *self.ledger.effects.lock().unwrap().entry(call).or_default() += 1;
    }

    fn in_order(&self, client: u64, call: u64) {
        if !self.life.is_over() && self.ledger.effects(call) == 0 {
            self.ledger.order.lock().unwrap().entry(client).or_default().push(call);
        }
    }
}

/// Counts an object while it is there.
struct Counted(Site);

impl Counted {
    fn new(site: Site) -> Self {
        site.life.0.1.fetch_add(1, Ordering::SeqCst);
        Self(site)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.life.0.1.fetch_sub(1, Ordering::SeqCst);
    }
}

#[bowline::interface]
pub(crate) trait Shop {
    /// Has an effect, behind those of the same client that were called before.
    async fn put(&self, client: u64, call: u64) -> Result<u64, Never>;
    /// Has an effect, and takes time after it.
    async fn slow(&self, call: u64, ms: u64) -> Result<u64, Never>;
    #[rpc(idempotent)]
    async fn again(&self, call: u64, ms: u64) -> Result<u64, Never>;
    #[rpc(recorded)]
    async fn once(&self, call: u64, ms: u64) -> Result<u64, Never>;
    async fn shelf(&self, name: u64) -> ShelfRef;
    async fn box_(&self) -> ShelfRef;
    /// Saves a shelf beyond its session, and returns the token that restores it.
    async fn save(&self, shelf: ShelfRef) -> Result<String, ErrorValue>;
    async fn restore(&self, token: String) -> Result<ShelfRef, ErrorValue>;
    /// Answers what the callback answers.
    async fn ask(&self, call: u64, answer: Func<u64, u64>) -> Result<Option<u64>, Never>;
    async fn note(&self, call: u64) -> Result<u64, Never>;
    async fn noted(&self) -> Result<Option<u64>, Never>;
    /// Counts what comes.
    async fn upload(&self, call: u64, numbers: Reader<u64>) -> Result<Result<u64, String>, Never>;
    /// Counts to a number.
    async fn download(&self, to: u64) -> Reader<u64>;
}

#[bowline::interface]
pub(crate) trait Shelf {
    async fn lay(&self, call: u64) -> Result<u64, Never>;
}

pub(crate) struct Front {
    site: Site,
    peer: Peer,
    _counted: Counted,
}

impl Front {
    pub(crate) fn new(site: Site, peer: Peer) -> Self {
        Self { _counted: Counted::new(site.clone()), site, peer }
    }
}

/// A durable shelf.
#[bowline::durable(restorer = "shelf", version = 1)]
pub(crate) struct Oak {
    name: u64,
    #[durable(skip)]
    site: Arc<Counted>,
}

/// A shelf that ends with its process.
struct Cardboard(Counted);

pub(crate) fn restorer(site: Site) -> Restorer {
    Oak::restorer(site, |_ctx, params, site| async move {
        Ok(ShelfRef::durable(params.restore(Arc::new(Counted::new(site)))))
    })
}

impl Shop for Front {
    async fn put(&self, client: u64, call: u64) -> Result<u64, Never> {
        self.site.in_order(client, call);
        self.site.effect(call).await;
        Ok(call)
    }
    async fn slow(&self, call: u64, ms: u64) -> Result<u64, Never> {
        self.site.effect(call).await;
        sleep(Duration::from_millis(ms)).await;
        Ok(call)
    }
    async fn again(&self, call: u64, ms: u64) -> Result<u64, Never> {
        self.slow(call, ms).await
    }
    async fn once(&self, call: u64, ms: u64) -> Result<u64, Never> {
        self.slow(call, ms).await
    }
    async fn shelf(&self, name: u64) -> ShelfRef {
        ShelfRef::durable(Oak { name, site: Arc::new(Counted::new(self.site.clone())) })
    }
    async fn box_(&self) -> ShelfRef {
        ShelfRef::new(Cardboard(Counted::new(self.site.clone())))
    }
    async fn save(&self, shelf: ShelfRef) -> Result<String, ErrorValue> {
        Ok(self.peer.sturdy()?.save(&shelf, "").await?.expose().to_owned())
    }
    async fn restore(&self, token: String) -> Result<ShelfRef, ErrorValue> {
        Ok(self.peer.sturdy()?.restore(&Secret::new(&token)).await?)
    }
    async fn ask(&self, call: u64, answer: Func<u64, u64>) -> Result<Option<u64>, Never> {
        self.site.effect(call).await;
        Ok(answer.call(call).await.ok())
    }
    async fn note(&self, call: u64) -> Result<u64, Never> {
        self.site.effect(call).await;
        self.peer.vars.set("note", &call).unwrap();
        Ok(call)
    }
    async fn noted(&self) -> Result<Option<u64>, Never> {
        Ok(self.peer.vars.get("note").unwrap())
    }
    async fn upload(&self, call: u64, mut numbers: Reader<u64>) -> Result<Result<u64, String>, Never> {
        self.site.effect(call).await;
        let mut came = 0;
        while let Some(number) = numbers.next().await {
            match number {
                Ok(number) => assert_eq!(number, came, "chunks come in order, once"),
                Err(error) => return Ok(Err(error.code().map_or_else(|| error.to_string(), |code| code.to_string()))),
            }
            came += 1;
        }
        Ok(Ok(came))
    }
    async fn download(&self, to: u64) -> Reader<u64> {
        let (mut writer, reader) = stream::channel(4);
        tokio::spawn(async move {
            for number in 0..to {
                if writer.write(number).await.is_err() {
                    return;
                }
            }
            drop(writer.close().await);
        });
        reader
    }
}

impl Shelf for Oak {
    async fn lay(&self, call: u64) -> Result<u64, Never> {
        self.site.0.effect(call).await;
        Ok(call.max(self.name))
    }
}

impl Shelf for Cardboard {
    async fn lay(&self, call: u64) -> Result<u64, Never> {
        self.0.0.effect(call).await;
        Ok(call)
    }
}
