//! A Redis server for the processes under test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::shop::free_address;

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

    /// SIGSTOP and SIGCONT: it answers nothing in between, and keeps its connections.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail when it is gone, as it should be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
