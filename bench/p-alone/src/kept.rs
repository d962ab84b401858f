//! The cost of storing a session for another process, and of recovering it there.

use std::time::Instant;

use bowline_core::endpoint::{Attach, Endpoint};
use bowline_core::limits::Limits;
use bowline_core::link::{Features, LinkRules, Role};
use bowline_core::session::{Path, Kind, Outgoing, Output, Recipe, Ref, Report};
use bowline_core::time::Time;
use bowline_core::value::Payload;
use common::Out;
use serde_json::Value;

use crate::median;

pub fn measure(out: &Out) {
    for exports in [10, 1_000, 10_000] {
        let mut server = holding(exports);
        let mut bytes = Vec::new();
        let snapshot = (0..21).map(|_| {
            let began = Instant::now();
            bytes = server.checkpoint(Value::Null).expect("nothing is being stored").bytes;
            server.not_stored();
            began.elapsed()
        });
        let snapshot = median(snapshot.collect());
        let report = Report::Whole(server.session().ids().of_peer());
        let restore = (0..21).map(|_| {
            let began = Instant::now();
            let restored =
                Endpoint::recover(Some(&bytes), Limits::default(), LinkRules::default(), 0, report.clone(), |_, _| {
                    Ok(())
                });
            let time = began.elapsed();
            assert_eq!(restored.expect("it was taken just now").revived.targets.len(), exports + 1);
            time
        });
        let restore = median(restore.collect());
        let fields = [
            ("snapshot_us", snapshot.as_secs_f64() * 1e6),
            ("restore_us", restore.as_secs_f64() * 1e6),
            ("bytes_each", bytes.len() as f64 / exports as f64),
        ];
        out.line(&format!("kept-{exports}"), &fields);
    }
}

/// Returns a session whose client holds the given number of durable objects.
fn holding(exports: usize) -> Endpoint {
    let mut server = Endpoint::linked(Limits::default(), true, Role::Server, LinkRules::default());
    server.keep_checkpoints();
    let at = server.attach(Time::default(), Features::ALL, Attach::New).expect("it is new").attachment;
    for number in 1..=exports {
        for text in [r#"["push",["pipeline",0,["open"],[]]]"#.to_owned(), format!(r#"["pull",{number}]"#)] {
            server.handle_text(at, Time::default(), &text);
        }
        while let Some(output) = server.session_mut().poll_output() {
            let Output::Deliver(delivery) = output else { continue };
            let target = server.session_mut().new_target(Kind::Object);
            let params = Payload::plain(format!("{{\"id\":{number},\"name\":\"object-{number}\"}}"));
            server.session_mut().set_recipe(target, Recipe { restorer: "object".to_owned(), version: 1, params });
            let made = Payload::capability(Outgoing { of: Ref::Target(target), path: Path::new() });
            server.session_mut().settle(delivery.call, Ok(made));
        }
        server.handle_text(at, Time::default(), &format!(r#"["release",{number},1]"#));
        assert!(std::iter::from_fn(|| server.poll_transmit(at)).count() > 0);
        let ack = format!(r#"{{"type":"session.ack","last_processed_seq":{number}}}"#);
        server.handle_text(at, Time::default(), &ack);
    }
    assert_eq!(server.session().stats().exports, exports + 1);
    server
}
