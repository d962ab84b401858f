//! Data that resembles a capability does not move any: whatever a peer writes, each reference keeps
//! its position.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bowline_core::id::TargetId;
use bowline_core::limits::Limits;
use bowline_core::session::{Delivery, Kind, Output, Path, Ref, Session, Snapshot};
use bowline_core::value::{PLACEHOLDER, Payload};

use super::app::{path, payload};

/// A session whose peer is the test.
struct End(Session);

impl End {
    fn new() -> Self {
        Self(Session::new(Limits::default(), true))
    }

    fn target(&mut self) -> TargetId {
        self.0.new_target(Kind::Object)
    }

    /// Handles a message and returns the deliveries that follow.
    fn hear(&mut self, message: &str) -> Vec<Delivery> {
        self.0.handle_message(message);
        self.deliveries()
    }

    fn deliveries(&mut self) -> Vec<Delivery> {
        let outputs = std::iter::from_fn(|| self.0.poll_output());
        let deliveries = outputs.filter_map(|output| match output {
            Output::Deliver(delivery) => Some(delivery),
            _ => None,
        });
        deliveries.collect()
    }

    fn says(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.poll_transmit()).collect()
    }

    /// Makes a call whose result is `text`, with the targets in place of the dollar signs.
    fn result(&mut self, text: &str, of: &[TargetId]) {
        let [delivery] = &self.hear(r#"["push",["pipeline",0,["items"],[]]]"#)[..] else { panic!("one call") };
        let refs: Vec<Ref> = of.iter().map(|&target| Ref::Target(target)).collect();
        self.0.settle(delivery.call, Ok(payload(text, &refs)));
        assert!(self.deliveries().is_empty());
    }

    /// Returns the object and the method to which a call is delivered.
    fn called(&mut self, message: &str) -> (TargetId, Path) {
        let [delivery] = &self.hear(message)[..] else { panic!("{:?}", self.0.closed()) };
        (delivery.target, delivery.path.clone())
    }

    /// Replaces the session by what its snapshot restores.
    fn restored(self) -> Self {
        let stored = serde_json::to_string(&self.0.snapshot().unwrap()).unwrap();
        let read: Snapshot = serde_json::from_str(&stored).unwrap();
        let restored = Session::restore(read, Limits::default()).unwrap();
        assert_eq!(restored, self.0);
        Self(restored)
    }
}

const FILES: &str = r#"[[{"name":"draft","tags":[["@"]],"file":$},{"name":"payroll","tags":[["[\"@\"]"]],"file":$},{"name":"taxes","tags":[[]],"file":$}]]"#;

