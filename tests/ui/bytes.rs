#[bowline::interface]
trait Files {
    async fn write(&self, data: Vec<u8>);
    async fn write_boxed(&self, data: Box<[u8]>);
    async fn read(&self) -> Result<Option<std::vec::Vec<u8>>, bowline::error::Never>;
    // Numbers, one argument each.
    async fn sum(&self, #[rpc(rest)] numbers: Vec<u8>) -> u64;
}

fn main() {}
