//! The point: the server is killed, and what the client holds goes on working.
//!
//! This example runs a server and a client, each in a process of its own, and a file of SQLite
//! between the server's lives. The client holds a meter and a subscription to it, and books without
//! a pause. The server is killed with SIGKILL and started again, several times; then a second version
//! is deployed with a graceful drain, whose meters have a unit more. At the end the client's tally is
//! compared with what the servers have written down: no answered booking is missing, none is there
//! twice, and both objects were there all the time.
//!
//! Run it with `cargo run --example survivor --features sqlite`. It takes a few seconds and needs
//! nobody.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use bowline::store::SqliteStore;
use bowline::{ErrorCode, Func, Key, KeyRing, LinkEvent, Restoration, Restorer, Resumption, Service, connect};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::time::sleep;

const KILLS: usize = 5;

/// How long the client works between two ends of its server.
const WORKS: Duration = Duration::from_millis(700);

/// How long a gap may last.
const PATIENCE: Duration = Duration::from_secs(8);

/// The lives of a server.
const VERSIONS: [u32; 2] = [1, 2];

#[bowline::interface]
trait Works {
    /// The meter of this name.
    #[rpc(idempotent)]
    async fn meter(&self, name: String) -> MeterRef;
}

#[bowline::interface]
trait Meter {
    /// Books one unit under a number of the caller's.
    async fn book(&self, number: u64) -> u64;
    /// Tells `heard` which version of the server it is, over and over, for as long as the
    /// subscription is held.
    #[rpc(idempotent)]
    async fn subscribe(&self, heard: Func<u32, ()>) -> SubscriptionRef;
}

#[bowline::interface]
trait Subscription {
    /// The version of the server that serves it.
    #[rpc(idempotent)]
    async fn version(&self) -> u32;
}

/// What both versions know: which one this is, and the book in which all bookings are.
struct Office {
    version: u32,
    book: File,
}

struct Front(Arc<Office>);

/// A meter as version 1 of the server made it.
#[bowline::durable(restorer = "meter", version = 1)]
struct OldMeter {
    name: String,
    #[durable(skip)]
    office: Arc<Office>,
}

/// A meter as version 2 makes it.
#[bowline::durable(restorer = "meter", version = 2)]
struct NewMeter {
    name: String,
    unit: String,
    #[durable(skip)]
    office: Arc<Office>,
}

#[bowline::durable(restorer = "subscription", version = 1)]
struct Telling {
    heard: Func<u32, ()>,
    #[durable(skip)]
    version: u32,
}

impl Works for Front {
    async fn meter(&self, name: String) -> MeterRef {
        let office = Arc::clone(&self.0);
        match office.version {
            1 => MeterRef::durable(OldMeter { name, office }),
            _ => MeterRef::durable(NewMeter { name, unit: "kWh".to_owned(), office }),
        }
    }
}

impl Office {
    /// A line of the book, which is the application's own memory.
    fn write(&self, line: &str) {
        (&self.book).write_all(line.as_bytes()).expect("the book can be written");
    }
}

impl Meter for OldMeter {
    async fn book(&self, number: u64) -> u64 {
        self.office.write(&format!("{} {number}\n", self.name));
        number
    }
    async fn subscribe(&self, heard: Func<u32, ()>) -> SubscriptionRef {
        tell(heard, self.office.version)
    }
}

impl Meter for NewMeter {
    async fn book(&self, number: u64) -> u64 {
        self.office.write(&format!("{} {number} {}\n", self.name, self.unit));
        number
    }
    async fn subscribe(&self, heard: Func<u32, ()>) -> SubscriptionRef {
        tell(heard, self.office.version)
    }
}

impl Subscription for Telling {
    async fn version(&self) -> u32 {
        self.version
    }
}

