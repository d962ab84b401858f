//! `#[derive(TypeScript)]`: describes the form that serde gives a type. This module decides what a
//! field or variant is on the wire; `bowline_core::typescript` spells it at run time.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Field, Fields, FieldsUnnamed, LitStr, Type, Variant};

use crate::attributes::Serde;
use crate::described::docs_text;
use crate::faults::Faults;
use crate::generics::described;
use crate::names::rename_variant;
use crate::signature::type_arguments;

/// Reads the type and renders its `TypeScript` implementation.
pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut faults = Faults::default();
    for lifetime in input.generics.lifetimes() {
        faults.at(lifetime, "a type with `TypeScript` cannot have lifetimes: values on the wire are owned");
    }
    let shape = shape(input, &mut faults);
    faults.finish()?;
    let name = &input.ident;
    let bounded = described(&input.generics);
    let (on, of_type, bounds) = bounded.split_for_impl();
    let of = input.generics.type_params().map(|param| &param.ident);
    let (text, docs) = (name.unraw().to_string(), docs_text(&input.attrs));
    Ok(quote! {
        const _: () = {
            use ::bowline::__private::typescript as __ts;

            #[automatically_derived]
            #[allow(deprecated, unused_variables, clippy::all, reason = "the shape is the same for all types")]
            impl #on ::bowline::TypeScript for #name #of_type #bounds {
                fn describe(to: &mut __ts::Declarations) -> __ts::Type {
                    let of: &[__ts::Type] = &[#(<#of as ::bowline::TypeScript>::describe(to)),*];
                    to.data::<Self>(#text, of, #docs, |to| #shape)
                }
            }
        };
    })
}

