//! The implementation of `TypeScript` that `#[bowline::interface(typescript)]` adds: a description
//! of the interface, from which TypeScript declarations are written.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, Meta};

use crate::attributes::conditions;
use crate::generics::{described, sendable};
use crate::model::{Argument, Interface, Kind, Member};
use crate::names::camel_case;
use crate::reference;

pub(crate) fn render(interface: &Interface) -> TokenStream {
    let Interface { attrs, name, generics, members, .. } = interface;
    let reference = reference::name(interface);
    let conditions = conditions(attrs);
    let bounded = described(&sendable(generics));
    let (on, of_type, bounds) = bounded.split_for_impl();
    let of = generics.type_params().map(|param| &param.ident);
    let (name, docs) = (name.to_string(), docs_text(attrs));
    let members = members.iter().map(member);
    quote! {
        #(#conditions)*
        #[automatically_derived]
        #[allow(deprecated, unused_variables, clippy::all, reason = "the shape is the same for all interfaces")]
        impl #on ::bowline::TypeScript for #reference #of_type #bounds {
            fn describe(to: &mut ::bowline::__private::typescript::Declarations) -> ::bowline::__private::typescript::Type {
                let of: &[::bowline::__private::typescript::Type] = &[#(<#of as ::bowline::TypeScript>::describe(to)),*];
                to.interface::<Self>(#name, of, #docs, |it| { #(#members)* })
            }
        }
    }
}

fn member(member: &Member) -> TokenStream {
    let Member { attrs, wire, kind, args, rest, output, .. } = member;
    let conditions = conditions(attrs);
    let docs = docs_text(attrs);
    let (ok, err) = (&output.ok, reference::error(member));
    // The span makes the compiler report a type without a description where it stands.
    let call = match kind {
        Kind::Method => Ident::new("method", ok.span()),
        Kind::Property => Ident::new("property", ok.span()),
    };
    let declared = quote_spanned!(ok.span()=> it.#call::<#ok, #err>(#wire, #docs););
    let argument = |Argument { name, ty }: &Argument, call: &str| {
        let call = Ident::new(call, ty.span());
        let name = camel_case(&name.unraw().to_string());
        quote_spanned!(ty.span()=> it.#call::<#ty>(#name);)
    };
    let args = args.iter().map(|arg| argument(arg, "argument"));
    let rest = rest.iter().map(|arg| argument(arg, "rest"));
    quote! {
        #(#conditions)*
        {
            #declared
            #(#args)*
            #(#rest)*
        }
    }
}

/// Returns the text of the documentation comments.
pub(crate) fn docs_text(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned()).collect();
    lines.join("\n").trim().to_owned()
}
