#[bowline::interface]
unsafe trait TraitShape<'a> {
    type Item;
    const ID: u64;
}

#[bowline::interface]
struct NotATrait;

fn main() {}
