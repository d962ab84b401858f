//! Type parameters of what is generated: those that the user wrote, with the bounds that sending a
//! value of such a type needs.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericParam, Generics, parse_quote};

/// The same parameters, each type among them one whose values can be sent and received.
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

/// The same parameters, each type among them one that TypeScript can name.
pub(crate) fn described(generics: &Generics) -> Generics {
    bounded(generics, |clause, ty| clause.push(parse_quote!(#ty: ::bowline::TypeScript)))
}

/// The same parameters, each type among them without borrows.
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

/// The field that uses up type parameters which no other field mentions: its type, if there are
/// any. Holding no value of them, it leaves every such type `Send` and `Sync`.
pub(crate) fn marker(generics: &Generics) -> Option<TokenStream> {
    let mut types = generics.type_params().map(|param| &param.ident).peekable();
    types.peek()?;
    Some(quote!(::core::marker::PhantomData<fn() -> (#(#types,)*)>))
}

/// Parameters in front of the user's own.
pub(crate) fn preceded(param: GenericParam, generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    generics.params.insert(0, param);
    generics
}
