//! Procedural macros of Bowline. Use them through the `bowline` package.
mod attributes;
mod dispatch;
mod error;
mod faults;
mod generics;
mod interface;
mod model;
mod names;
mod parse;
mod pipeline;
mod reference;
mod signature;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemTrait, parse_macro_input};

/// Interface.
#[proc_macro_attribute]
pub fn interface(options: TokenStream, item: TokenStream) -> TokenStream {
    let _ = options;
    let item = parse_macro_input!(item as ItemTrait);
    parse::interface(item)
        .map_or_else(syn::Error::into_compile_error, |model| {
            interface::render(&model)
        })
        .into()
}

/// Pipeline.
#[proc_macro_derive(Pipeline, attributes(rpc, serde))]
pub fn derive_pipeline(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    pipeline::derive(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Error.
#[proc_macro_derive(RpcError, attributes(rpc, serde))]
pub fn derive_rpc_error(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    error::derive(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
