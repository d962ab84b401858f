//! The arithmetic of a lease: an owner stops before another process may take over, even if it was paused.

use std::time::Duration;

use bowline_core::time::Time;
use bowline_server::store::Lease;

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

#[test]
fn owner_renews_after_three_seconds_and_stops_after_eight() {
    let lease = Lease::new(Lease::LENGTH, at(100));
    assert_eq!((lease.renew_at(), lease.stop_at()), (at(103), at(108)));
    assert!(lease.is_good(at(107)));
    assert!(!lease.is_good(at(108)));
}

#[test]
fn lease_starts_when_it_is_requested() {
    let mut lease = Lease::new(Lease::LENGTH, at(100));
    // Requested at 103, granted by the store at 103 at the earliest, answered at 107.
    lease.renewed(at(103));
    assert_eq!(lease.stop_at(), at(111));
    // A reply that arrives after the reply to a later request.
    lease.renewed(at(101));
    assert_eq!(lease.stop_at(), at(111));
}

#[test]
fn longest_lease_is_never_renewed() {
    let lease = Lease::new(Duration::MAX, at(100));
    assert!(lease.renew_at() > at(1 << 40));
    assert!(lease.is_good(at(1 << 40)));
}

#[test]
fn paused_owner_stops_before_its_lease_ends() {
    for asked_at in 0..5 {
        for length in [1, 10, 60] {
            let lease = Lease::new(Duration::from_secs(length), at(asked_at));
            // The store grants the lease later than it was requested, so it ends later there.
            let over_in_store = at(asked_at + length);
            assert!(lease.renew_at() < lease.stop_at() && lease.stop_at() < over_in_store);
            assert!(!lease.is_good(over_in_store));
        }
    }
}
