//! `#[derive(Pipeline)]`: promises of the fields of a struct that has not arrived yet. Refuses
//! shapes whose fields are not properties of one object on the wire.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DataStruct, DeriveInput, Field, Fields, FieldsNamed};

use crate::attributes::{Rpc, Serde, conditions, docs, has};
use crate::faults::Faults;
use crate::generics::{marker, owned};

/// Reads the struct and renders its pipelined form.
pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let fields = named_fields(input)?;
    let mut faults = Faults::default();
    for lifetime in input.generics.lifetimes() {
        faults.at(lifetime, "a struct with `Pipeline` cannot have lifetimes: its fields are at the peer");
    }
    let container = Serde::read(&input.attrs)?;
    check_container(&container, &mut faults);
    let properties: Vec<_> = fields.named.iter().filter_map(|field| property(field, &container, &mut faults)).collect();
    faults.finish()?;
    Ok(render(input, &properties))
}

/// A field that can be used before it arrives, with its name on the wire.
struct Property<'f> {
    field: &'f Field,
    wire: String,
}

fn named_fields(input: &DeriveInput) -> syn::Result<&FieldsNamed> {
    let why = match &input.data {
        Data::Struct(DataStruct { fields: Fields::Named(fields), .. }) => return Ok(fields),
        Data::Struct(_) => "this struct has no named fields",
        Data::Enum(_) => "the fields of an enum are not known before it arrives; await the promise and match on it",
        Data::Union(_) => "a union cannot be serialized",
    };
    Err(syn::Error::new_spanned(&input.ident, format!("`Pipeline` cannot be derived here: {why}")))
}

/// Reports serde options under which the struct is not an object with these fields.
fn check_container(serde: &Serde, faults: &mut Faults) {
    for (option, _) in &serde.others {
        if ["transparent", "into", "remote"].iter().any(|other| option == other) {
            faults.at(
                option,
                format!("`Pipeline` cannot be derived with `serde({option})`: on the wire it is another type"),
            );
        }
    }
}

fn property<'f>(field: &'f Field, container: &Serde, faults: &mut Faults) -> Option<Property<'f>> {
    let name = field.ident.as_ref()?;
    let rpc = faults.take(Rpc::read(&field.attrs, &["skip"]))?;
    let serde = faults.take(Serde::read(&field.attrs))?;
    if rpc.skip.is_some() || serde.skipped {
        return None;
    }
    if let Some((flatten, _)) = serde.other("flatten") {
        faults.at(
            flatten,
            "`Pipeline` does not know the fields of a flattened value; leave this field out with \
             `#[rpc(skip)]`",
        );
    }
    for option in ["with", "serialize_with"] {
        let Some((option, with)) = serde.other(option) else {
            continue;
        };
        // A bigint that this module writes can be read as a plain integer.
        if with.as_ref().is_none_or(|with| with.value() != "bowline::bigint") {
            faults.at(
                option,
                "`Pipeline` reads a field as its own type, but this field has another form on the wire; leave it \
                 out with `#[rpc(skip)]`",
            );
        }
    }
    let rule = container.rename_all.as_ref();
    let wire = faults.take(serde.field_name(rule, &syn::ext::IdentExt::unraw(name).to_string()))?;
    Some(Property { field, wire })
}

fn render(input: &DeriveInput, properties: &[Property<'_>]) -> TokenStream {
    let DeriveInput { vis, ident: of, generics, .. } = input;
    let conditions = conditions(&input.attrs);
    let name = format_ident!("{of}Pipelined");
    let summary = format!("Promises of the fields of a [`{of}`] that may not have arrived yet.");
    let marker_type = marker(generics);
    let marker = marker_type.iter();
    let made = marker_type.iter().map(|_| quote!(types: ::core::marker::PhantomData,));
    let mut declared = generics.clone();
    let condition = declared.where_clause.take();
    let parameters = (!declared.params.is_empty()).then(|| {
        let params = &declared.params;
        quote!(<#params>)
    });
    let bounded = owned(generics);
    let (on, of_type, bounds) = bounded.split_for_impl();
    let methods = properties.iter().map(method);
    quote! {
        #[doc = #summary]
        #(#conditions)*
        #[derive(Debug)]
        #vis struct #name #parameters #condition {
            stub: ::bowline::Stub,
            #(types: #marker,)*
        }

        #(#conditions)*
        #[allow(dead_code, deprecated, clippy::all, reason = "not every program reads every field")]
        impl #on #name #of_type #bounds {
            #(#methods)*
        }

        #(#conditions)*
        #[automatically_derived]
        impl #on ::bowline::interface::FromPromise for #name #of_type #bounds {
            fn from_promise(stub: ::bowline::Stub) -> Self {
                Self { stub, #(#made)* }
            }
        }

        #(#conditions)*
        #[automatically_derived]
        impl #on ::bowline::Pipeline for #of #of_type #bounds {
            type Pipelined = #name #of_type;
        }
    }
}

fn method(property: &Property<'_>) -> TokenStream {
    let Property { field: Field { attrs, vis, ident, ty, .. }, wire } = property;
    let conditions = conditions(attrs);
    let docs = if has(attrs, "doc") {
        docs(attrs)
    } else {
        let text = format!("Returns a promise of the field `{wire}`. Nothing is sent until it is used.");
        vec![syn::parse_quote!(#[doc = #text])]
    };
    quote! {
        #(#docs)*
        #(#conditions)*
        #vis fn #ident(&self) -> ::bowline::Promise<#ty, ::bowline::error::Never> {
            ::bowline::Promise::from_stub(::bowline::Stub::get(&self.stub, #wire))
        }
    }
}
