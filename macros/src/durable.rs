//! `#[bowline::durable(restorer = "…", version = N)]`: a struct that can be restored from its
//! fields. Refuses shapes whose fields have no names, and incomplete options.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DataStruct, DeriveInput, Field, Fields, LitInt, LitStr};

use crate::attributes::{conditions, only};
use crate::faults::Faults;

/// The maximum length of the name of a restorer.
const NAME_BYTES_MAX: usize = 128;

/// The options of the attribute.
#[derive(Default)]
struct Options {
    restorer: Option<LitStr>,
    version: Option<LitInt>,
}

/// Returns the struct and the items that make it durable.
pub(crate) fn expand(options: TokenStream, mut item: DeriveInput) -> syn::Result<TokenStream> {
    let mut faults = Faults::default();
    let mut read = Options::default();
    let parser = syn::meta::parser(|meta| read.option(&meta));
    faults.take(parser.parse2(options));
    let (restorer, version) = read.checked(&item, &mut faults);
    check_shape(&item, &mut faults);
    let fields = named_fields(&mut item, &mut faults);
    faults.finish()?;
    let generated = render(&item, &fields, &restorer, version);
    Ok(quote!(#item #generated))
}

impl Options {
    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let repeated = if meta.path.is_ident("restorer") {
            self.restorer.replace(meta.value()?.parse()?).is_some()
        } else if meta.path.is_ident("version") {
            self.version.replace(meta.value()?.parse()?).is_some()
        } else {
            return Err(meta.error("`#[bowline::durable]` takes the options `restorer` and `version`"));
        };
        if repeated { Err(meta.error("specified more than once")) } else { Ok(()) }
    }

    fn checked(self, item: &DeriveInput, faults: &mut Faults) -> (String, u32) {
        let restorer = match &self.restorer {
            None => {
                faults.at(&item.ident, "name its restorer: `#[bowline::durable(restorer = \"…\", version = 1)]`");
                String::new()
            }
            Some(name) => {
                let text = name.value();
                if text.is_empty() || text.len() > NAME_BYTES_MAX {
                    let message =
                        format!("the name of a restorer must have 1 to {NAME_BYTES_MAX} bytes, not {}", text.len());
                    faults.at(name, message);
                }
                text
            }
        };
        let version = match &self.version {
            None => {
                faults
                    .at(&item.ident, "state the version of the fields: `version = 1`; raise it when the fields change");
                0
            }
            Some(version) => faults.take(version.base10_parse()).unwrap_or_default(),
        };
        (restorer, version)
    }
}

fn check_shape(item: &DeriveInput, faults: &mut Faults) {
    if !item.generics.params.is_empty() {
        faults.at(
            &item.generics,
            "a durable struct cannot have type parameters or lifetimes: a restorer restores one type",
        );
    }
}

/// A field, and whether it is excluded from the recipe.
struct Part {
    field: Field,
    skipped: bool,
}

/// Returns the fields, and removes `#[durable(…)]` from them.
fn named_fields(item: &mut DeriveInput, faults: &mut Faults) -> Vec<Part> {
    let is_serde = derives_serde(&item.attrs);
    let why = match &mut item.data {
        Data::Struct(DataStruct { fields: Fields::Named(fields), .. }) => {
            return fields.named.iter_mut().filter_map(|field| faults.take(part(field, is_serde))).collect();
        }
        Data::Struct(DataStruct { fields: Fields::Unit, .. }) => return Vec::new(),
        Data::Struct(_) => "its fields have no names, which recipes need to tell versions apart",
        Data::Enum(_) => "an enum is not supported; implement `Durable` by hand",
        Data::Union(_) => "a union cannot be serialized",
    };
    faults.at(&item.ident, format!("`#[bowline::durable]` does not apply here: {why}"));
    Vec::new()
}

/// Returns whether the struct derives one of serde's traits, so that serde needs the attributes.
fn derives_serde(attrs: &[Attribute]) -> bool {
    let derives = attrs.iter().filter(|attr| attr.path().is_ident("derive"));
    derives.map(|attr| quote!(#attr).to_string()).any(|text| text.contains("Serialize") || text.contains("Deserialize"))
}

fn part(field: &mut Field, is_serde: bool) -> syn::Result<Part> {
    let mut skipped = false;
    let is_ours = |attr: &Attribute| attr.path().is_ident("durable");
    for attr in field.attrs.iter().filter(|attr| is_ours(attr)) {
        attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("skip") {
                return Err(meta.error("`#[durable]` on a field takes the option `skip`"));
            }
            if std::mem::replace(&mut skipped, true) { Err(meta.error("specified more than once")) } else { Ok(()) }
        })?;
    }
    let written = field.clone();
    // Serde attributes are copied to the parameters. The struct keeps them only if it derives
    // serde's traits itself; otherwise the compiler would not know them.
    field.attrs.retain(|attr| !is_ours(attr) && (is_serde || !attr.path().is_ident("serde")));
    Ok(Part { field: written, skipped })
}

fn render(item: &DeriveInput, fields: &[Part], restorer: &str, version: u32) -> TokenStream {
    let DeriveInput { vis, ident: of, .. } = item;
    let conditions = conditions(&item.attrs);
    let name = format_ident!("{of}Params");
    let summary = format!("The parameters from which a [`{of}`] is restored.");
    let creates = format!("Creates the restorer of [`{of}`], named `{restorer}`, for recipes of version {version}.");
    let kept: Vec<&Field> = fields.iter().filter(|part| !part.skipped).map(|part| &part.field).collect();
    let declared = kept.iter().map(|field| {
        let Field { vis, ident, ty, .. } = field;
        let attrs = only(&field.attrs, &["doc", "serde", "cfg"]);
        quote!(#(#attrs)* #vis #ident: #ty)
    });
    let names: Vec<_> = kept.iter().map(|field| &field.ident).collect();
    let copies = kept.iter().map(|field| {
        let ident = &field.ident;
        quote_spanned!(field.ty.span()=> #ident: ::core::clone::Clone::clone(&self.#ident))
    });
    let others: Vec<&Field> = fields.iter().filter(|part| part.skipped).map(|part| &part.field).collect();
    let other_names: Vec<_> = others.iter().map(|field| &field.ident).collect();
    let other_types = others.iter().map(|field| &field.ty);
    quote! {
        #[doc = #summary]
        #(#conditions)*
        #[derive(::bowline::__private::serde::Serialize, ::bowline::__private::serde::Deserialize)]
        #[serde(crate = "::bowline::__private::serde")]
        #vis struct #name {
            #(#declared,)*
        }

        #(#conditions)*
        #[automatically_derived]
        impl ::bowline::durable::Durable for #of {
            fn recipe(&self) -> ::bowline::durable::Recipe {
                ::bowline::durable::Recipe::new(#restorer, #version, &#name { #(#copies,)* })
            }
        }

        #(#conditions)*
        #[allow(dead_code, clippy::all, reason = "a type may have a restorer in another process alone")]
        impl #of {
            #[doc = #creates]
            ///
            /// `restore` receives a clone of `state`, such as a database pool. It decides whether the peer may
            /// access the object, and creates the object.
            #vis fn restorer<S, R, F, Fut>(state: S, restore: F) -> ::bowline::durable::Restorer
            where
                S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
                R: ::bowline::Reference,
                F: Fn(::bowline::durable::RestoreCtx, #name, S) -> Fut
                    + ::core::marker::Send
                    + ::core::marker::Sync
                    + 'static,
                Fut: ::core::future::Future<Output = ::core::result::Result<R, ::bowline::durable::BoxError>>
                    + ::core::marker::Send
                    + 'static,
            {
                ::bowline::durable::Restorer::new(#restorer, #version, move |ctx, params| {
                    restore(ctx, params, ::core::clone::Clone::clone(&state))
                })
            }
        }

        #(#conditions)*
        #[allow(dead_code, clippy::all, reason = "a restorer may build the object without `restore`")]
        impl #name {
            /// Builds the object from its parameters.
            #vis fn restore(self #(, #other_names: #other_types)*) -> #of {
                #of { #(#names: self.#names,)* #(#other_names,)* }
            }
        }
    }
}
