//! Kills and replaces a server while its client keeps working, and shows that nothing is lost.
//!
//! This example runs a server and a client as separate processes. The server stores its sessions in
//! SQLite. The client holds a reference to a meter and a subscription to it, and records readings
//! without pause. The server is killed with SIGKILL and restarted five times; then it is stopped
//! gracefully and replaced by version 2, in which a meter has an additional field, `unit`. In the end,
//! the readings that the client saw acknowledged are compared with the ledger that the servers wrote:
//! none is missing, none is there twice, and both objects were restored every time.
//!
//! Run it with `cargo run --example survivor --features sqlite`. It takes a few seconds and needs no
//! input. Read `serve` for the server and `work` for the client; `direct` starts and kills them.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use bowline::auth::{Key, KeyRing};
use bowline::link::LinkEvent;
use bowline::store::SqliteStore;
use bowline::{ErrorCode, Func, Recovery, Resumption, Service, connect};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::time::sleep;

const KILLS: usize = 5;

/// How long the client works before each kill or deploy.
const WORK_TIME: Duration = Duration::from_millis(700);

/// How long the client may be without a server.
const OUTAGE_MAX: Duration = Duration::from_secs(8);

/// The versions of the server.
const VERSIONS: [u32; 2] = [1, 2];

#[bowline::interface]
trait Utility {
    /// Returns the meter with this name.
    #[rpc(idempotent)]
    async fn meter(&self, name: String) -> MeterRef;
}

#[bowline::interface]
trait Meter {
    /// Records a reading under a number that the caller chooses, and returns the number.
    async fn record(&self, number: u64) -> u64;
    /// Calls `on_tick` with the version of the server every 20 ms.
    #[rpc(idempotent)]
    async fn subscribe(&self, on_tick: Func<u32, ()>) -> SubscriptionRef;
}

#[bowline::interface]
trait Subscription {
    /// Returns the version of the server that this object lives in.
    #[rpc(idempotent)]
    async fn version(&self) -> u32;
}

/// What the objects of a server share: its version, and the ledger, which is the application's own
/// storage. Bowline restores objects, not their data.
struct Office {
    version: u32,
    ledger: File,
}

struct Front(Arc<Office>);

/// A meter of version 1 of the server. Its recipe is its name.
#[bowline::durable(restorer = "meter", version = 1)]
struct OldMeter {
    name: String,
    #[durable(skip)]
    office: Arc<Office>,
}

/// A meter of version 2, whose recipe has one more parameter.
#[bowline::durable(restorer = "meter", version = 2)]
struct NewMeter {
    name: String,
    unit: String,
    #[durable(skip)]
    office: Arc<Office>,
}

#[bowline::durable(restorer = "subscription", version = 1)]
struct Ticker {
    on_tick: Func<u32, ()>,
    #[durable(skip)]
    version: u32,
}

impl Utility for Front {
    async fn meter(&self, name: String) -> MeterRef {
        let office = Arc::clone(&self.0);
        match office.version {
            1 => MeterRef::durable(OldMeter { name, office }),
            _ => MeterRef::durable(NewMeter { name, unit: "kWh".to_owned(), office }),
        }
    }
}

impl Office {
    fn write(&self, line: &str) {
        (&self.ledger).write_all(line.as_bytes()).expect("the ledger is writable");
    }
}

impl Meter for OldMeter {
    async fn record(&self, number: u64) -> u64 {
        self.office.write(&format!("{} {number}\n", self.name));
        number
    }
    async fn subscribe(&self, on_tick: Func<u32, ()>) -> SubscriptionRef {
        start_ticker(on_tick, self.office.version)
    }
}

impl Meter for NewMeter {
    async fn record(&self, number: u64) -> u64 {
        self.office.write(&format!("{} {number} {}\n", self.name, self.unit));
        number
    }
    async fn subscribe(&self, on_tick: Func<u32, ()>) -> SubscriptionRef {
        start_ticker(on_tick, self.office.version)
    }
}

impl Subscription for Ticker {
    async fn version(&self) -> u32 {
        self.version
    }
}

