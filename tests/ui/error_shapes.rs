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
    #[rpc(code = "First")]
    Second,
    #[error("{code}")]
    Code { code: u16 },
    #[error("get")]
    #[rpc(get)]
    Get,
}

// Uses of a type that was refused are no further errors.
#[bowline::interface]
pub trait Api {
    async fn first(&self) -> Result<u64, ApiError>;
}

#[derive(RpcError)]
union Bits {
    a: u64,
}

fn main() {}