/// Returns an expression for the `Shape` of the type.
fn shape(input: &DeriveInput, faults: &mut Faults) -> Option<TokenStream> {
    let serde = faults.take(Serde::read(&input.attrs))?;
    let other = |ty: TokenStream| Some(quote!(__ts::Shape::Other(#ty)));
    if let Some(text) = said(&input.attrs, faults) {
        return other(quote!(__ts::Type::new(#text)));
    }
    if let Some((_, Some(into))) = serde.other("into") {
        let ty: Type = faults.take(into.parse())?;
        return other(describe(&ty));
    }
    for option in ["from", "try_from", "remote"] {
        if let Some((option, _)) = serde.other(option) {
            faults.at(option, UNKNOWN_FORM);
        }
    }
    match &input.data {
        Data::Struct(data) => structure(&serde, &input.ident, &data.fields, faults),
        Data::Enum(data) => {
            let variants: Vec<_> =
                data.variants.iter().filter_map(|variant| alternative(&serde, variant, faults)).collect();
            other(quote!(__ts::Variants::default() #(#variants)* .into_type()))
        }
        Data::Union(_) => {
            faults.at(&input.ident, "a union cannot be serialized");
            None
        }
    }
}

const UNKNOWN_FORM: &str =
    "the form on the wire is not known here: name the TypeScript type with `#[typescript(type = \"…\")]`";

fn structure(serde: &Serde, name: &syn::Ident, fields: &Fields, faults: &mut Faults) -> Option<TokenStream> {
    if serde.other("transparent").is_some() {
        let field = fields.iter().find(|field| !is_phantom(&field.ty))?;
        let ty = type_of(field, &faults.take(Serde::read(&field.attrs))?, faults);
        return Some(quote!(__ts::Shape::Other(#ty)));
    }
    let Fields::Named(_) = fields else {
        let ty = positional(fields, faults).unwrap_or_else(|| quote!(__ts::Type::nothing()));
        return Some(quote!(__ts::Shape::Other(#ty)));
    };
    let tag = serde.other("tag").and_then(|(_, tag)| tag.as_ref()).map(|tag| {
        let name = serde.rename.as_ref().map_or_else(|| name.unraw().to_string(), LitStr::value);
        quote!(.tag(#tag, #name))
    });
    let named = named(fields, serde.rename_all.as_ref(), serde.other("default").is_some(), faults);
    Some(quote!(__ts::Shape::Object(__ts::Fields::default() #tag #named)))
}

/// Returns `.variant(docs, type)` for a variant that is serialized.
fn alternative(container: &Serde, variant: &Variant, faults: &mut Faults) -> Option<TokenStream> {
    let own = faults.take(Serde::read(&variant.attrs))?;
    if own.skipped && own.other("skip_serializing").is_none() {
        return None;
    }
    let name = variant_name(container, &own, variant, faults)?;
    let option = |name| container.other(name).and_then(|(_, value)| value.as_ref());
    let untagged = container.other("untagged").is_some() || own.other("untagged").is_some();
    let fields = match &variant.fields {
        Fields::Named(_) => {
            let rule = own.rename_all.as_ref().or(container.rename_all_fields.as_ref());
            Some(named(&variant.fields, rule, false, faults))
        }
        _ => None,
    };
    let object = |fields: TokenStream| quote!(__ts::Fields::default() #fields .into_type());
    let content = match fields.clone() {
        Some(fields) => Some(object(fields)),
        None => positional(&variant.fields, faults),
    };
    let ty = match (option("tag"), option("content"), content) {
        _ if untagged => content_alone(&variant.fields, fields.map(object), faults),
        (Some(tag), Some(key), Some(content)) => object(quote!(.tag(#tag, #name).field(#key, "", &#content, false))),
        (Some(tag), None, Some(_)) => match (fields, variant.fields.iter().next()) {
            (Some(fields), _) => object(quote!(.tag(#tag, #name) #fields)),
            (None, Some(Field { ty, .. })) => object(quote_spanned!(ty.span()=> .tag(#tag, #name).flatten::<#ty>(to))),
            (None, None) => object(quote!(.tag(#tag, #name))),
        },
        (Some(tag), _, None) => object(quote!(.tag(#tag, #name))),
        (None, _, Some(content)) => object(quote!(.field(#name, "", &#content, false))),
        (None, _, None) => quote!(__ts::Type::literal(#name)),
    };
    let docs = docs_text(&variant.attrs);
    Some(quote!(.variant(#docs, &#ty)))
}

fn content_alone(fields: &Fields, object: Option<TokenStream>, faults: &mut Faults) -> TokenStream {
    object.or_else(|| positional(fields, faults)).unwrap_or_else(|| quote!(__ts::Type::nothing()))
}

fn variant_name(container: &Serde, own: &Serde, variant: &Variant, faults: &mut Faults) -> Option<String> {
    let name = variant.ident.unraw().to_string();
    match (&own.rename, &container.rename_all) {
        (Some(name), _) => Some(name.value()),
        (None, None) => Some(name),
        (None, Some(rule)) => faults.take(
            rename_variant(&rule.value(), &name)
                .ok_or_else(|| syn::Error::new_spanned(rule, "serde has no such rename rule")),
        ),
    }
}

/// Returns the type of unnamed fields: that of a single field, or a tuple; `None` if there are no
/// unnamed fields.
fn positional(fields: &Fields, faults: &mut Faults) -> Option<TokenStream> {
    let Fields::Unnamed(FieldsUnnamed { unnamed, .. }) = fields else { return None };
    let mut types = Vec::new();
    for field in unnamed {
        let serde = faults.take(Serde::read(&field.attrs))?;
        if !serde.skipped {
            types.push(type_of(field, &serde, faults));
        }
    }
    match (unnamed.len(), types.as_slice()) {
        (1, [only]) => Some(only.clone()),
        _ => Some(quote!(__ts::Type::tuple(&[#(#types),*]))),
    }
}

/// Returns `.field(…)` or `.flatten(…)` for each named field that crosses the wire.
fn named(fields: &Fields, rule: Option<&LitStr>, all_optional: bool, faults: &mut Faults) -> TokenStream {
    fields.iter().filter_map(|field| named_field(field, rule, all_optional, faults)).collect()
}

fn named_field(field: &Field, rule: Option<&LitStr>, all_optional: bool, faults: &mut Faults) -> Option<TokenStream> {
    let serde = faults.take(Serde::read(&field.attrs))?;
    // A field that is only received is described, too: callers may have to send it.
    if (serde.skipped && serde.other("skip_serializing").is_none()) || is_phantom(&field.ty) {
        return None;
    }
    let ty = &field.ty;
    if serde.other("flatten").is_some() {
        return Some(quote_spanned!(ty.span()=> .flatten::<#ty>(to)));
    }
    let key = faults.take(serde.field_name(rule, &field.ident.as_ref()?.unraw().to_string()))?;
    let sometimes = ["default", "skip_serializing", "skip_serializing_if", "skip_deserializing"];
    let optional = all_optional || sometimes.iter().any(|option| serde.other(option).is_some());
    let docs = docs_text(&field.attrs);
    let ty = type_of(field, &serde, faults);
    Some(quote!(.field(#key, #docs, &#ty, #optional)))
}

/// Returns an expression for the type that a field has on the wire.
fn type_of(field: &Field, serde: &Serde, faults: &mut Faults) -> TokenStream {
    if let Some(text) = said(&field.attrs, faults) {
        return quote!(__ts::Type::new(#text));
    }
    for option in ["with", "serialize_with", "deserialize_with"] {
        let Some((option, with)) = serde.other(option) else { continue };
        let known = with.as_ref().and_then(|with| match with.value().as_str() {
            "bowline::bigint" => Some("bigint"),
            "bowline::date" => Some("Date"),
            "serde_bytes" => Some("Uint8Array"),
            _ => None,
        });
        let Some(text) = known else {
            faults.at(option, UNKNOWN_FORM);
            continue;
        };
        let null = if type_arguments(&field.ty, "Option").is_some() { " | null" } else { "" };
        let text = format!("{text}{null}");
        return quote!(__ts::Type::new(#text));
    }
    describe(&field.ty)
}

fn describe(ty: &Type) -> TokenStream {
    quote_spanned!(ty.span()=> <#ty as ::bowline::TypeScript>::describe(to))
}

fn is_phantom(ty: &Type) -> bool {
    type_arguments(ty, "PhantomData").is_some()
}

/// Returns the value of `#[typescript(type = "…")]`.
fn said(attrs: &[Attribute], faults: &mut Faults) -> Option<String> {
    let mut text: Option<LitStr> = None;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("typescript")) {
        let read = attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("type") {
                let path = meta.path.to_token_stream();
                return Err(meta.error(format!("unknown option `{path}`: `#[typescript]` takes `type = \"…\"`")));
            }
            text = Some(meta.value()?.parse()?);
            Ok(())
        });
        faults.take(read);
    }
    text.map(|text| text.value())
}
