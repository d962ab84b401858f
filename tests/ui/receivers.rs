#[bowline::interface]
trait Receivers {
    async fn exclusive(&mut self);
    async fn consuming(self);
    async fn boxed(self: Box<Self>);
    async fn named<'a>(&'a self);
    async fn without(id: u64);
}

fn main() {}
