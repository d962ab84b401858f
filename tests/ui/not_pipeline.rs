#[derive(serde::Serialize, serde::Deserialize)]
struct Profile {
    boss: u64,
}

#[bowline::interface]
trait Directory {
    async fn profile(&self, id: u64) -> Profile;
}

fn needs<T: bowline::Pipeline>(_: bowline::Promise<T>) {}

fn boss(directory: DirectoryRef) {
    let _ = directory.profile(7).boss();
    needs(directory.profile(7));
}

fn main() {}
