//! Memory that a hostile peer can take: whatever it sends, the peak of allocated bytes stays below twice the documented
//! limit. `BOWLINE_SENT_MIB=400` sends 400 MiB of each kind to sessions with the default limits and with those of
//! `Limits::public`; otherwise a session with a sixty-fourth of the default limits is sent twelve times its bound.

use bowline::Limits;

use crate::held::hold;
use crate::rows::HELD;

const MIB: usize = 1 << 20;

fn small() -> Limits {
    let mut limits = Limits::default();
    limits.held_bytes /= 64;
    limits.message_bytes /= 64;
    limits.table_entries /= 64;
    limits.running_calls /= 4;
    limits
}

#[test]
fn allocated_bytes_stay_below_twice_the_bound_for_whatever_is_held() {
    let sent = std::env::var("BOWLINE_SENT_MIB").ok().map(|mib| mib.parse::<usize>().expect("a number of MiB") * MIB);
    let sessions = match sent {
        Some(sent) => vec![(Limits::default(), sent), (Limits::public(), sent)],
        None => vec![(small(), 12 * small().held_bytes)],
    };
    let mut beyond = Vec::new();
    for (limits, sent) in sessions {
        for row in HELD {
            let measured = hold(row, &limits, sent);
            println!("{measured}");
            if measured.allocated >= 2 * limits.held_bytes {
                beyond.push(measured.to_string());
            }
            assert!(measured.is_aborted || measured.sent >= sent, "{}", row.name);
        }
    }
    assert!(beyond.is_empty(), "{beyond:#?}");
}
