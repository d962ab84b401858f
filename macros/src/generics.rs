//! Type parameters of generated items: those of the source, with the bounds that sending and
//! receiving their values needs.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericParam, Generics, parse_quote};

/// Returns the parameters with bounds that let values of each type be sent and received.
pub(crate) fn sendable(generics: &Generics) -> Generics {
    bounded(generics, |clause, ty| {
        clause.push(parse_quote! {
            #ty: ::bowline::__private::serde::Serialize
                + ::bowline::__private::serde::de::DeserializeOwned
                + ::core::marker::Send
                + 'static
        });
    })
}

/// Returns the parameters with bounds that let TypeScript declarations name each type.
pub(crate) fn described(generics: &Generics) -> Generics {
    bounded(generics, |clause, ty| clause.push(parse_quote!(#ty: ::bowline::TypeScript)))
}

/// Returns the parameters with a `'static` bound on each type.
pub(crate) fn owned(generics: &Generics) -> Generics {
    bounded(generics, |clause, ty| clause.push(parse_quote!(#ty: 'static)))
}

type Clause = syn::punctuated::Punctuated<syn::WherePredicate, syn::Token![,]>;

fn bounded(generics: &Generics, bound: impl Fn(&mut Clause, &syn::Ident)) -> Generics {
    let mut generics = generics.clone();
    let types: Vec<_> = generics.type_params().map(|param| param.ident.clone()).collect();
    if !types.is_empty() {
        let clause = &mut generics.make_where_clause().predicates;
        types.iter().for_each(|ty| bound(clause, ty));
    }
    generics
}

/// Returns the type of a marker field that uses all type parameters, if there are any. As a
/// function pointer type, it is `Send` and `Sync` for every type.
pub(crate) fn marker(generics: &Generics) -> Option<TokenStream> {
    let mut types = generics.type_params().map(|param| &param.ident).peekable();
    types.peek()?;
    Some(quote!(::core::marker::PhantomData<fn() -> (#(#types,)*)>))
}

/// Returns the parameters with `param` in front.
pub(crate) fn preceded(param: GenericParam, generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    generics.params.insert(0, param);
    generics
}
