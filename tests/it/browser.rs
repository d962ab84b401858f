//! `examples/browser`: its page in a browser and a Rust program, peers of one server. The page is
//! checked against the types, too.

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
fn the_declarations_are_those_of_the_traits() {
    let file = Path::new(FOLDER).join("api.d.ts");
    let kept = std::fs::read_to_string(&file).expect("the file is there");
    let command = "cargo run --example browser -- --types > examples/browser/api.d.ts";
    assert_eq!(bowline::typescript::<BoardRef>(), kept, "{command}");
}

#[test]
fn the_page_fits_the_declarations() {
    tsc::compile(FOLDER);
}

#[tokio::test]
async fn a_page_is_a_peer() {
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

    // An error, whose property says what the page makes of it.
    page.run("document.getElementById('name').value = 'x'.repeat(21); document.forms.enter.requestSubmit()").await;
    page.until("problem.textContent === 'a name has from 1 to 20 characters'").await;
    page.until("document.getElementById('name').maxLength === 20").await;
    page.picture(&pictures.join("browser-refused.png")).await;
    assert_eq!(page.run("document.getElementById('board').hidden").await, true);

    page.run("document.getElementById('name').value = 'Ann'; document.forms.enter.requestSubmit()").await;
    page.until("!document.getElementById('board').hidden").await;
    page.until(&names_are(&["Ann"])).await;

    // Somebody else comes, and what he does is on the page.
    let session = bowline::connect(format!("ws://{address}/rpc")).await.expect("a session");
    let board: BoardRef = session.root();
    let seat = board.sit_down("Bob").await.expect("nobody else is Bob");
    let (to, mut changes) = unbounded_channel();
    let watching = seat.watch(Func::new(move |change: Change| {
        let told = to.send(change);
        async move { drop(told) }
    }));
    let _watch = watching.await.expect("the hall is open");
    page.until(&names_are(&["Ann", "Bob"])).await;
    let hull = seat.add("Sand the hull", Some(example::api::Colour::Amber)).await.expect("a good title");
    page.until("document.querySelector('#task-1.amber .title')?.textContent === 'Sand the hull'").await;

    // What is done on the page, everybody sees.
    page.run("task.value = 'Buy rope'; colour.value = 'green'; document.forms.add.requestSubmit()").await;
    page.until("document.querySelector('#task-2 .by')?.textContent.startsWith('Ann, ')").await;
    page.run("task.value = 'Check the weather'; colour.value = ''; document.forms.add.requestSubmit()").await;
    page.until("document.getElementById('task-3') !== null").await;
    let titles: Vec<_> = seat.tasks().await.expect("tasks").into_iter().map(|task| task.title).collect();
    assert_eq!(titles, ["Sand the hull", "Buy rope", "Check the weather"]);
    seat.tick(hull.id, true).await.expect("it is there");
    page.until("document.querySelector('#task-1.done input').checked").await;
    page.run("document.querySelector('#task-2 input').click()").await;
    page.until("document.querySelector('#task-2.done') !== null").await;
    page.picture(&pictures.join("browser.png")).await;

    // A seat that is given up is free, on either side.
    let guest = board.sit_down("Cyd").await.expect("nobody else is Cyd");
    page.until(&names_are(&["Ann", "Bob", "Cyd"])).await;
    drop(guest);
    page.until(&names_are(&["Ann", "Bob"])).await;
    page.run("leave.click()").await;
    page.until("!document.getElementById('enter').hidden").await;
    let alone = |change: &Change| matches!(change, Change::Here { names } if names == &["Bob"]);
    while !alone(&changes.recv().await.expect("the server goes on")) {}
    page.close().await;
}

/// Whether the page shows these people.
fn names_are(names: &[&str]) -> String {
    format!(
        "[...document.querySelectorAll('#here li')].map((name) => name.textContent).join() === '{}'",
        names.join(",")
    )
}
