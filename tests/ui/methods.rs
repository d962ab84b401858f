#[bowline::interface]
trait Methods {
    fn blocking(&self) -> u64;
    async fn generic<T>(&self, value: T);
    async fn conditional(&self)
    where
        Self: Sized;
    async unsafe fn dangerous(&self);
}

fn main() {}
