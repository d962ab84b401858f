//! What a session costs that is kept, by how many objects its client holds. Measured when asked:
//!
//! `BOWLINE_EXPORTS=10,1000,10000 cargo test --release -p bowline-core --test cold cost -- --nocapture`

use std::io::Write;
use std::time::{Duration, Instant};

use bowline_core::endpoint::{Attach, Endpoint};
use bowline_core::limits::Limits;
use bowline_core::link::{Features, LinkRules, Role};
use bowline_core::session::{Kind, Outgoing, Output, Path, Recipe, Ref, Report};
use bowline_core::time::Time;
use bowline_core::value::Payload;
use serde_json::Value;

/// A session whose client holds so many durable objects.
fn holding(exports: usize) -> Endpoint {
    let mut server = Endpoint::linked(Limits::default(), true, Role::Server, LinkRules::default());
    server.keep_checkpoints();
    let attached = server.attach(Time::default(), Features::ALL, Attach::New).expect("it is new");
    for number in 1..=exports {
        for text in [r#"["push",["pipeline",0,["open"],[]]]"#.to_owned(), format!(r#"["pull",{number}]"#)] {
            server.handle_text(attached.attachment, Time::default(), &text);
        }
        while let Some(output) = server.session_mut().poll_output() {
            let Output::Deliver(delivery) = output else { continue };
            let target = server.session_mut().new_target(Kind::Object);
            let params = Payload::plain(format!("{{\"id\":{number},\"name\":\"object-{number}\"}}"));
            server.session_mut().set_recipe(target, Recipe { restorer: "object".to_owned(), version: 1, params });
            let made = Payload::capability(Outgoing { of: Ref::Target(target), path: Path::new() });
            server.session_mut().settle(delivery.call, Ok(made));
        }
        server.handle_text(attached.attachment, Time::default(), &format!(r#"["release",{number},1]"#));
        let said = std::iter::from_fn(|| server.poll_transmit(attached.attachment)).count() as u64;
        assert!(said > 0);
        let ack = format!(r#"{{"type":"session.ack","last_processed_seq":{number}}}"#);
        server.handle_text(attached.attachment, Time::default(), &ack);
    }
    assert_eq!(server.session().stats().exports, exports + 1);
    server
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..21)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[10]
}

#[test]
fn cost_of_a_session_that_is_kept() {
    let counts = std::env::var("BOWLINE_EXPORTS").unwrap_or_else(|_unset| "10,100".to_owned());
    for exports in counts.split(',').map(|count| count.parse().expect("a number")) {
        let mut server = holding(exports);
        let mut bytes = Vec::new();
        let taken = median(|| {
            bytes = server.checkpoint(Value::Null).expect("nothing is being stored").bytes;
            server.not_stored();
        });
        // As the client counts: the same from the other side.
        let report = Report::Whole(server.session().ids().of_peer());
        let made = median(|| {
            let restored =
                Endpoint::recover(Some(&bytes), Limits::default(), LinkRules::default(), 0, report, |_, _| Ok(()));
            assert_eq!(restored.expect("it was taken just now").revived.targets.len(), exports + 1);
        });
        let each = bytes.len() as f64 / exports as f64;
        writeln!(
            std::io::stdout(),
            "{exports} exports: snapshot {taken:.1?}, restore {made:.1?}, {} bytes, {each:.0} for each",
            bytes.len()
        )
        .expect("there is an output");
    }
}
