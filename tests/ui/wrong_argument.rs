#[bowline::interface]
trait Directory {
    async fn find(&self, id: u64) -> String;
}

fn wrong(directory: DirectoryRef) {
    let _ = directory.find("seven");
    let id: i32 = 7;
    let _ = directory.find(id);
    let name = directory.find(7);
    let _ = directory.find(name);
}

fn main() {}
