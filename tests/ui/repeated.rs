#[bowline::interface]
trait Repeated {
    #[rpc(idempotent, recorded)]
    async fn both(&self);
    #[rpc(idempotent, idempotent)]
    async fn twice(&self);
    #[rpc(get, idempotent)]
    async fn version(&self) -> String;
    #[rpc(get, recorded)]
    async fn name(&self) -> String;
    async fn durable(&self);
}

fn main() {}
