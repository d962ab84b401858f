#[bowline::interface(strict)]
#[rpc(name = "other")]
trait Options {
    #[rpc(cached)]
    async fn profile(&self, id: u64);
    #[rpc(name = "a", name = "b")]
    async fn twice(&self);
    #[rpc(get)]
    async fn version(&self, of: String) -> String;
    async fn argument(&self, #[rpc(get)] value: u64);
    #[rpc(get, detached)]
    async fn size(&self) -> u64;
}

fn main() {}