#[test]
fn pipelined_call_reaches_its_target() {
    let mut end = End::new();
    let files = [end.target(), end.target(), end.target()];
    end.result(FILES, &files);
    for (n, file) in files.into_iter().enumerate() {
        let called = end.called(&format!(r#"["push",["pipeline",1,[{n},"file","remove"],[]]]"#));
        assert_eq!(called, (file, path("remove")));
    }
    let mut end = end.restored();
    let called = end.called(r#"["push",["pipeline",1,[2,"file","remove"],[]]]"#);
    assert_eq!(called, (files[2], path("remove")));
}

#[test]
fn answer_keeps_each_reference_in_its_position() {
    let mut end = End::new();
    let files = [end.target(), end.target(), end.target()];
    end.result(FILES, &files);
    end.hear(r#"["pull",1]"#);
    let [answer] = &end.says()[..] else { panic!("one answer") };
    let expected = r#"["resolve",1,[[{"name":"draft","tags":[["@"]],"file":["export",-1]},{"name":"payroll","tags":[["[\"@\"]"]],"file":["export",-2]},{"name":"taxes","tags":[[]],"file":["export",-3]}]]]"#;
    assert_eq!(answer, expected);
}

#[test]
fn full_and_limited_references_are_not_swapped() {
    for text in [
        r#"{"note":[["@"]],"full":$,"limited":$}"#,
        r#"{"note":[[["@"]]],"full":$,"limited":$}"#,
        r#"{"\u0040":[["\u0040"]],"full":$,"more":[["@","@"]],"limited":$}"#,
        r#"{"note":"\u001a","full":$,"\u001a":[["\u001a"]],"limited":$}"#,
        r#"{"note":[["\"@\""]],"full":$,"limited":$}"#,
        r#"{"note":["error","@","[\"@\"]",null,{"a":[["@"]]}],"full":$,"limited":$}"#,
        r#"{"note":["request","https://a/",{"cf":["@",["@"]]}],"full":$,"limited":$}"#,
        r#"{"note":["headers",[["a","@"]]],"full":$,"limited":$}"#,
    ] {
        let mut end = End::new();
        let (full, limited) = (end.target(), end.target());
        end.result(text, &[full, limited]);
        assert_eq!(end.called(r#"["push",["pipeline",1,["full","f"],[]]]"#).0, full, "{text}");
        assert_eq!(end.called(r#"["push",["pipeline",1,["limited","f"],[]]]"#).0, limited, "{text}");
        let read = end.hear(r#"["push",["pipeline",0,["g"],[["pipeline",1]]]]"#);
        let args = read[0].args.clone().unwrap();
        assert_eq!(args.refs(), [Ref::Target(full), Ref::Target(limited)], "{text}");
        assert_eq!(args.text().replace(PLACEHOLDER, "$"), format!("[{text}]"));
        // Each part of the value is mapped on its own.
        let message = r#"["push",["remap",1,[],[["import",0]],[["pipeline",-1,["h"],[["pipeline",0,["limited"]],["pipeline",0]]]]]]"#;
        let mapped = end.hear(message);
        let args = mapped[0].args.clone().unwrap();
        assert_eq!(args.refs(), [limited, full, limited].map(Ref::Target), "{text}");
    }
}

#[test]
fn elements_of_a_mapped_list_keep_their_references() {
    let mut end = End::new();
    let files = [end.target(), end.target(), end.target()];
    end.result(FILES, &files);
    let message = r#"["push",["remap",1,[],[],[["pipeline",0,["file","remove"],[]]]]]"#;
    let called: Vec<TargetId> = end.hear(message).iter().map(|delivery| delivery.target).collect();
    assert_eq!(called, files);
}

#[test]
fn promise_argument_is_replaced_by_data_resembling_a_capability() {
    let mut end = End::new();
    let files = [end.target(), end.target(), end.target()];
    let waits = end.hear(r#"["push",["pipeline",0,["items"],[]]]"#);
    end.hear(r#"["push",["pipeline",0,["use"],[[["@"]],["pipeline",1],["export",-1]]]]"#);
    let refs: Vec<Ref> = files.iter().map(|&target| Ref::Target(target)).collect();
    end.0.settle(waits[0].call, Ok(payload(FILES, &refs)));
    let [used] = &end.deliveries()[..] else { panic!("one call") };
    let args = used.args.as_ref().unwrap();
    assert_eq!(args.text().replace(PLACEHOLDER, "$"), format!(r#"[[["@"]],{FILES},$]"#));
    assert_eq!(args.refs()[..3], refs);
    assert!(matches!(args.refs()[3], Ref::Import(_)));
}

#[test]
fn raw_placeholder_in_a_message_is_refused() {
    for message in [
        "[\"push\",\u{1a}]",
        "[\"push\",[[\u{1a}]]]",
        "[\"push\",\"\u{1a}\"]",
        "[\"push\",{\"\u{1a}\":1}]",
        "[\"push\",{\u{1a}:1}]",
        "[\"push\",[\"pipeline\",0,[\"\u{1a}\"],[]]]",
        "[\"push\",[\"pipeline\",0,[\u{1a}],[]]]",
        "[\"push\",[\"pipeline\",0,[\"f\"],[\u{1a}]]]",
        "[\"push\",[\"pipeline\",\u{1a},[\"f\"],[1]]]",
        "[\"push\",[\"remap\",0,[],[],[\u{1a}]]]",
        "[\"push\",[\"remap\",0,[],[\u{1a}],[1]]]",
        "[\"push\",[\"error\",\"E\",\"m\",\u{1a}]]",
        "[\"push\",[\"request\",\"https://a/\",{\"cf\":\u{1a}}]]",
        "[\"push\",[\"headers\",[[\"a\",\"\u{1a}\"]]]]",
        "[\"push\",1,\u{1a}]",
        "[\"push\",1]\u{1a}",
        "\u{1a}[\"push\",1]",
        "[\u{1a}\"push\",1]",
        "\u{1a}",
        "[\"pull\",\u{1a}]",
        "[\"pull\",\u{1a}0]",
        "[\"release\",0,\u{1a}]",
        "[\"resolve\",0,\u{1a}]",
        "[\"stream\",\u{1a}]",
        "[\"abort\",\u{1a}]",
    ] {
        let mut end = End::new();
        assert!(end.hear(message).is_empty(), "{message:?}");
        assert!(end.0.closed().is_some(), "{message:?}");
    }
}

#[test]
fn raw_placeholder_in_plain_text_is_not_a_reference() {
    let mut end = End::new();
    let file = end.target();
    let waits = end.hear(r#"["push",["pipeline",0,["a"],[]]]"#);
    end.0.settle(waits[0].call, Ok(Payload::plain("[[\"\u{1a}\"]]")));
    end.result("$", &[file]);
    let read = end.hear(r#"["push",["pipeline",0,["use"],[["pipeline",1],["pipeline",2]]]]"#);
    let args = read[0].args.clone().unwrap();
    assert_eq!(args.text(), format!("[[[\"\\u001a\"]],{PLACEHOLDER}]"));
    assert_eq!(args.refs(), [Ref::Target(file)]);
}

#[test]
fn snapshot_with_mismatched_placeholders_is_refused() {
    let mut end = End::new();
    let files = [end.target(), end.target(), end.target()];
    end.result(FILES, &files);
    let stored = serde_json::to_string(&end.0.snapshot().unwrap()).unwrap();
    for (from, to) in [
        (r#"\"file\":\u001a"#, r#"\"file\":1"#),
        (r#"[[\"@\"]]"#, r#"[[\u001a]]"#),
        (r#"\"file\":\u001a"#, r#"\"file\":[[\u001a,\u001a]]"#),
    ] {
        let changed = stored.replacen(from, to, 1);
        assert_ne!(changed, stored, "{from}");
        let error = serde_json::from_str::<Snapshot>(&changed).unwrap_err().to_string();
        assert!(error.contains("placeholders for 3 capabilities"), "{error}");
    }
    // Two errors that cancel out: the byte is in a string, where no JSON text has one.
    let swapped = stored.replacen(r#"\"file\":\u001a"#, r#"\"file\":\"\u001a\""#, 1);
    let read: Snapshot = serde_json::from_str(&swapped).unwrap();
    assert!(Session::restore(read, Limits::default()).is_err());
}
