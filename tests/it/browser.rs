//! `examples/browser`: its page in Chromium and Firefox, two windows of it, and a Rust client share one board. The page is
//! also type-checked against its declarations.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bowline::Func;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep, timeout};

use crate::chromium::Page;
use crate::firefox::Firefox;
use crate::tsc;

#[path = "../../examples/browser/main.rs"]
#[expect(dead_code, reason = "its `main` is not called here")]
mod example;

use example::api::{BoardRef, Change};

/// How long a page may take to reach the state that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser that a test drives, with one page in use.
pub(crate) trait Browser {
    /// Evaluates an expression in the page. Returns `None` if it throws, or while the page is loading.
    async fn evaluate(&mut self, script: &str) -> Option<Value>;

    /// Saves a screenshot of the page.
    async fn picture(&mut self, file: &Path);

    /// Opens another page, in a window of its own, and uses it.
    async fn open_another(&mut self, url: &str);

    /// Uses the page that was opened as this one, from 0.
    fn switch_to(&mut self, page: usize);

    /// Freezes the page, as browsers do to tabs in the background, or wakes it, if the driver can do that.
    async fn set_frozen(&mut self, frozen: bool);

    /// Sets whether the page is dark, as the system of its user is, if the driver can do that.
    async fn set_dark(&mut self, dark: bool);

    /// Closes the browser and removes its profile.
    async fn close(self);

    /// Evaluates an expression and returns its value.
    ///
    /// # Panics
    /// If the expression throws.
    async fn run(&mut self, script: &str) -> Value {
        self.evaluate(script).await.unwrap_or_else(|| panic!("the page throws: {script}"))
    }

