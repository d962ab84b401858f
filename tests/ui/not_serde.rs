struct Plain;

#[derive(serde::Serialize, serde::Deserialize)]
struct Data;

#[bowline::interface]
trait NotSerde {
    async fn take(&self, plain: Plain);
    async fn give(&self) -> Plain;
    async fn fail(&self) -> Result<Data, Data>;
}

fn main() {}
