#[bowline::durable]
struct Nothing;

#[bowline::durable(restorer = "a", version = 1, eager)]
struct Unknown;

#[bowline::durable(restorer = "a", restorer = "b", version = 1)]
struct Twice;

#[bowline::durable(restorer = "", version = -1)]
struct Empty;

#[bowline::durable(restorer = "a", version = 1)]
struct Unnamed(u64);

#[bowline::durable(restorer = "a", version = 1)]
enum Choice {
    One,
}

#[bowline::durable(restorer = "a", version = 1)]
struct Generic<T> {
    value: T,
}

#[bowline::durable(restorer = "a", version = 1)]
struct Options {
    #[durable(keep)]
    kept: u64,
    #[durable(skip, skip)]
    skipped: u64,
}

fn main() {}
