use std::rc::Rc;

#[bowline::interface]
trait Counter {
    async fn increment(&self) -> u64;
}

struct Local;

impl Counter for Local {
    async fn increment(&self) -> u64 {
        let shared = Rc::new(1);
        std::future::ready(()).await;
        *shared
    }
}

fn main() {}
