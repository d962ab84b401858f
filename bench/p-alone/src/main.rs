//! Works that need no second process: the codec alone (`w9`), compared with serde_json on the same data, and
//! what the loss of a connection or of a process costs a session (`w10`).

/// `w9`: the codec.
mod codec;
/// `w10`: sessions that are stored and recovered.
mod kept;
/// `w10`: sessions that resume.
mod resume;

use std::time::{Duration, Instant};

use common::{Opts, Out, announce, block_on_local};

fn main() {
    let options = Opts::parse();
    if options.role == "server" {
        // drive.py waits for a server, which these works do not need.
        announce(0);
        loop {
            std::thread::park();
        }
    }
    let seconds = Duration::from_secs_f64(options.f("secs", 1.0));
    for work in options.get("work", "w9").split(',') {
        let out = Out { kind: options.kind.clone(), work: work.to_owned(), srv: None };
        match work {
            "w9" => codec::measure(&out, seconds),
            "w10" => {
                kept::measure(&out);
                block_on_local(resume::measure(&out));
            }
            unknown => panic!("unknown work {unknown}"),
        }
    }
}

/// Returns the nanoseconds that one `step` takes, as the median over runs of 10 ms.
fn nanoseconds(within: Duration, mut step: impl FnMut()) -> f64 {
    const PIECE: Duration = Duration::from_millis(10);
    let mut pieces = Vec::new();
    let began = Instant::now();
    while began.elapsed() < within {
        let (piece, mut steps) = (Instant::now(), 0_u32);
        while piece.elapsed() < PIECE {
            (0..16).for_each(|_| step());
            steps += 16;
        }
        pieces.push(piece.elapsed().as_nanos() as f64 / f64::from(steps));
    }
    pieces.sort_by(f64::total_cmp);
    pieces[pieces.len() / 2]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
