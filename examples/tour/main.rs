//! A tour of Bowline: pipelining, callbacks, releases, and typed errors. A server and a client talk
//! over a real socket, and every message between them is printed.
//!
//! Run it with `cargo run --example tour`. It needs no input, exits by itself, and fails if anything
//! differs from what it prints.
//!
//! Read `main` first: each step is a function below it, in order. The interfaces and objects after
//! them are what the author of a server writes. `tap.rs` records the messages; it contains no Bowline
//! code.

mod tap;

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline::inspect::SessionStats;
use bowline::{CallError, Func, Peer, Service, Session};
use serde::{Deserialize, Serialize};
use tap::Tap;
use tokio::net::TcpListener;
use tokio::time::timeout;

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    // A server on a free port. Each session gets its own directory.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let service = Service::new(|_peer: Peer| DirectoryRef::new(Office));
    tokio::spawn(service.clone().serve(listener));

    // A client. The tap between them records the messages.
    let (tap, address) = Tap::on(server).await?;
    // Plain Cap'n Web, so that the tap records messages and no frames of the link.
    let session = Session::builder(format!("ws://{address}/rpc")).plain().connect().await?;
    let directory: DirectoryRef = session.root();

    one_round_trip(&directory, &tap).await?;
    callback_and_release(&directory, &session, &tap).await?;
    typed_errors(&directory, &tap).await?;

    service.drain(Duration::from_secs(1)).await;
    let closed = session.closed().await;
    println!("\n5. The server stops, and the client learns why\n\n   {}", closed.message);
    tap.closed().await?;
    Ok(())
}

async fn one_round_trip(directory: &DirectoryRef, tap: &Tap) -> Outcome {
    println!("1. Three calls, each on the result of the one before, in one round trip\n");

    let desk = directory.authenticate("sesame"); // nothing is awaited,
    let boss = directory.person(desk.me().boss()).await?; // until here

    let crossed = show(tap.take(5).await);
    println!("   so the boss is {}", boss.name);
    assert_eq!(boss.name, "Grace");
    let before_the_answer = crossed.iter().take_while(|message| message.starts_with("client")).count();
    assert_eq!(before_the_answer, 4, "three calls and a pull of the last result");
    assert!(crossed[4].starts_with("server  [\"resolve\",3,"), "one answer");

    println!("   The three results are no longer needed. The client releases them:\n");
    drop(desk);
    show(tap.take(3).await);
    Ok(())
}

async fn callback_and_release(directory: &DirectoryRef, session: &Session, tap: &Tap) -> Outcome {
    println!("\n2. A callback: the server calls a function of the client\n");

    let open = Func::new(|visitor: String| async move { format!("come in, {visitor}") });
    let desk = directory.authenticate("sesame");
    let bell = desk.install_bell(open).await?;
    let heard = bell.ring("Ann").await?;

    let crossed = show(tap.take(13).await);
    println!("   ringing the bell gives {heard:?}");
    assert_eq!(heard, "come in, Ann");
    let called_back = |message: &String| message.starts_with("server  [\"push\",[\"pipeline\",-1,[],[\"Ann\"]]]");
    assert!(crossed.iter().any(called_back), "the server called the client");

    println!("\n3. Dropping the last reference to an object drops the object\n");

    println!("   bells at the server: {}", BELLS.load(Ordering::SeqCst));
    assert_eq!(BELLS.load(Ordering::SeqCst), 1);
    drop((bell, desk));
    show(tap.take(3).await);
    assert_eq!(BELLS.load(Ordering::SeqCst), 0);
    println!("   bells at the server: 0");
    // Dropping the bell released the callback, too.
    let only_roots = async {
        while session.stats() != (SessionStats { imports: 1, exports: 1 }) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(5), only_roots).await?;
    println!("   each side holds only the other's root");
    Ok(())
}

async fn typed_errors(directory: &DirectoryRef, tap: &Tap) -> Outcome {
    println!("\n4. Errors keep their type\n");

    let refused = directory.authenticate("guess").await;
    show(tap.take(4).await);
    match refused {
        Err(CallError::App(AuthError::BadToken { length })) => println!("   BadToken, with its field: {length}"),
        other => return Err(format!("expected BadToken, not {other:?}").into()),
    }

    let of_the_chain = directory.authenticate("guess").me().await;
    let Err(CallError::Remote(error)) = of_the_chain else {
        return Err("a call on a failed result must fail".into());
    };
    println!("   and at the end of a chain of calls: {:?}", error.downcast::<AuthError>());
    assert!(error.downcast::<AuthError>().is_some());
    Ok(())
}

fn show(crossed: Vec<String>) -> Vec<String> {
    for message in &crossed {
        println!("   {message}");
    }
    println!();
    crossed
}

/// The root object: every client starts with a reference to it.
#[bowline::interface]
pub trait Directory {
    /// Returns a desk if the token is valid.
    async fn authenticate(&self, token: String) -> Result<DeskRef, AuthError>;
    /// Returns the person with this id.
    async fn person(&self, id: u64) -> Result<Person, NoSuchPerson>;
}

/// An authenticated client's desk. Holding a reference is the permission: its methods check nothing.
#[bowline::interface]
pub trait Desk {
    /// Returns the owner of the desk.
    async fn me(&self) -> Person;
    /// Installs a bell that calls `open`. It is removed when its last reference is released.
    async fn install_bell(&self, open: Func<String, String>) -> BellRef;
}

/// A door bell.
#[bowline::interface]
pub trait Bell {
    /// Rings the bell and returns the reply.
    async fn ring(&self, visitor: String) -> Result<String, CallError>;
}

/// An employee.
#[derive(Clone, Debug, Serialize, Deserialize, bowline::Pipeline)]
pub struct Person {
    name: String,
    boss: u64,
}

/// Why authentication failed.
#[derive(Debug, thiserror::Error, bowline::RpcError)]
pub enum AuthError {
    /// The token is not valid.
    #[error("the token is not valid")]
    BadToken {
        /// The length of the token in bytes.
        length: u64,
    },
}

/// No person has this id.
#[derive(Debug, thiserror::Error, bowline::RpcError)]
#[error("there is no person {id}")]
pub struct NoSuchPerson {
    id: u64,
}

/// The number of bells that are installed.
static BELLS: AtomicUsize = AtomicUsize::new(0);

struct Office;

impl Directory for Office {
    async fn authenticate(&self, token: String) -> Result<DeskRef, AuthError> {
        if token == "sesame" {
            Ok(DeskRef::new(CornerDesk))
        } else {
            Err(AuthError::BadToken { length: token.len() as u64 })
        }
    }

    async fn person(&self, id: u64) -> Result<Person, NoSuchPerson> {
        match id {
            1 => Ok(Person { name: "Grace".to_owned(), boss: 1 }),
            2 => Ok(Person { name: "Ann".to_owned(), boss: 1 }),
            _ => Err(NoSuchPerson { id }),
        }
    }
}

struct CornerDesk;

impl Desk for CornerDesk {
    async fn me(&self) -> Person {
        Person { name: "Ann".to_owned(), boss: 1 }
    }

    async fn install_bell(&self, open: Func<String, String>) -> BellRef {
        BELLS.fetch_add(1, Ordering::SeqCst);
        BellRef::new(DoorBell { open })
    }
}

struct DoorBell {
    open: Func<String, String>,
}

impl Bell for DoorBell {
    async fn ring(&self, visitor: String) -> Result<String, CallError> {
        self.open.call(visitor).await
    }
}

impl Drop for DoorBell {
    fn drop(&mut self) {
        BELLS.fetch_sub(1, Ordering::SeqCst);
    }
}
