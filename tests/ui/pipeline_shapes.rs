use bowline::Pipeline;

#[derive(Pipeline)]
enum Shape {
    Round { radius: f64 },
}

#[derive(Pipeline)]
struct Pair(u64, u64);

#[derive(Pipeline)]
struct Unit;

#[derive(Pipeline)]
struct Borrowed<'a> {
    name: &'a str,
}

#[derive(serde::Serialize, Pipeline)]
#[serde(transparent)]
struct Transparent {
    id: u64,
}

#[derive(serde::Serialize, Pipeline)]
struct Parts {
    #[serde(flatten)]
    more: std::collections::BTreeMap<String, u64>,
    #[serde(serialize_with = "as_text")]
    id: u64,
    #[rpc(name = "other")]
    renamed: u64,
}

fn as_text<S: serde::Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn main() {}
