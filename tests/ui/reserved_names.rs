#[bowline::interface]
trait ReservedNames {
    async fn then(&self);
    async fn catch(&self);
    async fn finally(&self);
    async fn dup(&self);
    async fn map(&self);
    async fn on_rpc_broken(&self);
    async fn constructor(&self);
    async fn to_string(&self);
    async fn to_locale_string(&self);
    async fn value_of(&self);
    async fn has_own_property(&self);
    async fn is_prototype_of(&self);
    async fn to_json(&self);
    #[rpc(name = "__proto__")]
    async fn prototype(&self);
    #[rpc(name = "")]
    async fn nameless(&self);
}

fn main() {}
