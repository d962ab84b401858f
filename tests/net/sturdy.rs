//! Saved references: saved under a label, and restored by the same principal in another session.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bowline::auth::{Key, KeyRing, Secret};
use bowline::durable::RestoreError;
use bowline::error::{ErrorValue, Never};
use bowline::store::{MemoryStore, SessionStore};
use bowline::{CallError, ErrorCode, Func, Peer, Principal, Recovery, Resumption, Service, Session};

use crate::harness::{serve, within};

#[bowline::interface]
pub(crate) trait Bank {
    async fn account(&self, name: String) -> AccountRef;
    async fn watched(&self, watch: Func<u64, ()>) -> AccountRef;
    async fn save(&self, account: AccountRef, label: String) -> Result<String, ErrorValue>;
    async fn restore(&self, token: String) -> Result<AccountRef, ErrorValue>;
    async fn saved(&self) -> Result<Vec<(String, String)>, ErrorValue>;
    async fn revoke(&self, id: String) -> Result<bool, ErrorValue>;
}

#[bowline::interface]
pub(crate) trait Account {
    async fn add(&self, n: u64) -> Result<u64, Never>;
}

type Books = Arc<Mutex<BTreeMap<String, u64>>>;

struct Counter {
    books: Books,
    peer: Peer,
}

#[bowline::durable(restorer = "account", version = 1)]
struct Stored {
    name: String,
    #[durable(skip)]
    books: Books,
}

#[bowline::durable(restorer = "watched", version = 1)]
struct Watched {
    watch: Func<u64, ()>,
}

impl Account for Stored {
    async fn add(&self, n: u64) -> Result<u64, Never> {
        let mut books = self.books.lock().unwrap();
        let balance = books.entry(self.name.clone()).or_default();
        *balance += n;
        Ok(*balance)
    }
}

impl Account for Watched {
    async fn add(&self, n: u64) -> Result<u64, Never> {
        self.watch.call(n).await.ok();
        Ok(n)
    }
}

impl Bank for Counter {
    async fn account(&self, name: String) -> AccountRef {
        AccountRef::durable(Stored { name, books: Arc::clone(&self.books) })
    }
    async fn watched(&self, watch: Func<u64, ()>) -> AccountRef {
        AccountRef::durable(Watched { watch })
    }
    async fn save(&self, account: AccountRef, label: String) -> Result<String, ErrorValue> {
        Ok(self.peer.sturdy()?.save(&account, &label).await?.expose().to_owned())
    }
    async fn restore(&self, token: String) -> Result<AccountRef, ErrorValue> {
        Ok(self.peer.sturdy()?.restore(&Secret::new(&token)).await?)
    }
    async fn saved(&self) -> Result<Vec<(String, String)>, ErrorValue> {
        let entries = self.peer.sturdy()?.list("", 100).await?;
        Ok(entries.into_iter().map(|entry| (entry.id, entry.label)).collect())
    }
    async fn revoke(&self, id: String) -> Result<bool, ErrorValue> {
        Ok(self.peer.sturdy()?.revoke(&id).await?)
    }
}

/// Starts a server process that shares its store and its keys with the others.
async fn process(store: Option<&Arc<dyn SessionStore>>, books: &Books, closed: &Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let mut resumption = Resumption::default();
    resumption.keys = KeyRing::new(Key::new("test", &[7; 32]).unwrap()).into();
    let state = (Arc::clone(books), Arc::clone(closed));
    let account = Stored::restorer(state, |ctx, params, (books, closed)| async move {
        assert_eq!(ctx.principal(), "ann");
        if closed.lock().unwrap().contains(&params.name) {
            return Err(RestoreError::PermissionDenied.into());
        }
        Ok(AccountRef::durable(params.restore(books)))
    });
    let books = Arc::clone(books);
    let service = Service::new(move |peer| BankRef::new(Counter { books: Arc::clone(&books), peer }));
    let service = service.resumption(resumption);
    let service = match store {
        Some(store) => service.recovery(Recovery::in_shared_store(Arc::clone(store)).restorer(account)),
        None => service,
    };
    serve(service.authenticate(|name: &str| match name {
        "" => Some(Principal::anonymous()),
        name => Some(Principal::new(name)),
    }))
    .await
}

