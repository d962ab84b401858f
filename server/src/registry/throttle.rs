//! How often somebody may come with a token that is refused.

use std::net::IpAddr;

use dashmap::DashMap;
use tokio::time::Instant;

use crate::address::AddressGroup;

/// Refusals of one address each second, over time.
const PER_SECOND: f64 = 10.0;

/// Refusals of one address at once.
const BURST: f64 = 20.0;

/// Addresses that are remembered. Beyond, those that could try again at will are forgotten; when
/// there are none, addresses that are not remembered are let through.
const ADDRESSES_MAX: usize = 10_000;

/// Refusals by address, each a bucket that fills again. Clients whose tokens are good are never
/// held up: they may well come all at once, after a network was away.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: DashMap<AddressGroup, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn left(self, now: Instant) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        (self.left + filled).min(BURST)
    }
}

impl Throttle {
    /// Whether somebody from there may try; else after how many milliseconds.
    pub(super) fn may_try(&self, from: IpAddr) -> Result<(), u64> {
        let Some(bucket) = self.buckets.get(&AddressGroup::from(from)) else { return Ok(()) };
        let left = bucket.left(Instant::now());
        if left >= 1.0 { Ok(()) } else { Err(((1.0 - left) / PER_SECOND * 1_000.0).ceil() as u64) }
    }

    /// Somebody from there was refused.
    pub(super) fn refused(&self, from: IpAddr) {
        let (from, now) = (AddressGroup::from(from), Instant::now());
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&from) {
            self.forget_full(now);
            if self.buckets.len() >= ADDRESSES_MAX {
                return;
            }
        }
        let mut bucket = self.buckets.entry(from).or_insert(Bucket { left: BURST, at: now });
        *bucket = Bucket { left: (bucket.left(now) - 1.0).max(0.0), at: now };
    }

    /// Forgets whoever may try as often as anybody.
    pub(super) fn forget_full(&self, now: Instant) {
        self.buckets.retain(|_, bucket| bucket.left(now) < BURST);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn twenty_at_once_and_ten_a_second() {
        let throttle = Throttle::default();
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for _ in 0..20 {
            assert_eq!(throttle.may_try(from), Ok(()));
            throttle.refused(from);
        }
        assert_eq!(throttle.may_try(from), Err(100));
        assert_eq!(throttle.may_try(IpAddr::V4(Ipv4Addr::BROADCAST)), Ok(()), "others are not held up");
        tokio::time::advance(std::time::Duration::from_millis(100)).await;
        assert_eq!(throttle.may_try(from), Ok(()));
        throttle.refused(from);
        assert!(throttle.may_try(from).is_err());
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        throttle.forget_full(Instant::now());
        assert!(throttle.buckets.is_empty());
    }
}
