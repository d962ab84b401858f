//! When restored objects are dropped.

use super::*;

/// Tells whether it has been dropped.
struct Tracked(Arc<()>);

impl Object for Tracked {
    fn interface(&self) -> &'static str {
        "Tracked"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[method("count")];
        MEMBERS
    }

    fn call(self: Arc<Self>, _: &str, _: Args) -> Option<Reply> {
        now(Arc::strong_count(&self.0))
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

async fn until_dropped(token: &Arc<()>) {
    let dropped = async {
        while Arc::strong_count(token) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), dropped).await.expect("the object is dropped");
}

#[tokio::test]
async fn restored_object_is_dropped_when_released() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    first.ask(2, ACCOUNT).await;
    let kept = first.keep().await;
    drop(first);
    let token = Arc::new(());
    for eager in [false, true] {
        let tracked = Arc::downgrade(&token);
        let restorer = Restorer::new("account", 2, move |_, _: serde_json::Value| {
            let tracked = Tracked(tracked.upgrade().unwrap());
            async move { Ok(Stub::durable(tracked, Recipe::new("account", 2, &()))) }
        });
        let restorer = if eager { restorer.eager() } else { restorer };
        let options = options_with(&world, Restorers::new().with(restorer));
        let (mut next, _) = Life::next(&world, options, &kept, &[-1, -2], &[]);
        let answer = next.ask(3, r#"["pipeline",-1,["count"],[]]"#).await;
        assert!(answer.starts_with(r#"["resolve",3,"#), "{answer}");
        next.say(r#"["release",-1,1]"#).await;
        next.ask(4, r#"["pipeline",-2,["count"],[]]"#).await;
        next.say(r#"["release",-2,1]"#).await;
        until_dropped(&token).await;
        drop(next);
    }
}

#[tokio::test]
async fn call_on_a_restored_object_released_at_once_is_answered() {
    let world = Arc::new(World::default());
    let mut first = Life::first(&world);
    first.ask(1, ACCOUNT).await;
    let kept = first.keep().await;
    drop(first);
    let (mut next, _) = Life::next(&world, options(&world), &kept, &[-1], &[]);
    next.say(r#"["push",["pipeline",-1,["owner"],[]]]"#).await;
    next.say(r#"["pull",2]"#).await;
    next.say(r#"["release",-1,1]"#).await;
    assert_eq!(next.hear().await, r#"["resolve",2,"ann"]"#);
}
