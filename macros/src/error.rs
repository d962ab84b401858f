//! `#[derive(RpcError)]`: converts an error type to the value that crosses the wire, and back. Each
//! variant (or the struct) is read into a [`Case`] first.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Data, DeriveInput, Field, Fields, Ident, LitStr, Type};

use crate::attributes::{Rpc, Serde, conditions, has};
use crate::faults::Faults;
use crate::names::error_property_refused;
use crate::signature::type_text;

/// Reads the type and renders its `RpcError` implementation.
pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut faults = Faults::default();
    let cases = cases(input, &mut faults)?;
    for (at, case) in cases.iter().enumerate() {
        if let Some(first) = cases[..at].iter().find(|other| other.code == case.code) {
            let message = format!(
                "`{}` and `{}` have the same code, `{}`: callers could not distinguish them",
                first.name, case.name, case.code
            );
            faults.add(syn::Error::new(case.name.span(), message));
        }
    }
    faults.finish()?;
    Ok(render(input, &cases))
}

/// Renders the error messages and an implementation that is never run, so that each use of the type is not
/// another error.
pub(crate) fn refused(input: &DeriveInput, error: &syn::Error) -> TokenStream {
    let name = &input.ident;
    let (on, of_type, bounds) = input.generics.split_for_impl();
    let errors = error.to_compile_error();
    quote! {
        #errors

        #[automatically_derived]
        impl #on ::bowline::RpcError for #name #of_type #bounds {
            fn to_value(&self) -> ::bowline::Value {
                ::core::unreachable!("the type was refused by the compiler")
            }

            fn from_value(_: &::bowline::Value) -> ::core::option::Option<Self> {
                ::core::option::Option::None
            }
        }
    }
}

/// One variant of the error, or the struct.
struct Case {
    name: Ident,
    /// `Self` or `Self::Name`.
    path: TokenStream,
    /// The property `code`.
    code: String,
    /// The name on the wire.
    wire: String,
    /// The text of `#[error("…")]`, if it says more than a single field does.
    message: String,
    conditions: Vec<Attribute>,
    fields: Vec<Part>,
}

/// A field of a case.
struct Part {
    /// The name or the index of the field.
    member: syn::Member,
    /// The variable that patterns bind the field to.
    local: Ident,
    ty: Type,
    role: Role,
}

enum Role {
    Property(String),
    /// The field is an `RpcError`, too, and becomes the `cause`.
    Cause,
    /// Not sent as a property: the field is the message.
    Message,
    /// Not sent; the receiver uses the default of the type.
    Skipped,
    /// A source that is not sent. The receiver cannot construct it, so it never reads this case: it
    /// gets an error with the name, the message, and the other properties.
    Kept,
}

