//! The official Cap'n Web package against Bowline, in both directions. The cases for a Bowline
//! server are in `tests/node/client.mjs`; those for a Bowline client are here, against the server
//! of `tests/node/server.mjs`.

mod fallback;
mod garden;
mod link;
mod relay;
mod trace;

use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline::durable::{RestoreCtx, Restorers, Vars};
use bowline::error::{ErrorValue, Never};
use bowline::value::{BigInt, BytesKind, Date};
use bowline::value::{Headers, Object, Url};
use bowline::{Bytes, CallError, Func, Promise, Service, Session, Thrown, Value, batch, connect};
use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use self::garden::{GardenRef, Plot, Visitor, VisitorRef, broken};

/// The time limit of all cases together.
const WITHIN: Duration = Duration::from_secs(60);

/// A visitor who counts what they have seen, and adds `LEFT` when they are dropped.
struct Ann(Arc<AtomicUsize>);

const LEFT: usize = 1000;

impl Visitor for Ann {
    async fn name(&self) -> String {
        "Ann".to_owned()
    }

    async fn see(&self, _what: Value) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl Drop for Ann {
    fn drop(&mut self) {
        self.0.fetch_add(LEFT, Ordering::SeqCst);
    }
}

/// Variables that another process has stored. The object of one of them has an unknown restorer.
fn kept() -> Vars {
    let stored = r#"[{"n":"lost","x":"\u001a","q":[{"r":"missing","v":1,"p":"null"}]},{"n":"theme","x":"\"dark\""}]"#;
    let stored = serde_json::from_str(stored).unwrap();
    Vars::restored(stored, &Arc::new(Restorers::new()), &RestoreCtx::new("s_1", "ann", "tests")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn official_client_works_with_a_bowline_server() {
    let Some(node) = node("client.mjs") else { return };
    let (beds, gates) = <(Arc<_>, Arc<_>)>::default();
    let plot = move |_peer| GardenRef::new(Plot { beds: Arc::clone(&beds), gates: Arc::clone(&gates), vars: kept() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(Service::new(plot).serve(listener));
    let run = { node }.arg(url).output();
    let output = timeout(WITHIN, run).await.expect("the cases complete in time").expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn bowline_client_works_with_an_official_server() {
    let Some(node) = node("server.mjs") else { return };
    let (_server, url) = started(node).await;
    let tour = async {
        let session = connect(&url).await.unwrap();
        let garden: GardenRef = session.root();
        values(&garden).await;
        pipelining(&garden).await.unwrap();
        failures(&garden).await;
        callbacks(&garden).await.unwrap();
        lifetimes(&garden, &url).await.unwrap();
        in_a_batch(&url).await;
        released(&session).await;
        session.close().await;
        assert!(garden.echo(Value::Null).await.unwrap_err().is_lost());
    };
    timeout(WITHIN, tour).await.expect("the cases complete in time");
}

async fn values(garden: &GardenRef) {
    let mut headers = Headers::new();
    headers.append("x-a", "1").unwrap();
    let nested = Object::from([("list", Value::Array(vec![Value::Array(vec![BigInt::from(1).into()]), Value::Null]))]);
    let error = ErrorValue::new("RangeError", "far").with_prop("code", BigInt::from(5));
    let values = [
        Value::Undefined,
        Value::Null,
        (-1.5).into(),
        f64::NAN.into(),
        f64::NEG_INFINITY.into(),
        "růže 🌹\0\u{2028}".into(),
        BigInt::parse("-123456789012345678901234567890").unwrap().into(),
        Date::from_ms(-1.0).into(),
        Date::INVALID.into(),
        Bytes::from(&[0, 255]).into(),
        Bytes::with_kind(BytesKind::Int16Array, [1, 2, 3, 4]).unwrap().into(),
        Url::parse("https://example.com/a?b#c").unwrap().into(),
        headers.into(),
        error.into(),
        Value::Array(vec!["export".into(), 1.into()]),
        nested.into(),
        "z".repeat(3 << 20).into(),
    ];
    for value in &values {
        assert_eq!(garden.echo(value.clone()).await.unwrap(), *value);
    }
    let all = Value::Array(values.into());
    assert_eq!(garden.echo(all.clone()).await.unwrap(), all);
}

async fn pipelining(garden: &GardenRef) -> Result<(), CallError> {
    let bed = garden.slowly_planted("rose", 20).neighbour("lily").neighbour("iris");
    let watered = bed.water(bed.water(3.0));
    assert_eq!((bed.name().await?, watered.await?), ("iris".to_owned(), 6.0));
    assert_eq!(garden.place().at().at(1).await?, 16.6);
    let promised = garden.promised("oak", 20);
    assert_eq!(promised.bed().name().await?, "oak");
    assert_eq!(garden.promised("elm", 20).await?.bed.name().await?, "elm");
    let oak = garden.slowly_planted("oak", 20);
    let levels =
        try_join_all((0..100).map(|_| oak.water(1.0)).collect::<Vec<_>>().into_iter().map(IntoFuture::into_future));
    assert!(levels.await?.into_iter().eq((1..=100).map(f64::from)));
    Ok(())
}

async fn failures(garden: &GardenRef) {
    let error = garden.dig(1.0).await.unwrap_err();
    assert!(matches!(error, CallError::App(error) if error == broken()));
    assert_eq!(garden.dig(3.0).await.unwrap_err().to_string(), "3 m is too deep");
    let unknown = Promise::stub(&garden.place()).call("move", ()).await.unwrap_err();
    assert_eq!(unknown.to_string(), "TypeError: 'place.move' is not a function.");
    let chained = Promise::stub(&garden.dig(3.0)).get("flower").call("smell", ()).await.unwrap_err();
    assert_eq!(chained.to_string(), "RangeError: 3 m is too deep");
}

async fn callbacks(garden: &GardenRef) -> Result<(), CallError<Thrown>> {
    let also = garden.clone();
    let square = Func::try_new(move |(day,): (u32,)| {
        let squared = also.echo(Value::from(day * day));
        async move { Ok::<_, Thrown>(squared.await?) }
    });
    assert_eq!(garden.each_day(4, square).await?, [0, 1, 4, 9].map(Value::from));
    let rain = Func::try_new(|_: (u32,)| async { Err(ErrorValue::new("SyntaxError", "rain").into()) });
    assert_eq!(garden.each_day(2, rain).await.unwrap_err().to_string(), "SyntaxError: rain");
    Ok(())
}

async fn lifetimes(garden: &GardenRef, url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let seen = Arc::new(AtomicUsize::new(0));
    let gone = || async { Ok::<_, Never>(seen.load(Ordering::SeqCst) >= LEFT) };
    assert_eq!(garden.welcome("gate", VisitorRef::new(Ann(Arc::clone(&seen)))).await?, "Welcome, Ann");
    assert_eq!((garden.show("gate", Value::Null).await?, garden.visitor("gate").name().await?), (1, "Ann".to_owned()));
    let other = connect(url).await?;
    let proxy = other.root::<GardenRef>().visitor("gate").await?;
    assert_eq!((proxy.name().await?, proxy.see(Value::Null).await?), ("Ann".to_owned(), 2));
    drop(proxy);
    assert!(!gone().await?);
    garden.close("gate").await?;
    eventually(gone, true).await;

    let held = other.root::<GardenRef>().plant("fern", None).await?;
    assert_eq!((garden.beds_of("fern").await?, held.name().await?), (1, "fern".to_owned()));
    let twin = held.clone();
    drop(held);
    sleep(Duration::from_millis(30)).await;
    assert_eq!(garden.beds_of("fern").await?, 1);
    drop(twin);
    eventually(|| garden.beds_of("fern").into_future(), 0).await;
    let _left_open = other.root::<GardenRef>().plant("moss", None).await?;
    other.close().await;
    eventually(|| garden.beds_of("moss").into_future(), 0).await;
    Ok(())
}

async fn in_a_batch(url: &str) {
    let batch = batch(url).unwrap();
    let garden: GardenRef = batch.root();
    let bed = garden.plant("oak", Some(5.0));
    let calls = (bed.water(2.0), garden.dig(3.0), garden.place().name(), Promise::stub(&bed).call("nope", ()));
    let (level, deep, name, nope) = batch.send(async { tokio::join!(calls.0, calls.1, calls.2, calls.3) }).await;
    assert_eq!((level.unwrap(), name.unwrap().as_str()), (7.0, "Brno"));
    assert_eq!(deep.unwrap_err().to_string(), "3 m is too deep");
    assert_eq!(nope.unwrap_err().to_string(), "TypeError: 'nope' is not a function.");
}

/// Asserts that each side holds only the other's root object.
async fn released(session: &Session) {
    let count = || async {
        let stats = session.stats();
        Ok::<_, Never>((stats.imports, stats.exports))
    };
    eventually(count, (1, 1)).await;
}

async fn eventually<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug, F>(mut ask: impl FnMut() -> F, want: T)
where
    F: Future<Output = Result<T, E>>,
{
    let mut last = ask().await.unwrap();
    for _ in 0..200 {
        if last == want {
            return;
        }
        sleep(Duration::from_millis(10)).await;
        last = ask().await.unwrap();
    }
    assert_eq!(last, want, "after two seconds");
}

/// Starts a server and returns it with its URL. The server ends when it is dropped.
async fn started(mut node: Command) -> (Child, String) {
    let mut server = node.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("node runs");
    let mut lines = BufReader::new(server.stdout.take().expect("stdout is piped")).lines();
    let url = timeout(WITHIN, lines.next_line()).await.expect("the server starts in time").expect("stdout is readable");
    (server, url.expect("the server prints its URL"))
}

/// Returns a command that runs a script of `tests/node`, or `None` if these tests are skipped.
pub(crate) fn node(script: &str) -> Option<Command> {
    let skipped = std::env::var("BOWLINE_SKIP").unwrap_or_default();
    if skipped.split([',', ' ']).any(|name| name == "node") {
        return None;
    }
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let version = std::process::Command::new("node").arg("--version").output();
    let installed = version.is_ok_and(|output| output.status.success());
    assert!(installed, "this test needs Node 20 or later on the PATH (or set BOWLINE_SKIP=node)");
    let packages = folder.join("node_modules/capnweb").is_dir();
    assert!(packages, "this test needs `npm ci` to have run in tests/node (or set BOWLINE_SKIP=node)");
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    Some(command)
}
