//! A stream of 64 MiB to a process that reads slowly: what that holds meanwhile, and how long its
//! small calls take.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bowline::error::Never;
use bowline::{Bytes, Reader, Service, connect, stream};
use tokio::net::TcpListener;

const MIB: usize = 1 << 20;
const BULK: usize = 64 * MIB;
const CHUNK: usize = 64 << 10;

#[bowline::interface]
trait Depot {
    async fn bulk(&self, bytes: usize) -> Reader<Bytes>;
    async fn add(&self, a: u64, b: u64) -> Result<u64, Never>;
}

struct Full;

impl Depot for Full {
    async fn bulk(&self, bytes: usize) -> Reader<Bytes> {
        let (mut writer, reader) = stream::channel(1);
        tokio::spawn(async move {
            for n in 0..bytes / CHUNK {
                if writer.write(Bytes::new(vec![n as u8; CHUNK])).await.is_err() {
                    return;
                }
            }
            writer.close().await.expect("the reader reads to the end");
        });
        reader
    }
    async fn add(&self, a: u64, b: u64) -> Result<u64, Never> {
        Ok(a + b)
    }
}

const URL: &str = "BOWLINE_TEST_URL";

/// No test: the process that reads.
#[test]
fn receiver_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(receive(&url));
}

async fn receive(url: &str) {
    let session = connect(url).await.unwrap();
    let depot: DepotRef = session.root();
    // Warm, and idle again.
    read(&depot, MIB, Duration::ZERO).await;
    let idle = kib("VmRSS:");
    let calls = tokio::spawn({
        let depot = depot.clone();
        async move {
            let (mut slowest, mut count) = (Duration::ZERO, 0_u64);
            loop {
                let asked = Instant::now();
                assert_eq!(depot.add(count, 1).await.unwrap(), count + 1);
                slowest = slowest.max(asked.elapsed());
                count += 1;
                println!("call {count} {}", slowest.as_micros());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    // About 40 MiB a second, when the server could send many times that.
    read(&depot, BULK, Duration::from_micros(1_500)).await;
    calls.abort();
    println!("peak {}", kib("VmHWM:").saturating_sub(idle));
}

async fn read(depot: &DepotRef, bytes: usize, pause: Duration) {
    let mut reader = depot.bulk(bytes).await.unwrap();
    let mut came = 0;
    while let Some(chunk) = reader.next().await {
        let chunk = chunk.unwrap();
        assert!(chunk.as_slice().iter().all(|byte| *byte == (came / CHUNK) as u8));
        came += chunk.as_slice().len();
        tokio::time::sleep(pause).await;
    }
    assert_eq!(came, bytes);
}

/// A number of this process's, in KiB.
fn kib(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_mebibytes_go_by_a_slow_reader_that_holds_little_of_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(Service::new(|_peer| DepotRef::new(Full)).serve(listener));
    let mut reader = Command::new(std::env::current_exe().unwrap());
    reader.args(["--exact", "bulk::receiver_process", "--nocapture"]).env(URL, url).stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || reader.output().unwrap()).await.unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let last = |word: &str| {
        let line = output.lines().rev().find_map(|line| line.strip_prefix(word));
        let numbers = line.unwrap_or_else(|| panic!("no {word} in {output}")).split_whitespace();
        numbers.map(|number| number.parse::<usize>().unwrap()).collect::<Vec<_>>()
    };
    let (peak_kib, calls) = (last("peak ")[0], last("call "));
    let (count, slowest_us) = (calls[0], calls[1]);
    println!("{peak_kib} KiB above idle; {count} calls meanwhile, the slowest took {slowest_us} us");
    assert!(peak_kib < 24 << 10, "{peak_kib} KiB above idle");
    assert!(count > 20 && slowest_us < 250_000, "{count} calls, the slowest took {slowest_us} us");
}
