#[bowline::interface]
trait SignatureTypes {
    async fn opaque(&self, name: impl Into<String>);
    async fn borrowed(&self, name: &str);
    async fn itself(&self) -> Self;
    async fn anonymous(&self, _: u64);
    async fn pattern(&self, (a, b): (u64, u64));
    async fn attributed(&self, #[allow(unused)] a: u64);
}

fn main() {}
