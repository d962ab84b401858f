//! Token buckets by address, for refused tokens and for opened sessions.

use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use dashmap::DashMap;
use tokio::time::Instant;

use super::{Registry, TokenRefusal, refuse};
use crate::address::AddressGroup;
use crate::http_limits::HttpLimits;

/// How long the bucket of opened sessions takes to refill.
const HELLOS_REFILL: Duration = Duration::from_secs(10);

/// The maximum number of remembered addresses. Beyond, addresses whose buckets are full are
/// forgotten. If there are none, further addresses are not counted.
const ADDRESSES_MAX: usize = 10_000;

/// The longest wait that is sent to a client.
const WAIT_MS_MAX: f64 = 3_600_000.0;

/// Buckets by address. Of resume tokens, only refused ones are counted. So clients with valid
/// tokens are never delayed, however many invalid tokens come from the same address, and however
/// many clients reconnect at once after a network failure.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: DashMap<AddressGroup, Bucket>,
}

/// The rate of a bucket.
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

    /// Returns the rate that admits `burst` sessions at once.
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
    /// Takes one from the bucket of an address.
    ///
    /// # Errors
    /// Returns the milliseconds to wait if the bucket is empty.
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
    /// Returns the refusal for a token that could not be opened. If too many tokens from this
    /// address were refused, it only says that.
    pub(crate) fn refuse_token(
        &self,
        from: Option<AddressGroup>,
        limits: &HttpLimits,
        TokenRefusal { session, error }: TokenRefusal,
    ) -> Refused {
        let counted = from.map_or(Ok(()), |from| self.throttle.take(from, Rate::of_refused_tokens(limits)));
        match counted {
            // A client with an expired token learns that, whatever others at its address do.
            Err(wait_ms) if !error.is_late() => {
                let refused = Refused::new(ErrorCode::RateLimited, "too many tokens from this address were refused");
                Refused { retryable: true, retry_after_ms: Some(wait_ms), ..refused }
            }
            _ => refuse(session.as_deref(), &error),
        }
    }

    /// Counts an opened session for an address.
    ///
    /// # Errors
    /// Returns `RATE_LIMITED` if too many sessions were opened from the address.
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
    async fn default_rate_is_twenty_at_once_and_ten_per_second() {
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
    async fn rate_of_refused_tokens_is_configurable() {
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