fn cases(input: &DeriveInput, faults: &mut Faults) -> syn::Result<Vec<Case>> {
    let container = Serde::read(&input.attrs)?;
    match &input.data {
        Data::Struct(data) => {
            let rule = container.rename_all.as_ref();
            Ok(case(&input.attrs, &input.ident, quote!(Self), &data.fields, rule, faults).into_iter().collect())
        }
        Data::Enum(data) => {
            for attr in input.attrs.iter().filter(|attr| crate::attributes::is_rpc(attr)) {
                faults.at(attr, "put `#[rpc]` on the variants of the enum");
            }
            let mut cases = Vec::new();
            for variant in &data.variants {
                let name = &variant.ident;
                let own = Serde::read(&variant.attrs)?;
                let rule = own.rename_all.as_ref().or(container.rename_all_fields.as_ref());
                cases.extend(case(&variant.attrs, name, quote!(Self::#name), &variant.fields, rule, faults));
            }
            Ok(cases)
        }
        Data::Union(_) => Err(syn::Error::new_spanned(&input.ident, "a union cannot be serialized")),
    }
}

fn case(
    attrs: &[Attribute],
    name: &Ident,
    path: TokenStream,
    fields: &Fields,
    rule: Option<&LitStr>,
    faults: &mut Faults,
) -> Option<Case> {
    let rpc = faults.take(Rpc::read(attrs, &["name", "code"]))?;
    for (text, what) in [(&rpc.name, "name"), (&rpc.code, "code")] {
        if let Some(empty) = text.as_ref().filter(|text| text.value().is_empty()) {
            faults.at(empty, format!("the {what} of an error cannot be empty"));
        }
    }
    let or_own = |text: Option<LitStr>| text.map_or_else(|| name.unraw().to_string(), |text| text.value());
    let (wire, code) = (or_own(rpc.name), or_own(rpc.code));
    let mut parts: Vec<Part> = Vec::new();
    for (at, field) in fields.iter().enumerate() {
        let Some(role) = role(field, rule, faults) else {
            continue;
        };
        if let Some(key) = role.key()
            && parts.iter().any(|part| part.role.key() == Some(key))
        {
            faults.at(field, format!("the error has two properties named `{key}`"));
        }
        let member = field.ident.clone().map_or_else(|| at.into(), syn::Member::Named);
        let local = format_ident!("field{at}", span = Span::mixed_site());
        parts.push(Part { member, local, ty: field.ty.clone(), role });
    }
    let (message, conditions) = (message(attrs), conditions(attrs));
    Some(Case { name: name.clone(), path, code, wire, message, conditions, fields: parts })
}

impl Role {
    /// Returns the name of the property, if the field becomes one.
    fn key(&self) -> Option<&str> {
        match self {
            Self::Property(name) => Some(name),
            Self::Cause => Some("cause"),
            _ => None,
        }
    }
}

fn role(field: &Field, rule: Option<&LitStr>, faults: &mut Faults) -> Option<Role> {
    let rpc = faults.take(Rpc::read(&field.attrs, &["name", "cause", "message", "skip"]))?;
    let serde = faults.take(Serde::read(&field.attrs))?;
    // The same rule as thiserror's.
    let source = has(&field.attrs, "source")
        || has(&field.attrs, "from")
        || field.ident.as_ref().is_some_and(|name| name == "source");
    if rpc.cause.is_some() {
        return Some(Role::Cause);
    } else if rpc.message.is_some() {
        return Some(Role::Message);
    } else if rpc.skip.is_some() || serde.skipped {
        return Some(Role::Skipped);
    } else if source {
        return Some(Role::Kept);
    }
    let key = match (&rpc.name, &field.ident) {
        (Some(name), _) => name.value(),
        (None, Some(name)) => faults.take(serde.field_name(rule, &name.unraw().to_string()))?,
        (None, None) => {
            faults.at(
                field,
                "this field has no name on the wire: name it with `#[rpc(name = \"…\")]`, or mark it with \
                 `#[rpc(message)]` if it is the whole message, `#[rpc(cause)]` if it is an `RpcError`, or \
                 `#[rpc(skip)]` if it is not sent",
            );
            return None;
        }
    };
    if let Some(why) = error_property_refused(&key) {
        let message = format!(
            "an error cannot have a property `{key}`: {why}; rename it with `#[rpc(name = \"…\")]`{}",
            if key == "message" { ", or mark it with `#[rpc(message)]` if it is the whole message" } else { "" }
        );
        faults.at(field, message);
        return None;
    }
    Some(Role::Property(key))
}

fn render(input: &DeriveInput, cases: &[Case]) -> TokenStream {
    let name = &input.ident;
    let type_name = name.unraw().to_string();
    let (on, of_type, bounds) = input.generics.split_for_impl();
    let written = cases.iter().map(write);
    let read = cases.iter().map(read);
    let told = cases.iter().map(tell);
    let to_value = if cases.is_empty() {
        quote!(match *self {})
    } else {
        quote! {
            let parts: ::bowline::__private::ErrorParts = match self {
                #(#written)*
            };
            parts.into_value(self)
        }
    };
    quote! {
        #[automatically_derived]
        #[allow(deprecated, unused_variables, clippy::all, reason = "the shape is the same for all errors")]
        impl #on ::bowline::RpcError for #name #of_type #bounds {
            fn to_value(&self) -> ::bowline::Value {
                #to_value
            }

            fn description() -> ::core::option::Option<::bowline::__private::ErrorDescription> {
                ::core::option::Option::Some(::bowline::__private::ErrorDescription {
                    name: #type_name,
                    cases: &[#(#told),*],
                })
            }

            fn from_value(value: &::bowline::Value) -> ::core::option::Option<Self> {
                let error = ::bowline::__private::ErrorView::of(value)?;
                let cases = <Self as ::bowline::RpcError>::description()?.cases;
                match error.case(cases)? {
                    #(#read)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    }
}

/// Renders the description of a case.
fn tell(case: &Case) -> TokenStream {
    let Case { code, wire, message, conditions, fields, .. } = case;
    let props = fields.iter().filter_map(|Part { ty, role, .. }| {
        let ty = if matches!(role, Role::Cause) { "Error".to_owned() } else { type_text(ty) };
        role.key().map(|key| quote!((#key, #ty)))
    });
    quote! {
        #(#conditions)*
        ::bowline::__private::ErrorCase { code: #code, name: #wire, message: #message, props: &[#(#props),*] }
    }
}

/// Returns the text of `#[error("…")]`, or an empty string if it refers to unnamed fields or
/// repeats another error.
fn message(attrs: &[Attribute]) -> String {
    let text = attrs.iter().filter(|attr| attr.path().is_ident("error")).find_map(|attr| {
        attr.parse_args_with(|input: syn::parse::ParseStream<'_>| {
            let text: LitStr = input.parse()?;
            input.parse::<TokenStream>()?;
            Ok(text.value())
        })
        .ok()
    });
    text.filter(|text| !text.contains("{0")).unwrap_or_default()
}

/// Renders the match arm that converts a case to a value.
fn write(case: &Case) -> TokenStream {
    let Case { path, code, wire, conditions, fields, .. } = case;
    let sent = fields.iter().filter(|part| part.role.key().is_some());
    let pattern = sent.map(|Part { member, local, .. }| quote!(#member: #local));
    let parts = fields.iter().filter_map(|Part { local, role, .. }| match role {
        Role::Property(key) => Some(quote!(.property(#key, #local))),
        Role::Cause => Some(quote!(.cause(#local))),
        Role::Message | Role::Skipped | Role::Kept => None,
    });
    quote! {
        #(#conditions)*
        #path { #(#pattern,)* .. } => ::bowline::__private::ErrorParts::new(#wire, #code) #(#parts)*,
    }
}

/// Renders the match arm that reads a case from a value.
fn read(case: &Case) -> TokenStream {
    let Case { path, code, conditions, fields, .. } = case;
    if fields.iter().any(|part| matches!(part.role, Role::Kept)) {
        return TokenStream::new();
    }
    let parts = fields.iter().map(|Part { member, ty, role, .. }| {
        let value = match role {
            Role::Property(key) => quote!(error.property::<#ty>(#key)?),
            Role::Cause => quote!(error.cause::<#ty>()?),
            Role::Message => {
                quote!(<#ty as ::core::convert::From<&str>>::from(error.message()))
            }
            Role::Skipped | Role::Kept => quote!(<#ty as ::core::default::Default>::default()),
        };
        quote!(#member: #value)
    });
    quote! {
        #(#conditions)*
        #code => ::core::option::Option::Some(#path { #(#parts,)* }),
    }
}
