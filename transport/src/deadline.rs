//! Deadlines that may be too far away for the clock.

use std::time::Duration;

use tokio::time::Instant;

/// A duration longer than any process runs, which every clock can represent. [`Duration::MAX`] is
/// reduced to this for libraries that add durations themselves.
pub const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Returns the instant `time` from now. If the clock cannot represent it, as for [`Duration::MAX`],
/// returns an instant that is never reached.
pub fn deadline(time: Duration) -> Instant {
    after(Instant::now(), time)
}

/// Returns the instant `time` after `from`. If the clock cannot represent it, returns an instant
/// that is never reached.
pub fn after(from: Instant, time: Duration) -> Instant {
    from.checked_add(time).unwrap_or_else(|| from + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_max_is_never_reached() {
        assert!(deadline(Duration::MAX) > Instant::now() + FAR / 2);
    }

    #[test]
    fn usual_durations_are_exact() {
        let now = Instant::now();
        let second = deadline(Duration::from_secs(1)) - now;
        assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&second), "{second:?}");
    }
}
