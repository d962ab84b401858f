//! Runs under one kind of fault each, over real processes: seconds, or `BOWLINE_MINUTES`. Each compares what every
//! call was told with what was carried out, and fails if a session is lost, a call takes more than 60 s, or calls
//! are carried out in another order than they were made in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use crate::Folder;
use crate::ledger::Losses;
use crate::network::Network;
use crate::redis_server::Redis;
use crate::shop::{Clock, Server, Times, free_address};
use crate::traffic::{Client, Mix, Summary, settle};

/// `BOWLINE_MINUTES`, of each run.
fn minutes() -> Option<f64> {
    std::env::var("BOWLINE_MINUTES").ok()?.parse().ok()
}

/// How long a run takes.
pub(crate) fn span() -> Duration {
    minutes().map_or(Duration::from_secs(4), |minutes| Duration::from_secs_f64(60.0 * minutes))
}

fn random_ms(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rand::random_range(range))
}

async fn pause(range: std::ops::Range<u64>) {
    tokio::time::sleep(random_ms(range)).await;
}

fn print(faults: &str, summary: &Summary) {
    let Summary { answered, not_awaited, unknown, not_attempted, interrupted, resumed, restored } = summary;
    println!(
        "{faults}: {answered} calls answered, {not_awaited} not awaited, {unknown} unknown, {not_attempted} not \
         attempted, {interrupted} streams interrupted; resumed {resumed} times, restored {restored} times"
    );
}

const BUSY: Mix = Mix { callers: 3, pause: Duration::from_millis(20), streams: true };

/// Calls alone, which recovery settles whatever their process was doing.
const CALLS: Mix = Mix { streams: false, ..BUSY };

/// A store in a folder of the test's own.
struct Site {
    folder: Folder,
    store: String,
    redis: Option<Redis>,
}

impl Site {
    fn sqlite(name: &str) -> Self {
        let folder = Folder::new(name);
        let store = format!("sqlite:{}", folder.0.join("sessions.db").display());
        Self { folder, store, redis: None }
    }

    /// None if there is no Redis, and that is known.
    fn redis(name: &str) -> Option<Self> {
        let folder = Folder::new(name);
        let redis = Redis::start(&folder.0)?;
        Some(Self { folder, store: redis.url.clone(), redis: Some(redis) })
    }

    fn history(&self) -> PathBuf {
        self.folder.0.join("history")
    }

    /// Starts a process with the times that it has by default.
    fn start(&self, address: SocketAddr) -> Server {
        Server::start_with(address, &self.store, &self.history(), Times::Default, None)
    }
}

/// Whether a run goes on.
fn is_under_way(began: Instant, clients: &[Client]) -> bool {
    clients.iter().for_each(Client::assert_well);
    began.elapsed() < span()
}

async fn clients(network: &Network, count: usize, mix: Mix) -> Vec<Client> {
    let starting = (0..count).map(|n| Client::start(network.url(), format!("client{n}"), mix));
    futures_util::stream::iter(starting).buffered(16).collect().await
}

/// Waits until every client has its connection again and a call was answered since.
async fn all_returned(clients: &[Client], before: &[usize]) {
    let returning = clients.iter().zip(before).map(|(client, before)| client.returned(*before));
    futures_util::future::join_all(returning).await;
}

fn returns(clients: &[Client]) -> Vec<usize> {
    clients.iter().map(Client::returns).collect()
}

/// The network stands still, the connection is cut, and again soon after the session was resumed.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_twice_in_a_row() {
    let site = Site::sqlite("twice");
    let server = site.start(free_address());
    let network = Network::to(server.address).await;
    let clients = clients(&network, 4, BUSY).await;
    let (began, mut cuts) = (Instant::now(), 0);
    while is_under_way(began, &clients) {
        pause(0..1_200).await;
        network.set_still(true);
        pause(100..600).await;
        let before = returns(&clients);
        network.cut();
        network.set_still(false);
        all_returned(&clients, &before).await;
        pause(0..200).await;
        let before = returns(&clients);
        network.cut();
        all_returned(&clients, &before).await;
        cuts += 2;
    }
    let summary = settle(clients, &site.history(), Losses::None).await;
    print(&format!("{cuts} cuts of 4 sessions in SQLite"), &summary);
    assert_eq!(summary.restored, 0, "the process was there all the time");
    drop(server);
}

