//! Token buckets by address: of tokens that are refused, and of sessions that are opened.

use std::net::IpAddr;
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use dashmap::DashMap;
use tokio::time::Instant;

use super::Registry;
use crate::address::AddressGroup;

/// Refusals of one address each second, over time.
const PER_SECOND: f64 = 10.0;

/// Refusals of one address at once.
const BURST: f64 = 20.0;

/// The time in which the bucket of an address that opens sessions fills again.
const HELLOS_REFILL: Duration = Duration::from_secs(10);

/// Addresses that are remembered. Beyond, those that could try again at will are forgotten; when
/// there are none, addresses that are not remembered are let through.
const ADDRESSES_MAX: usize = 10_000;

/// Refusals by address, each a bucket that fills again. Clients whose tokens are good are never
/// held up: they may well come all at once, after a network was away.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Rate,
    buckets: DashMap<AddressGroup, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: f64,
    burst: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn left(self, rate: Rate, now: Instant) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second;
        (self.left + filled).min(rate.burst)
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self { rate: Rate { per_second: PER_SECOND, burst: BURST }, buckets: DashMap::new() }
    }
}

impl Throttle {
    /// Creates buckets for sessions that are opened, `burst` of them at once.
    pub(super) fn of_hellos(burst: usize) -> Self {
        let burst = (burst as f64).max(1.0);
        Self { rate: Rate { per_second: burst / HELLOS_REFILL.as_secs_f64(), burst }, buckets: DashMap::new() }
    }

    /// Whether somebody from there may try; else after how many milliseconds.
    pub(super) fn may_try(&self, from: IpAddr) -> Result<(), u64> {
        let Some(bucket) = self.buckets.get(&AddressGroup::from(from)) else { return Ok(()) };
        let left = bucket.left(self.rate, Instant::now());
        if left >= 1.0 { Ok(()) } else { Err(((1.0 - left) / self.rate.per_second * 1_000.0).ceil() as u64) }
    }

    /// Takes one out of the bucket of an address.
    pub(super) fn refused(&self, from: IpAddr) {
        let (from, now) = (AddressGroup::from(from), Instant::now());
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&from) {
            self.forget_full(now);
            if self.buckets.len() >= ADDRESSES_MAX {
                return;
            }
        }
        let mut bucket = self.buckets.entry(from).or_insert(Bucket { left: self.rate.burst, at: now });
        *bucket = Bucket { left: (bucket.left(self.rate, now) - 1.0).max(0.0), at: now };
    }

    /// Forgets whoever may try as often as anybody.
    pub(super) fn forget_full(&self, now: Instant) {
        self.buckets.retain(|_, bucket| bucket.left(self.rate, now) < self.rate.burst);
    }
}

impl Registry {
    /// Takes a session out of the bucket of an address.
    ///
    /// # Errors
    /// Too many sessions were opened from there.
    pub(crate) fn may_open(&self, from: Option<IpAddr>) -> Result<(), Refused> {
        let Some(from) = from else { return Ok(()) };
        self.hello_rates.may_try(from).map_err(|wait_ms| {
            let refused = Refused::new(ErrorCode::RateLimited, "too many sessions were opened from this address");
            Refused { retryable: true, retry_after_ms: Some(wait_ms), ..refused }
        })?;
        self.hello_rates.refused(from);
        Ok(())
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
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(throttle.may_try(from), Ok(()));
        throttle.refused(from);
        assert!(throttle.may_try(from).is_err());
        tokio::time::advance(Duration::from_secs(2)).await;
        throttle.forget_full(Instant::now());
        assert!(throttle.buckets.is_empty());
    }
}