async fn open(address: SocketAddr, name: &str) -> (Session, BankRef) {
    let session = within(Session::builder(format!("ws://{address}")).bearer(name).connect()).await.unwrap();
    let bank = session.root();
    (session, bank)
}

fn code<T: std::fmt::Debug>(result: Result<T, CallError<ErrorValue>>) -> Option<ErrorCode> {
    result.expect_err("the call fails").code()
}

#[tokio::test]
async fn saved_reference_is_restored_in_another_session_of_another_process() {
    let (books, closed) = (Books::default(), Arc::default());
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
    let (first, second) = (process(Some(&store), &books, &closed).await, process(Some(&store), &books, &closed).await);
    let (session, bank) = open(first, "ann").await;
    let account = bank.account("savings".to_owned());
    assert_eq!(within(account.add(5).into_future()).await.unwrap(), 5);
    let account = within(account.into_future()).await.unwrap();
    let token = within(bank.save(account, "for later".to_owned()).into_future()).await.unwrap();
    within(session.close()).await;

    let (_session, bank) = open(second, "ann").await;
    // The call is made on the reference before it is restored, so both take one round trip.
    assert_eq!(within(bank.restore(token.clone()).add(2).into_future()).await.unwrap(), 7);
    let saved = within(bank.saved().into_future()).await.unwrap();
    assert_eq!(saved.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(), ["for later"]);
    // Another principal cannot use the token.
    let (_bobs, bob) = open(second, "bob").await;
    let stolen = within(bob.restore(token.clone()).into_future()).await;
    assert_eq!(code(stolen), Some(ErrorCode::PermissionDenied));
    assert!(within(bob.saved().into_future()).await.unwrap().is_empty());
    assert!(!within(bob.revoke(saved[0].0.clone()).into_future()).await.unwrap());
    // The restorer applies the current policy.
    closed.lock().unwrap().push("savings".to_owned());
    let refused = within(bank.restore(token.clone()).add(1).into_future()).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::PermissionDenied), "{refused}");
    closed.lock().unwrap().clear();
    // A revoked reference cannot be restored, and is revoked once.
    let had_before = within(bank.restore(token.clone()).into_future()).await.unwrap();
    assert!(within(bank.revoke(saved[0].0.clone()).into_future()).await.unwrap());
    assert!(!within(bank.revoke(saved[0].0.clone()).into_future()).await.unwrap());
    assert_eq!(code(within(bank.restore(token).into_future()).await), Some(ErrorCode::NotFound));
    assert_eq!(within(had_before.add(1).into_future()).await.unwrap(), 8);
}

#[tokio::test]
async fn saving_fails_with_a_code() {
    let (books, closed) = (Books::default(), Arc::default());
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
    let address = process(Some(&store), &books, &closed).await;
    let (session, bank) = open(address, "ann").await;
    let account = within(bank.account("a".to_owned()).into_future()).await.unwrap();
    let long = within(bank.save(account.clone(), "x".repeat(257)).into_future()).await;
    assert_eq!(code(long), Some(ErrorCode::RateLimited));
    let watched = within(bank.watched(Func::new(|_: u64| async {})).into_future()).await.unwrap();
    assert_eq!(code(within(bank.save(watched, String::new()).into_future()).await), Some(ErrorCode::InvalidParams));
    let own = AccountRef::new(Stored { name: "mine".to_owned(), books: Arc::clone(&books) });
    assert_eq!(code(within(bank.save(own, String::new()).into_future()).await), Some(ErrorCode::InvalidParams));
    let forged = within(bank.restore("bwl1.e30.e30".to_owned()).into_future()).await;
    assert_eq!(code(forged), Some(ErrorCode::ResumeTokenInvalid));
    drop(session);
    let (_session, anonymous) = open(address, "").await;
    assert_eq!(code(within(anonymous.saved().into_future()).await), Some(ErrorCode::Unauthenticated));
    let without = process(None, &books, &closed).await;
    let (_session, bank) = open(without, "ann").await;
    assert_eq!(code(within(bank.saved().into_future()).await), Some(ErrorCode::StoreUnavailable));
}
