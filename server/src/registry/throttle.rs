//! Token buckets by address: of tokens that are refused, and of sessions that are opened.

use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use dashmap::DashMap;
use tokio::time::Instant;

use super::{Registry, Unopened, refuse};
use crate::address::AddressGroup;
use crate::http_limits::HttpLimits;

/// The time in which the bucket of an address that opens sessions fills again.
const HELLOS_REFILL: Duration = Duration::from_secs(10);

/// Addresses that are remembered. Beyond, those that could try again at will are forgotten; when
/// there are none, addresses that are not remembered are not counted.
const ADDRESSES_MAX: usize = 10_000;

/// The longest time that a client is told to wait.
const WAIT_MS_MAX: f64 = 3_600_000.0;

/// What addresses have done, each in a bucket that fills again. Of tokens, only those that were
/// looked at and refused are counted: clients whose tokens are good are never held up, however many bad ones come from
/// the same address, and however many clients come at once after a network was away.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: DashMap<AddressGroup, Bucket>,
}

/// How often something may be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    per_second: f64,
    burst: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    rate: Rate,
}

impl Rate {
    pub(super) fn of_refused_tokens(limits: &HttpLimits) -> Self {
        Self { per_second: limits.refused_tokens_per_second.into(), burst: limits.refused_tokens_burst.into() }
    }

    /// As many as `burst` at once.
    fn of_hellos(burst: usize) -> Self {
        let burst = (burst as f64).max(1.0);
        Self { per_second: burst / HELLOS_REFILL.as_secs_f64(), burst }
    }
}

impl Bucket {
    fn left(self, now: Instant) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * self.rate.per_second;
        (self.left + filled).min(self.rate.burst)
    }

    fn is_full(self, now: Instant) -> bool {
        self.left(now) >= self.rate.burst
    }
}

impl Throttle {
    /// Takes one out of the bucket of an address.
    ///
    /// # Errors
    /// It is empty; after how many milliseconds it is not.
    pub(super) fn take(&self, from: AddressGroup, rate: Rate) -> Result<(), u64> {
        let now = Instant::now();
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&from) {
            self.forget_full(now);
            if self.buckets.len() >= ADDRESSES_MAX {
                return Ok(());
            }
        }
        let mut bucket = self.buckets.entry(from).or_insert(Bucket { left: rate.burst, at: now, rate });
        let left = bucket.left(now);
        *bucket = Bucket { left: if left < 1.0 { left } else { left - 1.0 }, at: now, rate };
        if left < 1.0 { Err(((1.0 - left) / rate.per_second * 1_000.0).min(WAIT_MS_MAX).ceil() as u64) } else { Ok(()) }
    }

    /// Forgets addresses whose buckets are full.
    pub(super) fn forget_full(&self, now: Instant) {
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
    }
}

impl Registry {
    /// Refuses a token that could not be opened. When too many that came from there could not be,
    /// the client is told no more than that.
    pub(crate) fn refuse_token(
        &self,
        from: Option<AddressGroup>,
        limits: &HttpLimits,
        Unopened { session, error }: Unopened,
    ) -> Refused {
        let counted = from.map_or(Ok(()), |from| self.throttle.take(from, Rate::of_refused_tokens(limits)));
        match counted {
            // A client whose token is merely old learns that it is, whatever its neighbors do.
            Err(wait_ms) if !error.is_late() => {
                let refused = Refused::new(ErrorCode::RateLimited, "too many tokens from this address were refused");
                Refused { retryable: true, retry_after_ms: Some(wait_ms), ..refused }
            }
            _ => refuse(session.as_deref(), &error),
        }
    }

    /// Takes a session out of the bucket of an address.
    ///
    /// # Errors
    /// Too many sessions were opened from there.
    pub(crate) fn may_open(&self, from: Option<AddressGroup>) -> Result<(), Refused> {
        let rate = Rate::of_hellos(self.resumption.hellos_per_address);
        from.map_or(Ok(()), |from| self.hello_rates.take(from, rate)).map_err(|wait_ms| {
            let refused = Refused::new(ErrorCode::RateLimited, "too many sessions were opened from this address");
            Refused { retryable: true, retry_after_ms: Some(wait_ms), ..refused }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn twenty_at_once_and_ten_a_second() {
        let throttle = Throttle::default();
        let rate = Rate::of_refused_tokens(&HttpLimits::default());
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST).into();
        for _ in 0..20 {
            assert_eq!(throttle.take(from, rate), Ok(()));
        }
        assert_eq!(throttle.take(from, rate), Err(100));
        assert_eq!(throttle.take(IpAddr::V4(Ipv4Addr::BROADCAST).into(), rate), Ok(()), "others are not held up");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(throttle.take(from, rate), Ok(()));
        assert!(throttle.take(from, rate).is_err());
        tokio::time::advance(Duration::from_secs(3)).await;
        throttle.forget_full(Instant::now());
        assert!(throttle.buckets.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn rate_is_a_setting() {
        let throttle = Throttle::default();
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST).into();
        let limits = HttpLimits { refused_tokens_per_second: 0, refused_tokens_burst: 2, ..HttpLimits::default() };
        let never = Rate::of_refused_tokens(&limits);
        assert_eq!([1, 2].map(|_| throttle.take(from, never)), [Ok(()), Ok(())]);
        assert_eq!(throttle.take(from, never), Err(3_600_000));
        let none = Rate::of_refused_tokens(&HttpLimits { refused_tokens_burst: 0, ..HttpLimits::default() });
        assert!(throttle.take(IpAddr::V4(Ipv4Addr::BROADCAST).into(), none).is_err());
    }
}
