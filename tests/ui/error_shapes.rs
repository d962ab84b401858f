use bowline::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
enum ApiError {
    #[error("{0}")]
    Unnamed(String),
    #[error("{message}")]
    Message { message: String },
    #[error("constructor")]
    Inherited { constructor: u64 },
    #[error("two")]
    Two {
        #[rpc(name = "id")]
        a: u64,
        id: u64,
    },
    #[error("first")]
    First,
    #[error("second")]
    #[rpc(name = "First")]
    Second,
    #[error("get")]
    #[rpc(get)]
    Get,
}

#[derive(RpcError)]
union Bits {
    a: u64,
}

fn main() {}
