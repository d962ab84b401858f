#[bowline::interface]
trait SameWireName {
    async fn get_user(&self);
    #[rpc(name = "getUser")]
    async fn find_user(&self);
    #[rpc(get, name = "find")]
    async fn finder(&self) -> u64;
    async fn find(&self) -> u64;
}

fn main() {}
