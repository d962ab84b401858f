struct Pool;

#[bowline::durable(restorer = "a", version = 1)]
struct Account {
    number: u64,
    pool: Pool,
}

#[bowline::interface]
trait Ledger {
    async fn owner(&self) -> String;
}

struct Plain;

impl Ledger for Plain {
    async fn owner(&self) -> String {
        String::new()
    }
}

fn main() {
    let _ = LedgerRef::durable(Plain);
}
