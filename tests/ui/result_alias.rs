#[bowline::interface]
trait ResultAlias {
    async fn read(&self) -> std::io::Result<String>;
}

fn main() {}
