//! Servers that are killed, each in a process of its own, while a client calls without a pause. What
//! its calls were told is compared with what was carried out.
//!
//! `BOWLINE_KILLS=100 cargo test --release --all-features --test processes -- --nocapture`
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

/// A stream that is read slowly.
mod bulk;
/// Runs of seconds or minutes under one kind of fault each.
mod faults;
/// What calls were told, and what was carried out.
mod ledger;
/// A client under load, and what it remembers.
mod load;
/// A TCP proxy.
mod network;
/// A client in Node.js.
mod node;
/// A Redis server.
mod redis_server;
/// The application, and the process that serves it.
mod shop;
/// Clients that vanish in every way.
mod soak;
/// Clients that call, stream and drop promises.
mod traffic;

use std::path::Path;
use std::time::{Duration, Instant};

use load::Load;
use network::Network;
use redis_server::Redis;
use shop::{LEASE, Server, Times, free_address};

/// How often servers are killed, in each test.
fn kills() -> usize {
    std::env::var("BOWLINE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10)
}

fn report(gaps: &mut [Duration], tally: &load::Tally) {
    gaps.sort_unstable();
    let (middle, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    let load::Tally { answered, unknown, not_attempted, restored } = tally;
    println!(
        "{answered} calls answered, {unknown} unknown, {not_attempted} not attempted; restored {restored} times, \
         {middle:.0?} until the first answer, at most {longest:.0?}"
    );
}

/// A folder that goes with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bowline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is temporary.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_at_random_moments_under_load() {
    let folder = Folder::new("kills");
    let (history, address) = (folder.0.join("history"), free_address());
    let store = format!("sqlite:{}", folder.0.join("sessions.db").display());
    let mut server = Server::start(address, &store, &history);
    let load = Load::begin(format!("ws://{address}")).await;
    let mut gaps = Vec::new();
    for _ in 0..kills() {
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..120))).await;
        let before = load.restored();
        server.kill();
        server = Server::start(address, &store, &history);
        gaps.push(load.until_answered(before).await);
    }
    let tally = load.end(&history).await;
    report(&mut gaps, &tally);
    assert!(tally.answered > 20 * kills(), "{tally:?}");
    assert!(gaps.iter().all(|gap| *gap < 20 * LEASE), "{gaps:?}");
}

/// Kills a server with the times that it has by default, and starts another in its place at once. The time
/// to the first answer is counted from the kill, the start of the other process included.
async fn kill_and_restart(store: &str, history: &Path, instance: Option<&str>) {
    let address = free_address();
    let start = || Server::start_with(address, store, history, Times::Default, instance);
    let mut server = start();
    let load = Load::begin(format!("ws://{address}")).await;
    let mut gaps = Vec::new();
    for _ in 0..kills() {
        // What is younger than a second need not have been stored.
        tokio::time::sleep(Duration::from_millis(rand::random_range(1_500..2_000))).await;
        let (before, began) = (load.restored(), Instant::now());
        server.kill();
        server = start();
        gaps.push(load.until_answered_since(began, before).await);
    }
    let tally = load.end(history).await;
    report(&mut gaps, &tally);
    // None of them waited for a lease, which is 10 s.
    assert!(gaps[gaps.len() / 2] < Duration::from_secs(2), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(5)), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_is_replaced_without_waiting_for_its_lease_on_sqlite() {
    let folder = Folder::new("defaults");
    let store = format!("sqlite:{}", folder.0.join("sessions.db").display());
    kill_and_restart(&store, &folder.0.join("history"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_is_replaced_without_waiting_for_its_lease_on_redis() {
    let folder = Folder::new("defaults-redis");
    let Some(redis) = Redis::start(&folder.0) else { return };
    kill_and_restart(&redis.url, &folder.0.join("history"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_instance_is_replaced_without_waiting_for_its_lease_on_redis() {
    let folder = Folder::new("instances");
    let Some(redis) = Redis::start(&folder.0) else { return };
    kill_and_restart(&redis.url, &folder.0.join("history"), Some("shop-0")).await;
}

/// Both servers live all the time, with the times that they have by default.
#[tokio::test(flavor = "multi_thread")]
async fn client_that_a_balancer_sends_to_another_live_server_is_served_at_once() {
    let folder = Folder::new("switched");
    let Some(redis) = Redis::start(&folder.0) else { return };
    let history = folder.0.join("history");
    let start = || Server::start_with(free_address(), &redis.url, &history, Times::Default, None);
    let servers = [start(), start()];
    let balancer = Network::to(servers[0].address).await;
    let load = Load::begin(balancer.url()).await;
    let mut gaps = Vec::new();
    for n in 1..=kills() {
        tokio::time::sleep(Duration::from_millis(rand::random_range(1_500..2_000))).await;
        let (before, began) = (load.restored(), Instant::now());
        balancer.now_to(servers[n % 2].address);
        gaps.push(load.until_answered_since(began, before).await);
    }
    let tally = load.end(&history).await;
    report(&mut gaps, &tally);
    assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(5)), "{gaps:?}");
}

/// Either of two processes may end, and the other takes over its sessions.
#[tokio::test(flavor = "multi_thread")]
async fn either_replica_goes_on_when_the_other_is_killed() {
    let folder = Folder::new("replicas");
    let Some(redis) = Redis::start(&folder.0) else { return };
    let history = folder.0.join("history");
    let start = |address| Server::start(address, &redis.url, &history);
    let (mut serving, mut idle) = (start(free_address()), start(free_address()));
    let balancer = Network::to(serving.address).await;
    let load = Load::begin(balancer.url()).await;
    let mut gaps = Vec::new();
    for _ in 0..kills() {
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..120))).await;
        let address = serving.address;
        let before = load.restored();
        serving.kill();
        balancer.now_to(idle.address);
        gaps.push(load.until_answered(before).await);
        serving = std::mem::replace(&mut idle, start(address));
    }
    let tally = load.end(&history).await;
    report(&mut gaps, &tally);
}

/// A server that stands still is taken for dead. When it wakes, what it had is another's, and what it
/// remembers of that is worth nothing: when it is its turn again, it goes by the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_owner_that_wakes_is_fenced() {
    let folder = Folder::new("paused");
    let Some(redis) = Redis::start(&folder.0) else { return };
    let history = folder.0.join("history");
    let start = |address| Server::start(address, &redis.url, &history);
    let first = start(free_address());
    let mut second = start(free_address());
    let balancer = Network::to(first.address).await;
    let load = Load::begin(balancer.url()).await;
    let mut gaps = Vec::new();
    for _ in 0..kills().div_ceil(3) {
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..120))).await;
        let before = load.restored();
        first.signal("-STOP");
        balancer.now_to(second.address);
        gaps.push(load.until_answered(before).await);
        first.signal("-CONT");
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..120))).await;
        let (address, before) = (second.address, load.restored());
        second.kill();
        balancer.now_to(first.address);
        gaps.push(load.until_answered(before).await);
        second = start(address);
    }
    let tally = load.end(&history).await;
    report(&mut gaps, &tally);
}
