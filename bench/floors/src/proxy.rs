//! A proxy that simulates network latency.

use bytes::{Bytes, BytesMut};
use common::*;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs a TCP proxy that delays every chunk in each direction: `floors proxy MILLISECONDS --to HOST:PORT`.
pub async fn proxy(delay_ms: u64, to: SocketAddr) {
    let l = listen().await;
    loop {
        let a = accept(&l).await;
        let b = dial(to).await;
        let (ar, aw) = a.into_split();
        let (br, bw) = b.into_split();
        for (mut r, mut w) in [(ar, bw), (br, aw)] {
            let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel::<(tokio::time::Instant, Bytes)>();
            tokio::task::spawn_local(async move {
                let mut b = BytesMut::new();
                loop {
                    b.reserve(64 << 10);
                    match r.read_buf(&mut b).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                    let at = tokio::time::Instant::now() + std::time::Duration::from_millis(delay_ms);
                    if tx.send((at, b.split().freeze())).is_err() {
                        return;
                    }
                }
            });
            tokio::task::spawn_local(async move {
                while let Some((at, b)) = rx.recv().await {
                    tokio::time::sleep_until(at).await;
                    if w.write_all(&b).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}