    /// Waits until an expression is true in the page.
    async fn until(&mut self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(script).await != Some(true.into()) {
            if Instant::now() > deadline {
                let page = self.evaluate("document.documentElement.outerHTML").await;
                panic!("did not become true: {script}\n{page:#?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/browser");

#[test]
fn declarations_are_up_to_date() {
    let file = Path::new(FOLDER).join("api.d.ts");
    let stored = std::fs::read_to_string(&file).expect("api.d.ts is readable");
    let command = "cargo run --example browser -- --types > examples/browser/api.d.ts";
    assert_eq!(bowline::typescript::declarations::<BoardRef>(), stored, "outdated; run {command}");
}

#[test]
fn page_passes_type_check() {
    tsc::compile(FOLDER);
}

#[tokio::test]
async fn page_and_rust_client_share_a_board() {
    if tsc::skips("chromium") || tsc::skips("node") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let file = file_of_board("shared");
    tokio::spawn(async move { axum::serve(listener, example::app(file).expect("the key is long enough")).await });

    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut page = Page::open(&format!("http://{address}/")).await;
    page.until("'ready' in document.documentElement.dataset").await;
    assert_eq!(page.run("document.querySelector('h1').textContent").await, "Spring regatta");

    // The page shows the error's message and applies its `max` property.
    page.run("document.getElementById('name').value = 'x'.repeat(21); document.forms.join.requestSubmit()").await;
    page.until("problem.textContent === 'the name must have 1 to 20 characters'").await;
    page.until("document.getElementById('name').maxLength === 20").await;
    page.picture(&pictures.join("browser-refused.png")).await;
    assert_eq!(page.run("document.getElementById('board').hidden").await, true);

    page.run("document.getElementById('name').value = 'Ann'; document.forms.join.requestSubmit()").await;
    page.until("!document.getElementById('board').hidden").await;
    page.until(&names_are(&["Ann"])).await;

    // What another participant does appears on the page.
    let session = bowline::connect(format!("ws://{address}/rpc")).await.expect("a session");
    let board: BoardRef = session.root();
    let bob = board.join("Bob").await.expect("the name is unused");
    let (to, mut changes) = unbounded_channel();
    let watching = bob.watch(Func::new(move |change: Change| {
        let sent = to.send(change);
        async move { drop(sent) }
    }));
    let _watch = watching.await.expect("the server answers");
    page.until(&names_are(&["Ann", "Bob"])).await;
    let hull = bob.add("hull", "Sand the hull", Some(example::api::Color::Amber)).await.expect("the title is valid");
    page.until("document.querySelector('#task-1.amber .title')?.textContent === 'Sand the hull'").await;

    // What is done on the page reaches the other participant.
    page.run("task.value = 'Buy rope'; color.value = 'green'; document.forms.add.requestSubmit()").await;
    page.until("document.querySelector('#task-2 .by')?.textContent.startsWith('Ann, ')").await;
    page.run("task.value = 'Check the weather'; color.value = ''; document.forms.add.requestSubmit()").await;
    page.until("document.getElementById('task-3') !== null").await;
    let titles: Vec<_> = bob.tasks().await.expect("tasks").into_iter().map(|task| task.title).collect();
    assert_eq!(titles, ["Sand the hull", "Buy rope", "Check the weather"]);
    bob.set_done(hull.id, true).await.expect("the task exists");
    page.until("document.querySelector('#task-1.done input').checked").await;
    page.run("document.querySelector('#task-2 input').click()").await;
    page.until("document.querySelector('#task-2.done') !== null").await;
    page.picture(&pictures.join("browser.png")).await;

    // Dropping or disposing a participant leaves the board.
    let guest = board.join("Cyd").await.expect("the name is unused");
    page.until(&names_are(&["Ann", "Bob", "Cyd"])).await;
    drop(guest);
    page.until(&names_are(&["Ann", "Bob"])).await;
    page.run("leave.click()").await;
    page.until("!document.getElementById('join').hidden").await;
    let alone = |change: &Change| matches!(change, Change::Participants { names } if names == &["Bob"]);
    while !alone(&changes.recv().await.expect("the subscription is still live")) {}
    page.close().await;
}

const ADDRESS: &str = "BOWLINE_TEST_ADDRESS";
const FILE: &str = "BOWLINE_TEST_FILE";

/// No test: the process of a server that a test starts.
#[test]
fn server_process() {
    let (Ok(address), Some(file)) = (std::env::var(ADDRESS), std::env::var_os(FILE)) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(example::serve(&address, Path::new(&file))).expect("the server serves");
}

/// Starts a server in a process of its own, which ends when the returned value is dropped.
fn start_server(address: &str, file: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("the test has a file"));
    command.args(["--exact", "browser::server_process", "--nocapture"]).env(ADDRESS, address).env(FILE, file);
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("a process")
}

/// The two windows show these tasks, each once.
async fn both_have(page: &mut impl Browser, titles: &[&str]) {
    let all = format!(
        "JSON.stringify([...document.querySelectorAll('#tasks .title')].map((title) => title.textContent).sort()) \
         === JSON.stringify({}.sort())",
        serde_json::json!(titles)
    );
    for window in [0, 1] {
        page.switch_to(window);
        page.until(&all).await;
    }
}

async fn add(page: &mut impl Browser, title: &str) {
    page.run(&format!("task.value = '{title}'; document.forms.add.requestSubmit()")).await;
}

async fn join(page: &mut impl Browser, name: &str) {
    page.until("'ready' in document.documentElement.dataset").await;
    page.run(&format!("document.getElementById('name').value = '{name}'; document.forms.join.requestSubmit()")).await;
    page.until("!document.getElementById('board').hidden").await;
}

const ATTACHED: &str = "connection.dataset.state === 'attached'";

/// A server in a process of its own, which is started anew at the same address when it has ended.
struct Server {
    address: String,
    file: PathBuf,
    process: Child,
}

impl Server {
    async fn start(name: &str) -> Self {
        let file = file_of_board(name);
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let address = free.to_string();
        let process = start_server(&address, &file);
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        Self { address, file, process }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn start_again(&mut self) {
        self.process = start_server(&self.address, &self.file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_in_chromium_survive_cuts_a_frozen_tab_crashes_and_a_reload() {
    if tsc::skips("chromium") || tsc::skips("node") {
        return;
    }
    let server = Server::start("chromium").await;
    let page = Page::open(&server.url()).await;
    survive(page, server, "browser").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_in_firefox_survive_cuts_crashes_and_a_reload() {
    if tsc::skips("firefox") || tsc::skips("node") {
        return;
    }
    let server = Server::start("firefox").await;
    if let Some(page) = Firefox::open(&server.url()).await {
        survive(page, server, "firefox").await;
    }
}

/// Two windows share a board through everything that can happen to them. Screenshots are saved under `name`.
async fn survive(mut page: impl Browser, mut server: Server, name: &str) {
    let picture = |what: &str| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{what}.png"));
    let url = server.url();
    page.until("'ready' in document.documentElement.dataset").await;
    page.picture(&picture("first")).await;
    join(&mut page, "Ann").await;
    page.open_another(&url).await;
    join(&mut page, "Bob").await;
    page.until(&names_are(&["Ann", "Bob"])).await;

    // Without its plug, a window keeps what is done in it.
    page.run("plug.click()").await;
    page.until("connection.dataset.state === 'detached'").await;
    add(&mut page, "Pack the sails").await;
    page.picture(&picture("unplugged")).await;
    page.switch_to(0);
    add(&mut page, "Buy rope").await;
    page.until("document.getElementById('task-1') !== null").await;
    page.switch_to(1);
    page.run("plug.click()").await;
    page.until(ATTACHED).await;
    both_have(&mut page, &["Buy rope", "Pack the sails"]).await;

    // A tab that is frozen receives what it has missed.
    page.switch_to(1);
    page.set_frozen(true).await;
    page.switch_to(0);
    add(&mut page, "Sand the hull").await;
    page.until("document.getElementById('task-3') !== null").await;
    page.switch_to(1);
    page.set_frozen(false).await;
    both_have(&mut page, &["Buy rope", "Pack the sails", "Sand the hull"]).await;

    // The page crashes the server; then the server is killed. What is added meanwhile is there, once.
    let mut titles = vec!["Buy rope".to_owned(), "Pack the sails".to_owned(), "Sand the hull".to_owned()];
    for (crash, title) in ["Tar the seams", "Check the weather"].into_iter().enumerate() {
        // A checkpoint is taken when a session has been quiet for 250 ms.
        sleep(Duration::from_millis(600)).await;
        page.switch_to(0);
        if crash == 0 {
            page.run("crash.click()").await;
            timeout(Duration::from_secs(10), server.process.wait())
                .await
                .expect("the server ends")
                .expect("its status");
        } else {
            server.process.kill().await.expect("the server is killed");
        }
        page.until("connection.dataset.state === 'detached'").await;
        for window in [0, 1] {
            page.switch_to(window);
            let title = format!("{title} {window}");
            add(&mut page, &title).await;
            titles.push(title);
        }
        server.start_again();
        for window in [0, 1] {
            page.switch_to(window);
            page.until(ATTACHED).await;
            page.until(&format!("document.getElementById('history').textContent.includes('recovered {}×')", crash + 1))
                .await;
        }
        both_have(&mut page, &titles.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for window in [0, 1] {
            page.switch_to(window);
            page.until("document.querySelectorAll('#participants li').length === 2").await;
            assert_eq!(page.run("problem.textContent").await, "");
        }
    }
    page.picture(&picture("recovered")).await;

    // A window that is reloaded is still Bob.
    page.switch_to(1);
    page.run("document.documentElement.dataset.old = ''; location.reload()").await;
    page.until("'ready' in document.documentElement.dataset && !('old' in document.documentElement.dataset)").await;
    page.until("!document.getElementById('board').hidden").await;
    page.until("document.querySelectorAll('#participants li').length === 2").await;
    add(&mut page, "Wash up").await;
    page.until("[...document.querySelectorAll('.by')].at(-1).textContent.startsWith('Bob, ')").await;
    titles.push("Wash up".to_owned());
    both_have(&mut page, &titles.iter().map(String::as_str).collect::<Vec<_>>()).await;
    page.set_dark(true).await;
    page.picture(&picture("dark")).await;
    page.close().await;
}

/// Returns where a board is stored that does not exist yet.
fn file_of_board(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("board-{name}-{}.json", std::process::id()));
    std::fs::remove_file(&file).ok();
    file
}

/// A script that is true if the page lists exactly these participants.
fn names_are(names: &[&str]) -> String {
    format!(
        "[...document.querySelectorAll('#participants li')].map((name) => name.textContent).join() === '{}'",
        names.join(",")
    )
}
