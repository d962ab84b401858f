//! Renders an interface: the trait itself, and everything that is generated from it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use crate::model::{Interface, Member};
use crate::{described, dispatch, reference};

/// Renders the expansion of `#[bowline::interface]`.
pub(crate) fn render(interface: &Interface) -> TokenStream {
    let item = render_trait(interface);
    let reference = reference::render(interface);
    let dispatch = dispatch::render(interface);
    let described = interface.typescript.then(|| described::render(interface));
    quote!(#item #reference #dispatch #described)
}

fn render_trait(interface: &Interface) -> TokenStream {
    let Interface { attrs, vis, name, generics, supertraits, members, .. } = interface;
    let parameters = &generics.params;
    let parameters = (!parameters.is_empty()).then(|| quote!(<#parameters>));
    let condition = &generics.where_clause;
    let supertraits = supertraits.iter();
    let methods = members.iter().map(render_method);
    quote! {
        #(#attrs)*
        #vis trait #name #parameters: #(#supertraits +)* ::core::marker::Send + ::core::marker::Sync + 'static
        #condition
        {
            #(#methods)*
        }
    }
}

/// Renders a method as a function that returns `impl Future + Send`: an `async fn` in a trait
/// cannot require its future to be `Send`.
fn render_method(member: &Member) -> TokenStream {
    let Member { attrs, name, receiver, output, .. } = member;
    let whole = &output.whole;
    let receiver = &receiver.written;
    let args = member.args.iter().map(|arg| {
        let (name, ty) = (&arg.name, &arg.ty);
        quote!(#name: #ty)
    });
    let rest = member.rest.iter().map(|arg| {
        let (name, ty) = (&arg.name, &arg.ty);
        quote!(#name: ::std::vec::Vec<#ty>)
    });
    let body = member.body.as_ref().map_or_else(
        || quote!(;),
        |body| {
            // Like an `async fn`, the future owns all arguments until it ends, even those that are
            // not used.
            let owned = member.args.iter().chain(&member.rest).map(|arg| &arg.name);
            quote!({ async move { #(let _ = &#owned;)* #body } })
        },
    );
    // The span makes the compiler report an implementation whose future is not `Send` at this name.
    let future = quote_spanned! {name.span()=>
        impl ::core::future::Future<Output = #whole> + ::core::marker::Send
    };
    quote! {
        #(#attrs)*
        fn #name(#receiver #(, #args)* #(, #rest)*) -> #future #body
    }
}