fn start_ticker(on_tick: Func<u32, ()>, version: u32) -> SubscriptionRef {
    let tick = on_tick.clone();
    tokio::spawn(async move {
        // The call fails once the client's session has ended.
        while tick.call(version).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    SubscriptionRef::durable(Ticker { on_tick, version })
}

async fn serve(version: u32, address: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let ledger = OpenOptions::new().create(true).append(true).open(folder.join("ledger"))?;
    let office = Arc::new(Office { version, ledger });
    // Restorers rebuild objects from the recipes that an earlier process stored.
    let meter = match version {
        1 => OldMeter::restorer(Arc::clone(&office), |_ctx, params, office| async move {
            Ok(MeterRef::durable(params.restore(office)))
        }),
        _ => NewMeter::restorer(Arc::clone(&office), |_ctx, params, office| async move {
            Ok(MeterRef::durable(params.restore(office)))
        })
        // Meters stored by version 1 have no unit; all of them measured kWh.
        .migrate(1, |old: OldMeterParams| Ok(NewMeterParams { name: old.name, unit: "kWh".to_owned() })),
    };
    let subscription =
        Ticker::restorer(version, |_ctx, params, version| async move { Ok(start_ticker(params.on_tick, version)) });
    // `eager` restores the subscription at once, not when it is first called: it calls the client.
    let recovery = Recovery::in_store(SqliteStore::open(folder.join("sessions"))?)
        .restorer(meter)
        .restorer(subscription.eager())
        // The next server takes over from a killed one when its lease ends, or sooner if the store can
        // tell that it is gone.
        .lease(Duration::from_millis(800))
        // Checkpoints are taken more often than by default, because this server is killed so often.
        .idle(Duration::from_millis(20))
        .latest(Duration::from_millis(100));
    // Every server process needs the same key. A real one is loaded from a secret store.
    let resumption = Resumption::default().keys(KeyRing::new(Key::new("example", &[7; 32])?));
    let service = Service::new(move |_peer| UtilityRef::new(Front(Arc::clone(&office))));
    let service = service.resumption(resumption).recovery(recovery);
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(service.clone().serve(listener));
    stop_requested().await;
    service.drain(Duration::from_secs(5)).await;
    Ok(())
}

/// Waits for a line, or the end, of standard input, which is how `direct` stops a process.
async fn stop_requested() {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    // A read error means that the parent process is gone: stop as well.
    drop(line.await);
}

/// The number of calls by outcome.
#[derive(Default)]
struct Outcomes {
    answered: u64,
    unknown: u64,
    not_attempted: u64,
}

async fn work(url: &str) -> Result<(), Box<dyn Error>> {
    let session = connect(url).await?;
    let utility: UtilityRef = session.root();
    let meter = utility.meter("cellar".to_owned()).await?;
    let ticks: [Arc<AtomicU64>; 2] = Default::default();
    let counts = ticks.clone();
    let subscription = meter
        .subscribe(Func::new(move |version: u32| {
            let count = VERSIONS.iter().position(|known| *known == version).and_then(|at| counts.get(at));
            count.expect("the version is one of VERSIONS").fetch_add(1, Ordering::SeqCst);
            async {}
        }))
        .await?;
    let mut events = session.events();
    tokio::spawn(async move {
        let mut detached = Instant::now();
        while let Some(event) = events.next().await {
            match event {
                LinkEvent::Detached { .. } => detached = Instant::now(),
                LinkEvent::Recovered { lost, .. } => {
                    println!("restored after {:.0?}, {lost} objects lost", detached.elapsed())
                }
                LinkEvent::Lost { code, message, .. } => println!("lost: {code} {message}"),
                _ => {}
            }
        }
    });
    let (mut outcomes, mut number) = (Outcomes::default(), 0);
    let stop = stop_requested();
    tokio::pin!(stop);
    let record = async {
        loop {
            number += 1;
            match meter.record(number).await {
                Ok(answer) => {
                    assert_eq!(answer, number);
                    outcomes.answered += 1;
                    println!("answered {number}");
                }
                // `record` is not idempotent, so Bowline never repeats it. A call that was running when
                // the server was killed may or may not have run.
                Err(error) => match error.code() {
                    Some(ErrorCode::CallOutcomeUnknown) => outcomes.unknown += 1,
                    Some(ErrorCode::CallNotAttempted) => outcomes.not_attempted += 1,
                    _ => return error,
                },
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        error = record => return Err(error.into()),
        () = &mut stop => {}
    }
    let version = subscription.version().await?;
    let [old, new] = ticks.map(|count| count.load(Ordering::SeqCst));
    let Outcomes { answered, unknown, not_attempted } = outcomes;
    println!("{answered} calls answered, {unknown} of unknown outcome, {not_attempted} not attempted");
    println!("{old} ticks from version 1, {new} from version 2; the subscription is in version {version}");
    assert!(old > 0 && new > 0 && version == 2, "the subscription was not restored by version 2");
    Ok(())
}

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this process does. Without a role, it directs the others.
#[derive(Subcommand)]
enum Role {
    Server { version: u32, address: String, folder: PathBuf },
    Client { url: String },
}

struct Process(Child);

impl Process {
    fn start(args: &[&str], output: Stdio) -> std::io::Result<Self> {
        let this = std::env::current_exe()?;
        Command::new(this).args(args).stdin(Stdio::piped()).stdout(output).spawn().map(Self)
    }

    /// Closes the standard input of the process, and waits until it has exited.
    fn stop(&mut self) -> std::io::Result<()> {
        drop(self.0.stdin.take());
        let ended = self.0.wait()?;
        if ended.success() { Ok(()) } else { Err(std::io::Error::other(format!("a process exited with {ended}"))) }
    }

    /// Kills the process with SIGKILL, and waits until it is gone.
    fn kill(&mut self) -> std::io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if the process has already exited.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts, kills, and replaces the servers, and compares what client and servers wrote down.
fn direct() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("bowline-survivor-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (address, place) =
        (free_address()?, folder.to_str().ok_or("the name of the temporary folder is not UTF-8")?.to_owned());
    let start = |version: &str| Process::start(&["server", version, &address, &place], Stdio::inherit());
    let mut server = start("1")?;
    await_listener(&address);
    let mut client = Process::start(&["client", &format!("ws://{address}")], Stdio::piped())?;
    let lines = BufReader::new(client.0.stdout.take().ok_or("no output")?).lines();
    let (restored, restorations) = mpsc::channel();
    let listening = std::thread::spawn(move || read_output(lines, &restored));
    std::thread::sleep(WORK_TIME);
    for kill in 1..=KILLS {
        println!("kill {kill}");
        server.kill()?;
        server = start("1")?;
        restorations.recv_timeout(OUTAGE_MAX)?;
        std::thread::sleep(WORK_TIME + Duration::from_millis(37 * kill as u64));
    }
    println!("deploy version 2");
    server.stop()?;
    let mut server = start("2")?;
    restorations.recv_timeout(OUTAGE_MAX)?;
    std::thread::sleep(WORK_TIME);
    client.stop()?;
    let (answered, outages) = listening.join().map_err(|_| "the client's output cannot be read")?;
    server.stop()?;
    let ledger = std::fs::read_to_string(folder.join("ledger"))?;
    std::fs::remove_dir_all(&folder)?;
    let recorded: Vec<u64> = ledger.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    let once = |number: &u64| recorded.iter().filter(|other| *other == number).count() == 1;
    let (missing, duplicated) = (
        answered.iter().filter(|number| !recorded.contains(number)).count(),
        recorded.iter().filter(|number| !once(number)).count(),
    );
    println!(
        "{KILLS} kills and a deploy, {outages} outages: {} acknowledged readings, {missing} missing, {duplicated} duplicated",
        answered.len()
    );
    assert_eq!((missing, duplicated, outages), (0, 0, KILLS + 1));
    assert!(answered.len() > 500, "the client recorded too few readings for the kills to hit calls in flight");
    Ok(())
}

/// Reads the client's output. Returns the numbers of its answered calls and the number of outages, and
/// prints all other lines. Signals `restored` after each outage.
fn read_output(lines: impl Iterator<Item = std::io::Result<String>>, restored: &Sender<()>) -> (Vec<u64>, usize) {
    let (mut answered, mut outages) = (Vec::new(), 0);
    for line in lines.map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("answered ").and_then(|number| number.parse().ok()) {
            answered.push(number);
            continue;
        }
        if line.starts_with("restored ") {
            assert!(line.ends_with(" 0 objects lost"), "{line}");
            outages += 1;
            // Fails once `direct` no longer waits.
            let _ = restored.send(());
        }
        println!("  client: {line}");
    }
    (answered, outages)
}

fn free_address() -> std::io::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn await_listener(address: &str) {
    while std::net::TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let role = Args::parse().role;
    let Some(role) = role else { return direct() };
    let runtime = tokio::runtime::Runtime::new()?;
    match role {
        Role::Server { version, address, folder } => runtime.block_on(serve(version, &address, &folder)),
        Role::Client { url } => runtime.block_on(work(&url)),
    }
}
