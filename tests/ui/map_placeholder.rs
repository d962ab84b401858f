// In a mapped function there are no values yet, only what stands for them.
#[bowline::interface]
pub trait Api {
    async fn friends(&self) -> Vec<u64>;
    async fn name(&self, id: u64) -> String;
}

async fn misuses(api: ApiRef) {
    let _ = api.friends().map_each(|id| if id > 3 { api.name(id) } else { api.name(0) });
    let _ = api.friends().map_each(|id| api.name(format!("{id}").len() as u64));
    let _ = api.friends().map_each(|id| api.name(id).await);
    let _ = api.friends().map_each(async |id| api.name(id).await);
    let _ = api.friends().map_each(|_| 3);
}

fn main() {}
