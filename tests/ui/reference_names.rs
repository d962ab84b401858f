#[bowline::interface]
trait ReferenceNames {
    async fn new(&self);
    async fn from_arc(&self);
    async fn clone(&self);
}

fn main() {}
