//! The reference type, which callers hold. It has a method for each member of the interface that
//! sends the call and returns a promise. `dispatch` has the answering side.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use crate::attributes::{conditions, docs, has, only};
use crate::generics::{marker, sendable};
use crate::model::{Argument, Interface, Kind, Member, Repeat};

/// Returns `DirectoryRef` for `Directory`.
pub(crate) fn name(interface: &Interface) -> Ident {
    format_ident!("{}Ref", interface.name)
}

pub(crate) fn render(interface: &Interface) -> TokenStream {
    let Interface { attrs, vis, name: of, generics, members, .. } = interface;
    let name = name(interface);
    let (conditions, docs) = (conditions(attrs), docs(attrs));
    let deprecated = only(attrs, &["deprecated"]);
    let summary = format!("A reference to a local or remote [`{of}`]. Each method sends a call at once.");
    let parameters = &generics.params;
    let parameters = (!parameters.is_empty()).then(|| quote!(<#parameters>));
    let condition = &generics.where_clause;
    let marker = marker(generics).map(|ty| quote!(types: #ty,));
    let bounded = sendable(generics);
    let (on, of_type, bounds) = bounded.split_for_impl();
    let methods = members.iter().map(|member| method(interface, member));
    let traits = traits(interface);
    quote! {
        #[doc = #summary]
        #[doc = ""]
        #(#docs)*
        #(#conditions)*
        #(#deprecated)*
        #vis struct #name #parameters #condition {
            stub: ::bowline::Stub,
            #marker
        }

        #(#conditions)*
        #[allow(dead_code, deprecated, clippy::all, reason = "not every program calls every method")]
        impl #on #name #of_type #bounds {
            #(#methods)*
        }

        #traits
    }
}

fn method(interface: &Interface, member: &Member) -> TokenStream {
    let Member { attrs, name, args, rest, output, .. } = member;
    let vis = &interface.vis;
    let docs = member_docs(member);
    let kept = only(attrs, &["cfg", "deprecated"]);
    let (ok, err) = (&output.ok, error(member));
    let args = args.iter().map(|Argument { name, ty }| {
        let ty = quote_spanned!(ty.span()=> impl ::bowline::interface::IntoArg<#ty>);
        quote!(#name: #ty)
    });
    let rest = rest.iter().map(|Argument { name, ty }| quote!(#name: impl ::core::iter::IntoIterator<Item = #ty>));
    let send = send(member);
    quote! {
        #docs
        #(#kept)*
        #vis fn #name(&self #(, #args)* #(, #rest)*) -> ::bowline::Promise<#ok, #err> {
            #send
        }
    }
}

/// Renders the body of a method, which sends the call or reads the property.
fn send(member: &Member) -> TokenStream {
    let Member { name, wire, kind, repeat, args, rest, .. } = member;
    if *kind == Kind::Property {
        return quote!(::bowline::__private::TypedCalls::get_typed(&self.stub, #wire));
    }
    let names = args.iter().map(|arg| &arg.name);
    // The span makes the compiler report an argument that cannot be encoded at the method's name.
    let args = match rest {
        None => quote_spanned!(name.span()=> (#(::bowline::interface::IntoArg::into_arg(#names),)*)),
        Some(rest) => {
            let (last, ty) = (&rest.name, &rest.ty);
            let last = quote!(::core::iter::Iterator::collect::<::std::vec::Vec<#ty>>(
                ::core::iter::IntoIterator::into_iter(#last)
            ));
            let nested =
                names.rev().fold(last, |after, name| quote!((::bowline::interface::IntoArg::into_arg(#name), #after)));
            quote_spanned!(name.span()=> ::bowline::__private::Spread(#nested))
        }
    };
    let args = quote_spanned!(name.span()=> &#args);
    let call = if *repeat == Repeat::Never { quote!(call_typed) } else { quote!(call_idempotent) };
    quote!(::bowline::__private::TypedCalls::#call(&self.stub, #wire, #args))
}

/// Returns the documentation of the trait's method, or a sentence in its place.
fn member_docs(member: &Member) -> TokenStream {
    if has(&member.attrs, "doc") {
        let docs = docs(&member.attrs);
        return quote!(#(#docs)*);
    }
    let verb = match member.kind {
        Kind::Method => "Calls",
        Kind::Property => "Reads",
    };
    let text = format!("{verb} `{}`.", member.wire);
    quote!(#[doc = #text])
}

/// Returns the error type that callers see.
pub(crate) fn error(member: &Member) -> TokenStream {
    member.output.err.as_ref().map_or_else(|| quote!(::bowline::error::Never), |err| quote!(#err))
}

/// Renders the trait implementations that make the struct a reference: it is created from a stub,
/// and serialized as one.
fn traits(interface: &Interface) -> TokenStream {
    let Interface { attrs, generics, .. } = interface;
    let name = name(interface);
    let text = name.to_string();
    let conditions = conditions(attrs);
    let made = marker(generics).map(|_| quote!(types: ::core::marker::PhantomData,));
    let bounded = sendable(generics);
    let (on, of_type, bounds) = bounded.split_for_impl();
    let mut decoded = bounded.clone();
    decoded.params.insert(0, syn::parse_quote!('de));
    let (on_decoded, _, _) = decoded.split_for_impl();
    quote! {
        #(#conditions)*
        #[allow(deprecated, reason = "the deprecation concerns users of the type")]
        const _: () = {
            use ::bowline::__private::serde;

            #[automatically_derived]
            impl #on ::core::clone::Clone for #name #of_type #bounds {
                fn clone(&self) -> Self {
                    Self { stub: ::core::clone::Clone::clone(&self.stub), #made }
                }
            }

            #[automatically_derived]
            impl #on ::core::fmt::Debug for #name #of_type #bounds {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.debug_tuple(#text).field(&self.stub).finish()
                }
            }

            #[automatically_derived]
            impl #on serde::Serialize for #name #of_type #bounds {
                fn serialize<__S: serde::Serializer>(
                    &self,
                    serializer: __S,
                ) -> ::core::result::Result<__S::Ok, __S::Error> {
                    serde::Serialize::serialize(&self.stub, serializer)
                }
            }

            #[automatically_derived]
            impl #on_decoded serde::Deserialize<'de> for #name #of_type #bounds {
                fn deserialize<__D: serde::Deserializer<'de>>(
                    deserializer: __D,
                ) -> ::core::result::Result<Self, __D::Error> {
                    let stub = <::bowline::Stub as serde::Deserialize>::deserialize(deserializer)?;
                    ::core::result::Result::Ok(Self { stub, #made })
                }
            }

            #[automatically_derived]
            impl #on ::bowline::Reference for #name #of_type #bounds {
                fn from_stub(stub: ::bowline::Stub) -> Self {
                    Self { stub, #made }
                }

                fn stub(&self) -> &::bowline::Stub {
                    &self.stub
                }
            }

            #[automatically_derived]
            impl #on ::bowline::Pipeline for #name #of_type #bounds {
                type Pipelined = Self;
            }

            #[automatically_derived]
            impl #on ::bowline::interface::FromPromise for #name #of_type #bounds {
                fn from_promise(stub: ::bowline::Stub) -> Self {
                    Self { stub, #made }
                }
            }
        };
    }
}