fn tell(heard: Func<u32, ()>, version: u32) -> SubscriptionRef {
    let told = heard.clone();
    tokio::spawn(async move {
        // It fails when the client has gone.
        while told.call(version).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    SubscriptionRef::durable(Telling { heard, version })
}

async fn serve(version: u32, address: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let book = OpenOptions::new().create(true).append(true).open(folder.join("book"))?;
    let office = Arc::new(Office { version, book });
    let mine = Arc::clone(&office);
    let meter = match version {
        1 => Restorer::of::<OldMeter, _, _, _>(move |_ctx, params: OldMeterParams| {
            let office = Arc::clone(&mine);
            async move { Ok(MeterRef::durable(params.restore(office))) }
        }),
        _ => Restorer::of::<NewMeter, _, _, _>(move |_ctx, params: NewMeterParams| {
            let office = Arc::clone(&mine);
            async move { Ok(MeterRef::durable(params.restore(office))) }
        })
        // Meters had no unit, which was kWh.
        .migrate(1, |old: OldMeterParams| Ok(NewMeterParams { name: old.name, unit: "kWh".to_owned() })),
    };
    let subscription =
        Restorer::of::<Telling, _, _, _>(
            move |_ctx, params: TellingParams| async move { Ok(tell(params.heard, version)) },
        );
    let mut restoration = Restoration::in_store(SqliteStore::open(folder.join("sessions"))?);
    restoration = restoration.restorer(meter).restorer(subscription.eager());
    // How long the next server waits for one that is gone without a word.
    restoration.lease = Duration::from_millis(800);
    restoration.idle = Duration::from_millis(20);
    restoration.latest = Duration::from_millis(100);
    let mut resumption = Resumption::default();
    // A real key comes from where secrets are kept; this is a secret of nobody's.
    resumption.keys = KeyRing::new(Key::new("example", &[7; 32])?).into();
    let service = Service::new(move |_peer| WorksRef::new(Front(Arc::clone(&office))));
    let service = service.resumption(resumption).restoration(restoration);
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(service.clone().serve(listener));
    // A line on standard input asks it to stop.
    asked_to_stop().await;
    service.drain(Duration::from_secs(5)).await;
    Ok(())
}

async fn asked_to_stop() {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    // Whatever it read, and even if that failed, nobody wants this process any more.
    drop(line.await);
}

/// What the client has seen of its calls.
#[derive(Default)]
struct Seen {
    answered: u64,
    unknown: u64,
    not_attempted: u64,
}

async fn work(url: &str) -> Result<(), Box<dyn Error>> {
    let session = connect(url).await?;
    let works: WorksRef = session.root();
    let meter = works.meter("cellar".to_owned()).await?;
    let heard: [Arc<AtomicU64>; 2] = Default::default();
    let counts = heard.clone();
    let subscription = meter
        .subscribe(Func::new(move |version: u32| {
            let count = VERSIONS.iter().position(|known| *known == version).and_then(|at| counts.get(at));
            count.expect("a version that there is").fetch_add(1, Ordering::SeqCst);
            async {}
        }))
        .await?;
    let mut events = session.events();
    tokio::spawn(async move {
        let mut gone = Instant::now();
        while let Some(event) = events.next().await {
            match event {
                LinkEvent::Detached { .. } => gone = Instant::now(),
                LinkEvent::Restored { lost, .. } => println!("gap {:.0?}, {lost} objects lost", gone.elapsed()),
                LinkEvent::Lost { code, message, .. } => println!("lost: {code} {message}"),
                _ => {}
            }
        }
    });
    let (mut seen, mut number) = (Seen::default(), 0);
    let stop = asked_to_stop();
    tokio::pin!(stop);
    let booked = async {
        loop {
            number += 1;
            match meter.book(number).await {
                Ok(answer) => {
                    assert_eq!(answer, number);
                    seen.answered += 1;
                    println!("answered {number}");
                }
                Err(error) => match error.code() {
                    Some(ErrorCode::CallOutcomeUnknown) => seen.unknown += 1,
                    Some(ErrorCode::CallNotAttempted) => seen.not_attempted += 1,
                    _ => return error,
                },
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        error = booked => return Err(error.into()),
        () = &mut stop => {}
    }
    let serves = subscription.version().await?;
    let [old, new] = heard.map(|count| count.load(Ordering::SeqCst));
    let Seen { answered, unknown, not_attempted } = seen;
    println!("{answered} calls answered, {unknown} unknown, {not_attempted} not attempted");
    println!("version 1 was heard {old} times, version 2 {new} times; version {serves} has the subscription");
    assert!(old > 0 && new > 0 && serves == 2, "the subscription went on");
    Ok(())
}

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this process is; without one, it starts the others.
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

    fn ask_to_stop(&mut self) -> std::io::Result<()> {
        drop(self.0.stdin.take());
        let ended = self.0.wait()?;
        if ended.success() { Ok(()) } else { Err(std::io::Error::other(format!("a process ended with {ended}"))) }
    }

    /// SIGKILL.
    fn kill(&mut self) -> std::io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it is gone already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn direct() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("bowline-survivor-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (address, place) = (free_address()?, folder.to_str().ok_or("a folder with an odd name")?.to_owned());
    let start = |version: &str| Process::start(&["server", version, &address, &place], Stdio::inherit());
    let mut server = start("1")?;
    await_listener(&address);
    let mut client = Process::start(&["client", &format!("ws://{address}")], Stdio::piped())?;
    let lines = BufReader::new(client.0.stdout.take().ok_or("no output")?).lines();
    let (tell, told) = mpsc::channel();
    let listening = std::thread::spawn(move || listen(lines, &tell));
    std::thread::sleep(WORKS);
    for kill in 1..=KILLS {
        println!("kill {kill}");
        server.kill()?;
        server = start("1")?;
        told.recv_timeout(PATIENCE)?;
        std::thread::sleep(WORKS + Duration::from_millis(37 * kill as u64));
    }
    println!("deploy version 2");
    server.ask_to_stop()?;
    let mut server = start("2")?;
    told.recv_timeout(PATIENCE)?;
    std::thread::sleep(WORKS);
    client.ask_to_stop()?;
    let (answered, gaps) = listening.join().map_err(|_| "the client's output cannot be read")?;
    server.ask_to_stop()?;
    let book = std::fs::read_to_string(folder.join("book"))?;
    std::fs::remove_dir_all(&folder)?;
    let booked: Vec<u64> = book.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    let once = |number: &u64| booked.iter().filter(|other| *other == number).count() == 1;
    let (missing, doubled) = (
        answered.iter().filter(|number| !booked.contains(number)).count(),
        booked.iter().filter(|number| !once(number)).count(),
    );
    println!(
        "{KILLS} kills and a deploy, {gaps} gaps: {} answered bookings, {missing} missing, {doubled} doubled",
        answered.len()
    );
    assert_eq!((missing, doubled, gaps), (0, 0, KILLS + 1));
    assert!(answered.len() > 500, "it was busy");
    Ok(())
}

/// Prints what the client says, but for its answered calls, which are counted, and tells of each gap
/// that is over.
fn listen(lines: impl Iterator<Item = std::io::Result<String>>, tell: &Sender<()>) -> (Vec<u64>, usize) {
    let (mut answered, mut gaps) = (Vec::new(), 0);
    for line in lines.map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("answered ").and_then(|number| number.parse().ok()) {
            answered.push(number);
            continue;
        }
        if line.starts_with("gap ") {
            assert!(line.ends_with(" 0 objects lost"), "{line}");
            gaps += 1;
            // Nobody waits any more at the very end.
            let _ = tell.send(());
        }
        println!("  client: {line}");
    }
    (answered, gaps)
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