/// All sessions lose their connections at once, and sometimes their process.
async fn herds_come_back(site: Site) {
    let sessions = if minutes().is_some() { 200 } else { 40 };
    let mut server = site.start(free_address());
    let network = Network::to(server.address).await;
    let mix = Mix { callers: 1, pause: Duration::from_millis(20 * sessions), streams: false };
    let clients = clients(&network, sessions as usize, mix).await;
    let (mut after_cuts, mut after_kills) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while is_under_way(began, &clients) || after_kills.is_empty() {
        pause(500..2_500).await;
        let before = returns(&clients);
        // The first checkpoint of each session is stored by the time that a process is killed.
        let is_kill = after_cuts.len() > clients.len() && (after_kills.is_empty() || rand::random_range(0..4) == 0);
        if is_kill {
            let address = server.address;
            server.kill();
            server = site.start(address);
        } else {
            network.cut();
        }
        // Counted from when the process listens.
        let answers = futures_util::future::join_all(clients.iter().map(Client::answers_after)).await;
        if is_kill { &mut after_kills } else { &mut after_cuts }.extend(answers);
        all_returned(&clients, &before).await;
    }
    let summary = settle(clients, &site.history(), Losses::OfProcessesInBursts).await;
    let (cuts, kills) = (after_cuts.len() as u64 / sessions, after_kills.len() as u64 / sessions);
    print(&format!("{cuts} cuts and {kills} kills of {sessions} sessions, {}", site.store), &summary);
    for (what, times) in [("cut", &mut after_cuts), ("kill", &mut after_kills)] {
        times.sort_unstable();
        let (middle, longest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("first answers after a {what}: {middle:.2?} in the median, {longest:.2?} at most");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn herds_of_sessions_come_back_at_once_on_sqlite() {
    herds_come_back(Site::sqlite("herd")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn herds_of_sessions_come_back_at_once_on_redis() {
    let Some(site) = Site::redis("herd-redis") else { return };
    herds_come_back(site).await;
}

/// Two processes live all the time, and connections go to one or the other. A process that releases a session stores
/// it, but its client, which is not connected to it anymore, holds the token of an earlier checkpoint, so calls since
/// then end as after a crash.
async fn replicas_are_switched(site: Site) {
    let servers = [site.start(free_address()), site.start(free_address())];
    let network = Network::to(servers[0].address).await;
    let clients = clients(&network, 8, CALLS).await;
    // The client has the token of a checkpoint that holds its objects.
    pause(1_500..2_000).await;
    let (began, mut switches) = (Instant::now(), 0);
    while is_under_way(began, &clients) {
        if rand::random_range(0..4) == 0 {
            // Faster than a session moves.
            pause(50..600).await;
        } else {
            pause(1_500..4_000).await;
        }
        network.now_to(servers[rand::random_range(0..2)].address);
        switches += 1;
    }
    let summary = settle(clients, &site.history(), Losses::OfProcessesInBursts).await;
    print(&format!("{switches} switches of 8 sessions between two processes, {}", site.store), &summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_switch_between_live_replicas_on_sqlite() {
    replicas_are_switched(Site::sqlite("switch")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_switch_between_live_replicas_on_redis() {
    let Some(site) = Site::redis("switch-redis") else { return };
    replicas_are_switched(site).await;
}

/// A process is replaced by another while clients upload, download and call. Calls lose nothing; a stream cannot move
/// to another process, so one that does not end in time is interrupted.
async fn processes_are_drained(site: Site) {
    let mut server = site.start(free_address());
    let network = Network::to(server.address).await;
    let clients = clients(&network, 6, BUSY).await;
    let (began, mut drains) = (Instant::now(), Vec::new());
    while is_under_way(began, &clients) || drains.len() < 2 {
        pause(500..2_000).await;
        let next = site.start(free_address());
        let (old, address) = (std::mem::replace(&mut server, next), server.address);
        let draining = tokio::task::spawn_blocking(move || old.drain(Duration::from_secs(5), address));
        network.retarget(address);
        let (calls_cut, took) = draining.await.unwrap();
        assert_eq!(calls_cut, 0);
        drains.push(took);
    }
    let summary = settle(clients, &site.history(), Losses::OfStreams).await;
    drains.sort_unstable();
    let (middle, longest) = (drains[drains.len() / 2], drains[drains.len() - 1]);
    print(&format!("{} drains, {middle:.0?} each, at most {longest:.0?}, {}", drains.len(), site.store), &summary);
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_lose_no_calls_on_sqlite() {
    processes_are_drained(Site::sqlite("drains")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_lose_no_calls_on_redis() {
    let Some(site) = Site::redis("drains-redis") else { return };
    processes_are_drained(site).await;
}

/// The time of day jumps while processes run, and between one and the next: forward by less than a token is
/// valid for, and back by less than clocks may differ by. Beyond that, tokens are refused: docs/link.md, "Failures".
#[tokio::test(flavor = "multi_thread")]
async fn processes_are_killed_while_clocks_jump() {
    let site = Site::sqlite("clocks");
    let clock = Clock::new(&site.folder.0);
    let start = |address| Server::start_by_clock(address, &site.store, &site.history(), &clock);
    let mut server = start(free_address());
    let network = Network::to(server.address).await;
    let clients = clients(&network, 4, BUSY).await;
    let (began, mut kills, mut latest) = (Instant::now(), 0, 0_i64);
    while is_under_way(began, &clients) || kills < 2 {
        pause(200..2_000).await;
        latest += [0, 0, 20, 700, 1_500][rand::random_range(0..if latest < 36_000 { 5 } else { 3 })];
        let offset = latest - if rand::random() { 20 } else { 0 };
        let is_kill = rand::random_range(0..3) > 0;
        clock.set(&format!("{offset:+}"));
        pause(0..500).await;
        let (before, address) = (returns(&clients), server.address);
        if is_kill {
            server.kill();
            server = start(address);
            kills += 1;
        } else {
            network.cut();
        }
        all_returned(&clients, &before).await;
    }
    let summary = settle(clients, &site.history(), Losses::OfProcessesInBursts).await;
    print(&format!("{kills} kills and jumps of the clock"), &summary);
}

/// Redis answers nothing for longer than leases last, and connections are cut meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn redis_stands_still_while_connections_are_cut() {
    let Some(site) = Site::redis("still") else { return };
    let redis = site.redis.as_ref().unwrap();
    let away = if minutes().is_some() { 20_000 } else { 2_500 };
    let server = site.start(free_address());
    let network = Network::to(server.address).await;
    let clients = clients(&network, 4, BUSY).await;
    let (began, mut stops) = (Instant::now(), 0);
    while is_under_way(began, &clients) || stops == 0 {
        pause(500..4_000).await;
        redis.signal("-STOP");
        stops += 1;
        let stopped = Instant::now();
        while stopped.elapsed() < Duration::from_millis(away) {
            pause(300..2_500).await;
            network.cut();
        }
        let before = returns(&clients);
        redis.signal("-CONT");
        network.cut();
        all_returned(&clients, &before).await;
    }
    let summary = settle(clients, &site.history(), Losses::OfProcessesInBursts).await;
    print(&format!("Redis away {stops} times for {away} ms, with cuts"), &summary);
    drop(server);
}
