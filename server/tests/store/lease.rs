//! An owner stops before anybody else may begin, whatever happens to it in between.

use std::time::Duration;

use bowline_core::time::Time;
use bowline_server::store::Lease;

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

#[test]
fn an_owner_renews_after_three_seconds_and_stops_after_eight() {
    let lease = Lease::new(Lease::LENGTH, at(100));
    assert_eq!((lease.renew_at(), lease.stop_at()), (at(103), at(108)));
    assert!(lease.is_good(at(107)));
    assert!(!lease.is_good(at(108)));
}

#[test]
fn a_lease_counts_from_when_it_was_asked_for() {
    let mut lease = Lease::new(Lease::LENGTH, at(100));
    // Asked at 103, granted by the store at 103 at the earliest, answered at 107.
    lease.renewed(at(103));
    assert_eq!(lease.stop_at(), at(111));
    // An answer that was overtaken.
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
fn an_owner_that_was_paused_is_over_before_its_lease_is() {
    for asked_at in 0..5 {
        for length in [1, 10, 60] {
            let lease = Lease::new(Duration::from_secs(length), at(asked_at));
            // The store grants it later than it was asked for, so it ends later there.
            let over_in_store = at(asked_at + length);
            assert!(lease.renew_at() < lease.stop_at() && lease.stop_at() < over_in_store);
            assert!(!lease.is_good(over_in_store));
        }
    }
}
