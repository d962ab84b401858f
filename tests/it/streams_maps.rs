//! `map_each`, readers, and writers through generated references.

use bowline::testing::pair;
use bowline::{Reader, Thrown, Writer};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, bowline::Pipeline)]
struct Profile {
    name: String,
    friends: Vec<u64>,
}

#[bowline::interface]
trait Api {
    async fn friends(&self) -> Vec<u64>;
    async fn profile(&self, id: u64) -> Profile;
    async fn count(&self, to: u32) -> Reader<u32>;
    async fn sum(&self, numbers: Reader<u32>) -> Result<u32, Thrown>;
    async fn write(&self, to: Writer<u32>) -> Result<(), Thrown>;
}

struct Server;

impl Api for Server {
    async fn friends(&self) -> Vec<u64> {
        vec![1, 2]
    }

    async fn profile(&self, id: u64) -> Profile {
        Profile { name: format!("user {id}"), friends: vec![id + 1] }
    }

    async fn count(&self, to: u32) -> Reader<u32> {
        let (mut writer, reader) = bowline::stream::channel(8);
        tokio::spawn(async move {
            for n in 0..to {
                writer.write(n).await?;
            }
            writer.close().await
        });
        reader
    }

    async fn sum(&self, mut numbers: Reader<u32>) -> Result<u32, Thrown> {
        let mut sum = 0;
        while let Some(n) = numbers.next().await {
            sum += n?;
        }
        Ok(sum)
    }

    async fn write(&self, mut to: Writer<u32>) -> Result<(), Thrown> {
        to.write(7).await?;
        Ok(to.close().await?)
    }
}

#[tokio::test]
async fn nested_maps_take_one_round_trip() -> Result<(), Box<dyn std::error::Error>> {
    let pair = pair(None, Some(bowline::Reference::stub(&ApiRef::new(Server)).clone()));
    let api: ApiRef = pair.left.root();
    let names: Vec<String> = api.friends().map_each(|id| api.profile(id).name()).await?;
    assert_eq!(names, ["user 1", "user 2"]);
    pair.wire.take_log();
    let names = api.friends().map_each(|id| api.profile(id).friends().map_each(|id| api.profile(id).name())).await?;
    assert_eq!(names, [["user 2"], ["user 3"]]);
    assert_eq!(pair.wire.round_trips(), 1);
    Ok(())
}

#[tokio::test]
async fn streams_work_in_signatures() -> Result<(), Box<dyn std::error::Error>> {
    let pair = pair(None, Some(bowline::Reference::stub(&ApiRef::new(Server)).clone()));
    let api: ApiRef = pair.left.root();
    let numbers = api.count(10).await?;
    assert_eq!(api.sum(numbers).await?, 45);
    let (writer, mut reader) = bowline::stream::channel(1);
    let (written, read) = tokio::join!(async { api.write(writer).await }, reader.next());
    written?;
    assert_eq!(read.transpose()?, Some(7));
    Ok(())
}
