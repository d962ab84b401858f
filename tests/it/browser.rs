//! `examples/browser`: its page in Chromium and a Rust client share one board. The page is also
//! type-checked against its declarations.

use std::path::Path;

use bowline::Func;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;

use crate::chromium::Page;
use crate::tsc;

#[path = "../../examples/browser/main.rs"]
#[expect(dead_code, reason = "its `main` is not called here")]
mod example;

use example::api::{BoardRef, Change};

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
    let capnweb = std::fs::read_to_string(example::CAPNWEB).expect(tsc::MISSING);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, example::app(capnweb)).await });

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
    let hull = bob.add("Sand the hull", Some(example::api::Color::Amber)).await.expect("the title is valid");
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

/// A script that is true if the page lists exactly these participants.
fn names_are(names: &[&str]) -> String {
    format!(
        "[...document.querySelectorAll('#participants li')].map((name) => name.textContent).join() === '{}'",
        names.join(",")
    )
}
