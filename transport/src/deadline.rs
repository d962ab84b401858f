//! Points in time that may be too far away for a clock.

use std::time::Duration;

use tokio::time::Instant;

/// Longer than any process runs, and representable by every clock. For libraries that add times
/// themselves, a [`Duration::MAX`] is cut to this.
pub const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The point `time` from now. A `time` that the clock cannot represent, such as [`Duration::MAX`],
/// gives a point that is never reached.
pub fn deadline(time: Duration) -> Instant {
    after(Instant::now(), time)
}

/// The point `time` after `from`, as [`deadline`] gives it.
pub fn after(from: Instant, time: Duration) -> Instant {
    from.checked_add(time).unwrap_or_else(|| from + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_duration_is_never_reached() {
        assert!(deadline(Duration::MAX) > Instant::now() + FAR / 2);
    }

    #[test]
    fn usual_durations_are_kept() {
        let now = Instant::now();
        let second = deadline(Duration::from_secs(1)) - now;
        assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&second), "{second:?}");
    }
}
