//! Every message that a server sends is numbered: a client that resumes with its own count receives no
//! message twice and misses none.

use std::sync::Arc;

use bowline_core::link::Frame;
use bowline_core::peer::stream::{Reader, channel};
use bowline_core::peer::{Args, Lifetime, Member, MemberKind, Never, Object, Repeat, Reply, Stub, reply};
use bowline_server::Service;

use crate::harness::{serve, within};
use crate::link::Linked;

/// `add(a, b)`; `fan(f)` calls `f` five times at once; `flow()` returns a stream; `drain(stream)` reads
/// one; `both(stream)` reads one and returns another with twice its numbers.
struct Paths;

impl Object for Paths {
    fn interface(&self) -> &'static str {
        "Paths"
    }

    fn members(&self) -> &'static [Member] {
        const fn method(name: &'static str) -> Member {
            Member { name, kind: MemberKind::Method, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session }
        }
        const MEMBERS: &[Member] = &[method("add"), method("fan"), method("flow"), method("drain"), method("both")];
        MEMBERS
    }

    fn call(self: Arc<Self>, method: &str, args: Args) -> Option<Reply> {
        Some(match method {
            "add" => Box::pin(async { reply(args.decode::<(i64, i64)>().map(|(a, b)| a + b)) }),
            "fan" => Box::pin(async {
                let (told,) = args.decode::<(Stub,)>().unwrap();
                let calls: Vec<_> = (0..5).map(|n| told.call("", (n,)).into_future()).collect();
                let mut sum = 0;
                for call in calls {
                    sum += i64::from(call.await.is_ok());
                }
                reply::<_, Never>(Ok(sum))
            }),
            "flow" => Box::pin(async {
                let (mut writer, reader) = channel::<u32>(4);
                tokio::spawn(async move {
                    for n in 0..5 {
                        writer.write(&n).await.unwrap();
                    }
                    writer.close().await.unwrap();
                });
                reply::<_, Never>(Ok(reader))
            }),
            "drain" => Box::pin(async {
                let (mut reader,) = args.decode::<(Reader<u32>,)>().unwrap();
                let mut sum = 0;
                while let Some(chunk) = reader.next().await {
                    sum += chunk.unwrap();
                }
                reply::<_, Never>(Ok(sum))
            }),
            "both" => Box::pin(async {
                let (mut reader,) = args.decode::<(Reader<u32>,)>().unwrap();
                let (mut writer, answer) = channel::<u32>(4);
                tokio::spawn(async move {
                    while let Some(chunk) = reader.next().await {
                        writer.write(&(chunk.unwrap() * 2)).await.unwrap();
                    }
                    writer.close().await.unwrap();
                });
                reply::<_, Never>(Ok(answer))
            }),
            _ => return None,
        })
    }

    fn get(self: Arc<Self>, _property: &str) -> Option<Reply> {
        None
    }
}

/// What the client sends, and how many messages the server sends in return, if its calls and stream
/// chunks are answered at once.
const PATHS: [(&str, &[&str], u64); 5] = [
    ("calls", &[r#"["push",["pipeline",0,["add"],[1,2]]]"#, r#"["pull",1]"#], 1),
    (
        "callbacks, and several messages in reply to one",
        &[r#"["push",["pipeline",0,["fan"],[["export",-1]]]]"#, r#"["pull",1]"#],
        17,
    ),
    ("a stream to the client", &[r#"["push",["pipeline",0,["flow"],[]]]"#, r#"["pull",1]"#], 9),
    (
        "a stream to the server",
        &[
            r#"["pipe"]"#,
            r#"["push",["pipeline",0,["drain"],[["readable",1]]]]"#,
            r#"["pull",2]"#,
            r#"["stream",["pipeline",1,["write"],[3]]]"#,
            r#"["stream",["pipeline",1,["write"],[4]]]"#,
            r#"["stream",["pipeline",1,["close"],[]]]"#,
        ],
        4,
    ),
    (
        "both at once",
        &[
            r#"["pipe"]"#,
            r#"["push",["pipeline",0,["both"],[["readable",1]]]]"#,
            r#"["pull",2]"#,
            r#"["stream",["pipeline",1,["write"],[3]]]"#,
            r#"["stream",["pipeline",1,["close"],[]]]"#,
        ],
        7,
    ),
];

#[tokio::test]
async fn messages_of_every_send_path_are_numbered() {
    let address = serve(Service::new(|_peer| Stub::new(Paths))).await;
    for (path, says, comes) in PATHS {
        let (mut first, welcome) = Linked::hello_as(address, path).await;
        for text in says {
            first.socket.send(text).await;
        }
        let mut counts = Counts { sent: says.len() as u64, came: 0, calls: 0 };
        within(counts.converse(&mut first, comes)).await;
        // Checks that no further message arrives before the pong.
        first.socket.send(r#"{"type":"session.ping","nonce":"last"}"#).await;
        loop {
            let text = first.socket.next().await;
            match Frame::read(&text) {
                Ok(Some(Frame::Pong { last_processed_seq, .. })) => break assert_eq!(last_processed_seq, counts.sent),
                Ok(Some(_)) => {}
                _ => counts.came += 1,
            }
        }
        drop(first);
        let (token, key) = (&welcome.resume_token, &welcome.resume_key);
        let (_second, resumed) = Linked::resume(address, token, key, counts.came).await;
        let resumed = resumed.unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
        assert_eq!((resumed.last_event_seq, resumed.replay_count), (counts.sent, 0), "{path}");
        let (_third, lie) = Linked::resume(address, &resumed.resume_token, &resumed.resume_key, counts.came + 1).await;
        assert_eq!(lie.unwrap_err().code.as_str(), "RESUME_GAP", "{path}: the server never sent that many messages");
    }
}

/// What the client has sent and received.
struct Counts {
    sent: u64,
    came: u64,
    /// Calls and stream chunks of the server, each of which gets the next id.
    calls: u64,
}

impl Counts {
    /// Answers every pull and chunk until `comes` messages have arrived.
    async fn converse(&mut self, linked: &mut Linked, comes: u64) {
        while self.came < comes {
            let text = linked.message().await;
            self.came += 1;
            if text.starts_with(r#"["push""#) || text.starts_with(r#"["pipe""#) {
                self.calls += 1;
            }
            let answer = if text.starts_with(r#"["stream""#) {
                self.calls += 1;
                Some(self.calls)
            } else {
                text.strip_prefix(r#"["pull","#).and_then(|rest| rest.strip_suffix(']')?.parse().ok())
            };
            if let Some(id) = answer {
                linked.socket.send(&format!(r#"["resolve",{id},["undefined"]]"#)).await;
                self.sent += 1;
            }
        }
    }
}
