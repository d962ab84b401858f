//! Whether a Redis server sees that the process of an owner has ended. A store that is dropped closes its
//! connections, as the end of its process does.

use std::time::{Duration, Instant};

use bowline_server::store::{Claim, RedisStore, SessionStore, StoreError};

use crate::redis::{DAY, Server};

/// Longer than a live process needs to show itself again, and than a claim waits for that.
const LONG: Duration = Duration::from_millis(1_500);

/// Opens an owner with a session.
async fn owner(store: &RedisStore) {
    store.open_owner("a", DAY).await.unwrap();
    store.create("s", "a", DAY, None).await.unwrap();
}

/// Another owner, which claims the session of the first.
struct Claimant(RedisStore);

impl Claimant {
    async fn new(server: &Server) -> Self {
        let store = server.store().await;
        store.open_owner("b", DAY).await.unwrap();
        Self(store)
    }

    /// Claims the session. Returns how long it is held at least, or `None` if it was claimed.
    async fn claim(&self) -> Option<Duration> {
        match self.0.claim("s", "b", 0).await.unwrap() {
            Claim::Claimed(_) => None,
            Claim::Held(held) => Some(held.left),
            Claim::NotFound => panic!("the session exists"),
        }
    }

    /// Claims the session again and again. Returns how long that took.
    async fn until_claimed(&self) -> Duration {
        let began = Instant::now();
        while self.claim().await.is_some() {
            assert!(began.elapsed() < Duration::from_secs(20), "the session is held");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    /// Claims the session again and again, which is held for longer than that.
    async fn is_refused_for(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            assert!(self.claim().await.is_some(), "claimed after {:?}", began.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn run(server: &Server, command: &mut redis::Cmd) {
    command.exec_async(&mut server.raw().await.unwrap()).await.unwrap();
}

/// Closes the connections by which owners show that they run.
async fn close_subscribed(server: &Server) {
    run(server, redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("PUBSUB")).await;
}

#[tokio::test]
async fn session_of_an_ended_process_is_claimed_without_waiting_for_its_lease() {
    let Some(server) = Server::start().await else { return };
    let store = server.store().await;
    owner(&store).await;
    let claimant = Claimant::new(&server).await;
    assert!(claimant.claim().await.unwrap() > DAY / 2, "the process runs");
    drop(store);
    let took = claimant.until_claimed().await;
    assert!(took > Duration::from_millis(450) && took < Duration::from_secs(5), "{took:?}");
    // All its sessions are free.
    assert_eq!(claimant.0.renew_owner("a", DAY).await, Err(StoreError::Fenced));
}

#[tokio::test]
async fn owner_whose_connection_is_closed_again_and_again_keeps_its_sessions() {
    let Some(server) = Server::start().await else { return };
    let store = server.store().await;
    owner(&store).await;
    let claimant = Claimant::new(&server).await;
    for n in 0..10 {
        close_subscribed(&server).await;
        claimant.is_refused_for(Duration::from_millis(20 * n)).await;
    }
    claimant.is_refused_for(LONG).await;
    assert_eq!(store.renew_owner("a", DAY).await, Ok(()));
    // It has shown itself again.
    drop(store);
    assert!(claimant.until_claimed().await < Duration::from_secs(5));
}

/// The server closes the connection and then answers nothing, so the process cannot show itself again.
#[tokio::test]
async fn owner_that_cannot_show_itself_is_in_doubt_until_it_can() {
    let Some(server) = Server::start().await else { return };
    let store = server.store().await;
    owner(&store).await;
    let closing = redis::pipe()
        .cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("PUBSUB")
        .cmd("CLIENT")
        .arg("PAUSE")
        .arg(1_500)
        .arg("ALL")
        .exec_async(&mut server.raw().await.unwrap())
        .await;
    closing.unwrap();
    let began = Instant::now();
    tokio::time::timeout(Duration::from_secs(5), store.doubted("a")).await.expect("the owner is in doubt");
    assert!(began.elapsed() < Duration::from_millis(450), "{:?}, which is too late", began.elapsed());
    let refused = store.renew_owner("a", DAY).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    while store.renew_owner("a", DAY).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "the owner stays in doubt");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Claimant::new(&server).await.is_refused_for(LONG).await;
}

/// A server that starts has no connections, which says nothing about the processes that had some.
#[tokio::test]
async fn restarted_server_takes_no_process_for_dead() {
    let Some(mut server) = Server::start().await else { return };
    let store = server.store().await;
    owner(&store).await;
    server.kill();
    drop(store);
    server.start_again().await;
    Claimant::new(&server).await.is_refused_for(LONG).await;
}

/// The owner lives while the server restarts, and shows itself afterwards.
#[tokio::test]
async fn owner_that_lives_through_a_restart_of_the_server_shows_itself_again() {
    let Some(mut server) = Server::start().await else { return };
    let store = server.store().await;
    owner(&store).await;
    server.kill();
    let doubted = tokio::time::timeout(Duration::from_millis(600), store.doubted("a")).await;
    assert!(doubted.is_err(), "a server that does not run takes no process for dead");
    server.start_again().await;
    let claimant = Claimant::new(&server).await;
    claimant.is_refused_for(LONG).await;
    let began = Instant::now();
    while store.renew_owner("a", DAY).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "the store does not reconnect");
    }
    drop(store);
    assert!(claimant.until_claimed().await < Duration::from_secs(5));
}

#[tokio::test]
async fn leases_alone_count_without_permission_to_subscribe_or_to_look() {
    let Some(server) = Server::start().await else { return };
    let claimant = Claimant::new(&server).await;
    for (user, denied) in [("mute", "resetchannels"), ("blind", "-info")] {
        let rules = ["on", ">secret", "~*", "&*", "+@all", denied];
        run(&server, redis::cmd("ACL").arg("SETUSER").arg(user).arg(&rules)).await;
        let store = RedisStore::connect(&format!("redis://{user}:secret@{}", server.address())).await.unwrap();
        run(&server, redis::cmd("DEL").arg("bowline:s:s").arg("bowline:o:a")).await;
        owner(&store).await;
        assert_eq!(store.renew_owner("a", DAY).await, Ok(()));
        drop(store);
        claimant.is_refused_for(LONG).await;
    }
}
