//! Two servers that share a Redis, and a client that reaches one of them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::shop::free_address;

/// What stands before the servers: every connection goes to the one it is told, and ends when that
/// changes.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    target: watch::Sender<SocketAddr>,
}

impl Balancer {
    pub(crate) async fn to(first: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = watch::Sender::new(first);
        let targets = target.subscribe();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut targets = targets.clone();
                tokio::spawn(async move {
                    let target = *targets.borrow_and_update();
                    let Ok(mut server) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = targets.changed() => {}
                    }
                });
            }
        });
        Self { address, target }
    }

    pub(crate) fn now_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }
}

/// Debian's redis-server, which ends with the test.
pub(crate) struct Redis {
    child: Child,
    pub(crate) url: String,
}

impl Redis {
    /// None if there is no such program and `BOWLINE_SKIP` says that this is known.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        let skips = std::env::var("BOWLINE_SKIP").is_ok_and(|parts| parts.split(',').any(|part| part == "redis"));
        if skips && Command::new("redis-server").arg("--version").output().is_err() {
            return None;
        }
        let address = free_address();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("this test needs redis-server, or BOWLINE_SKIP=redis");
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Self { child, url: format!("redis://{address}") })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail when it is gone, as it should be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
