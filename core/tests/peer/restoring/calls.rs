//! Unanswered calls after a recovery: repeated, answered from the log, or of unknown outcome.

use super::*;

#[tokio::test]
async fn idempotent_call_is_repeated_and_others_have_unknown_outcome() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    for name in ["slowAgain", "slow"] {
        first.say(&format!(r#"["push",["pipeline",0,["{name}"],[]]]"#)).await;
    }
    first.say(r#"["pull",1]"#).await;
    first.say(r#"["pull",2]"#).await;
    let kept = first.keep().await;
    drop(first);
    world.ends.store(1, Ordering::SeqCst);

    let (mut next, revived) = Life::next(&world, options(&world), &kept, &[1, 2], &[1, 2]);
    assert_eq!(revived.unknown, [2]);
    let mut answers = [next.hear().await, next.hear().await];
    answers.sort();
    assert!(answers[0].ends_with(r#"{"code":"CALL_OUTCOME_UNKNOWN"}]]"#), "{answers:?}");
    assert_eq!(answers[1], r#"["resolve",1,"done"]"#);
    assert_eq!(*world.ran.lock().unwrap(), ["slowAgain s_1/1", "slow s_1/2", "slowAgain s_1/1"]);
}

#[tokio::test]
async fn idempotent_call_that_waits_for_its_object_runs_in_the_next_process() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let kept = first.keep().await;
    drop(first);

    // This process ends before it has restored the object.
    let never = Restorer::new("account", 2, |_, _: Value| async { std::future::pending::<Result<Stub, _>>().await });
    let unrestored = options_with(&world, Restorers::new().with(never));
    let (mut second, _) = Life::next(&world, unrestored, &kept, &[-1], &[]);
    for (id, name) in [(2, "owner"), (3, "parent")] {
        second.say(&format!(r#"["push",["pipeline",-1,["{name}"],[]]]"#)).await;
        second.say(&format!(r#"["pull",{id}]"#)).await;
    }
    let kept = second.keep().await;
    drop(second);

    let (mut third, revived) = Life::next(&world, options(&world), &kept, &[-1, 2, 3], &[2, 3]);
    assert!(revived.unknown.is_empty(), "{revived:?}");
    assert_eq!(third.hear().await, r#"["resolve",2,"ann"]"#);
    let answer = third.hear().await;
    assert!(answer.ends_with(r#"{"code":"CALL_OUTCOME_UNKNOWN"}]]"#), "{answer}");
}

/// Its method blocks the caller's thread twice, and then waits.
struct Blocking(Arc<std::sync::Barrier>);

impl Object for Blocking {
    fn interface(&self) -> &'static str {
        "Blocking"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[repeatable("slowAgain", Repeat::Idempotent)];
        MEMBERS
    }

    fn call(self: Arc<Self>, _: &str, _: Args) -> Option<Reply> {
        self.0.wait();
        self.0.wait();
        later(std::future::pending::<Result<(), Never>>())
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_waits_until_calls_that_were_handed_out_have_begun() {
    let world = Arc::new(World::default());
    let barrier = Arc::new(std::sync::Barrier::new(2));
    let (client, server) = wire();
    let main = Some(Stub::new(Blocking(Arc::clone(&barrier))));
    let (server, driver) = Connection::start(server, main, options(&world));
    tokio::spawn(driver);
    let (mut sender, receiver) = client.split();
    for text in [r#"["push",["pipeline",0,["slowAgain"],[]]]"#, r#"["pull",1]"#] {
        sender.feed(text.to_owned()).await.unwrap();
    }
    let waits = async |barrier: &Arc<std::sync::Barrier>| {
        let barrier = Arc::clone(barrier);
        tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
    };
    waits(&barrier).await;
    let mut keeping = Box::pin(server.inspect(snapshot));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(keeping.as_mut().poll(&mut cx).is_pending());
    waits(&barrier).await;
    let kept = tokio::time::timeout(Duration::from_secs(10), &mut keeping).await.unwrap();
    drop(keeping);
    drop((server, sender, receiver));

    world.ends.store(1, Ordering::SeqCst);
    let (mut next, revived) = Life::next(&world, options(&world), &kept, &[1], &[1]);
    assert!(revived.unknown.is_empty(), "{revived:?}");
    assert_eq!(next.hear().await, r#"["resolve",1,"done"]"#);
}

#[tokio::test]
async fn recorded_call_is_answered_from_the_log() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    let kept = first.keep().await;
    assert_eq!(first.ask(1, r#"["pipeline",0,["count"],[]]"#).await, r#"["resolve",1,1]"#);
    drop(first);

    // The client has not received the answer, and retransmits the call.
    let (mut next, _) = Life::next(&world, options(&world), &kept, &[], &[]);
    assert_eq!(next.ask(1, r#"["pipeline",0,["count"],[]]"#).await, r#"["resolve",1,1]"#);
    assert_eq!(world.ran.lock().unwrap().len(), 1);
    assert_eq!(next.ask(2, r#"["pipeline",0,["count"],[]]"#).await, r#"["resolve",2,2]"#);

    // This call began, and its outcome is unknown.
    world.log.lock().unwrap().insert(3, None);
    let answer = next.ask(3, r#"["pipeline",0,["count"],[]]"#).await;
    assert!(answer.ends_with(r#"{"code":"CALL_OUTCOME_UNKNOWN"}]]"#), "{answer}");
    assert_eq!(world.ran.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn interrupted_recorded_call_is_looked_up_and_never_repeated() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    for id in [1, 2] {
        first.say(r#"["push",["pipeline",0,["slowCount"],[]]]"#).await;
        first.say(&format!(r#"["pull",{id}]"#)).await;
    }
    let kept = first.keep().await;
    drop(first);
    // The call returned after the checkpoint.
    world.log.lock().unwrap().insert(2, Some("+\"done\"".to_owned()));
    let (mut next, _) = Life::next(&world, options(&world), &kept, &[1, 2], &[1, 2]);
    let mut answers = [next.hear().await, next.hear().await];
    answers.sort();
    assert!(answers[0].ends_with(r#"{"code":"CALL_OUTCOME_UNKNOWN"}]]"#), "{answers:?}");
    assert_eq!(answers[1], r#"["resolve",2,"done"]"#);
    assert_eq!(world.ran.lock().unwrap().len(), 2, "once each, in the first process");
}
