#[bowline::interface]
trait Rest {
    async fn first(&self, #[rpc(rest)] values: Vec<u64>, last: u64);
    async fn not_a_list(&self, #[rpc(rest)] values: u64);
}

fn main() {}
