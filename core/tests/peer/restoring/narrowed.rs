//! Narrowed and revocable references after a recovery.

use super::*;
use bowline_core::generated::TypedCalls;

#[tokio::test]
async fn narrowed_reference_is_restored_equally_narrow() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let narrow = |of: i64, names: &str| format!(r#"["pipeline",0,["narrow"],[["import",{of}],[{names}]]]"#);
    assert_eq!(first.ask(2, &narrow(-1, r#"["owner","other"]"#)).await, r#"["resolve",2,["export",-2]]"#);
    assert_eq!(first.ask(3, &narrow(-2, r#"["parent","owner"]"#)).await, r#"["resolve",3,["export",-3]]"#);
    assert_eq!(first.ask(4, &narrow(-2, r#"["parent"]"#)).await, r#"["resolve",4,["export",-4]]"#);
    let mut kept = first.keep().await;
    drop(first);

    for life in 0..3 {
        // The object itself is held in the first process only.
        let hold: &[i64] = if life == 0 { &[-1, -2, -3, -4] } else { &[-2, -3, -4] };
        let (mut next, revived) = Life::next(&world, options(&world), &kept, hold, &[]);
        assert!([-2, -3, -4].iter().all(|id| revived.restored.contains(id)), "{revived:?}");
        let at = 5 + 6 * life;
        for (id, of) in [(at, -2), (at + 1, -3)] {
            let owner = next.ask(id, &format!(r#"["pipeline",{of},["owner"],[]]"#)).await;
            assert_eq!(owner, format!(r#"["resolve",{id},"ann"]"#));
        }
        for (id, of, name) in
            [(at + 2, -2, "parent"), (at + 3, -3, "other"), (at + 4, -4, "owner"), (at + 5, -4, "parent")]
        {
            let refused = next.ask(id, &format!(r#"["pipeline",{of},["{name}"],[]]"#)).await;
            assert!(refused.contains(&format!("'{name}' is not a function.")), "{refused}");
        }
        kept = next.keep().await;
    }

    // Withdrawn permissions are withdrawn for the narrowed reference as well.
    world.policy.withdrawn.lock().unwrap().insert("ann".to_owned());
    let (mut next, _) = Life::next(&world, options(&world), &kept, &[-2, -3, -4], &[]);
    let refused = next.ask(23, r#"["pipeline",-3,["owner"],[]]"#).await;
    assert!(refused.ends_with(r#"null,{"code":"PERMISSION_DENIED"}]]"#), "{refused}");
}

#[tokio::test]
async fn unrestored_reference_can_be_narrowed() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let kept = first.keep().await;
    drop(first);
    let (mut next, _) = Life::next(&world, options(&world), &kept, &[-1], &[]);
    let narrow = r#"["pipeline",0,["narrow"],[["import",-1],[["owner"]]]]"#;
    assert_eq!(next.ask(2, narrow).await, r#"["resolve",2,["export",-2]]"#);
    let kept = next.keep().await;
    drop(next);
    let (mut third, revived) = Life::next(&world, options(&world), &kept, &[-2], &[]);
    assert!(revived.restored.contains(&-2), "{revived:?}");
    assert_eq!(third.ask(3, r#"["pipeline",-2,["owner"],[]]"#).await, r#"["resolve",3,"ann"]"#);
    let refused = third.ask(4, r#"["pipeline",-2,["parent"],[]]"#).await;
    assert!(refused.contains("'parent' is not a function."), "{refused}");
}

#[tokio::test]
async fn narrowed_reference_can_be_stored_in_a_variable() {
    let world = Arc::new(World::default());
    let account = Account::reference("ann", None);
    world.vars.set("mine", &account.only(["owner", "parent"]).only(["owner"])).unwrap();
    assert!(world.vars.set("revocable", &account.revocable().0).is_err());
    assert!(world.vars.set("both", &account.revocable().0.only(["owner"])).is_err());
    assert!(world.vars.set("plain", &Stub::new(Root(Arc::clone(&world))).only(["account"])).is_err());
    let again = Vars::restored(world.vars.stored(), &all_of(&world), &ctx("ann")).unwrap();
    let mine = again.get::<Stub>("mine").unwrap().unwrap();
    assert_eq!(mine.call_typed::<String, Never>("owner", &()).await.unwrap(), "ann");
    assert!(mine.call("parent", ()).await.is_err());

    world.policy.withdrawn.lock().unwrap().insert("ann".to_owned());
    let refused = Vars::restored(world.vars.stored(), &all_of(&world), &ctx("ann")).unwrap();
    let error = refused.get::<Stub>("mine").unwrap().unwrap().call("owner", ()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::PermissionDenied));
}

#[tokio::test]
async fn revocable_reference_is_lost_with_its_process() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let revocable = r#"["pipeline",0,["revocable"],[["import",-1]]]"#;
    assert_eq!(first.ask(2, revocable).await, r#"["resolve",2,["export",-2]]"#);
    let kept = first.keep().await;
    drop(first);
    let (_, revived) = Life::next(&world, options(&world), &kept, &[-1, -2], &[]);
    assert!(revived.lost.contains(&(-2, ErrorCode::CapabilityLost)), "{revived:?}");
}

#[test]
#[should_panic(expected = "a restorer cannot be named `bowline.only`")]
fn restorer_of_narrowed_references_cannot_be_replaced() {
    let forged = Restorer::new("bowline.only", 1, |_, _: Value| async { Err::<Stub, _>("".into()) });
    let _ = Restorers::new().with(forged);
}
