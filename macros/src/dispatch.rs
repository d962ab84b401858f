//! The answering side: a private type that owns the application's object and maps wire names to its
//! methods, and the constant that describes the interface. Arguments are decoded into the types of
//! the method before the future of the call is created.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Generics, Ident, WherePredicate, parse_quote};

use crate::attributes::conditions;
use crate::generics::{marker, preceded, sendable};
use crate::model::{Interface, Kind, Lifetime, Member, Repeat};
use crate::reference;

pub(crate) fn render(interface: &Interface) -> TokenStream {
    let conditions = conditions(&interface.attrs);
    let dispatcher = dispatcher(interface);
    let constructors = constructors(interface);
    quote! {
        #(#conditions)*
        #[allow(
            dead_code,
            deprecated,
            unused_variables,
            clippy::all,
            reason = "the shape is the same for all interfaces, with or without methods and properties"
        )]
        const _: () = {
            #dispatcher
            #constructors
        };
    }
}

/// How the dispatcher stores the application's object, by a type parameter that stands for the
/// object or for a pointer to it.
struct Place {
    param: Ident,
    /// The type of the dispatcher's field.
    held: TokenStream,
    /// The type of the object that the field leads to.
    object: TokenStream,
    /// The bound that makes the parameter a pointer to the object.
    bound: Option<WherePredicate>,
    /// The function that wraps an object for the field.
    make: TokenStream,
}

impl Place {
    /// Objects are stored inline, or in an `Arc` that the application shares. An interface with
    /// methods that take `self: Arc<Self>` always uses an `Arc`.
    fn of(interface: &Interface) -> Self {
        let path = quote!(::bowline::__private);
        if interface.members.iter().any(|member| member.receiver.shared) {
            let param = Ident::new("__Object", Span::mixed_site());
            let make = quote!(#path::Arc::new);
            return Self { held: quote!(#path::Arc<#param>), object: quote!(#param), bound: None, make, param };
        }
        let param = Ident::new("__Held", Span::mixed_site());
        let bound = parse_quote!(#param: ::core::ops::Deref + ::core::marker::Send + ::core::marker::Sync + 'static);
        Self {
            held: quote!(#param),
            object: quote!(<#param as ::core::ops::Deref>::Target),
            bound: Some(bound),
            make: quote!(#path::Owned),
            param,
        }
    }
}

fn dispatcher(interface: &Interface) -> TokenStream {
    let Interface { name, generics, members, .. } = interface;
    let text = reference::name(interface);
    let (_, of_interface, _) = generics.split_for_impl();
    let Place { param, held, object, bound, .. } = Place::of(interface);
    let declared = declared(generics);
    let marker = marker(generics).map(|ty| quote!(types: #ty,));
    let mut bounded = preceded(parse_quote!(#param), &sendable(generics));
    let predicates = &mut bounded.make_where_clause().predicates;
    predicates.extend(bound);
    predicates.push(parse_quote!(#object: #name #of_interface + ::core::marker::Sized));
    let (on, of_type, bounds) = bounded.split_for_impl();
    let (_, of_reference, _) = generics.split_for_impl();
    let reference = quote!(#text #of_reference);
    let arms = |kind| {
        let arms = members.iter().filter(move |member| member.kind == kind);
        arms.map(|member| arm(interface, member)).collect::<Vec<_>>()
    };
    let (methods, properties) = (arms(Kind::Method), arms(Kind::Property));
    let path = quote!(::bowline::__private);
    quote! {
        struct __Dispatch<#param, #declared> {
            object: #held,
            #marker
        }

        impl #on #path::Object for __Dispatch #of_type #bounds {
            fn interface(&self) -> &'static str {
                <#reference>::INTERFACE.name
            }

            fn members(&self) -> &'static [::bowline::interface::Member] {
                <#reference>::INTERFACE.members
            }

            fn call(
                self: #path::Arc<Self>,
                method: &str,
                args: #path::Args,
            ) -> ::core::option::Option<#path::Reply> {
                match method {
                    #(#methods)*
                    _ => ::core::option::Option::None,
                }
            }

            fn get(self: #path::Arc<Self>, property: &str) -> ::core::option::Option<#path::Reply> {
                match property {
                    #(#properties)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    }
}

/// Returns the parameters as a declaration lists them, without bounds and defaults.
fn declared(generics: &Generics) -> TokenStream {
    let mut generics = generics.clone();
    for param in generics.type_params_mut() {
        (param.eq_token, param.default) = (None, None);
        param.bounds.clear();
    }
    let params = generics.params.iter();
    quote!(#(#params),*)
}

/// Renders the match arm of a member: `"wire" => Some(the started call)`.
fn arm(interface: &Interface, member: &Member) -> TokenStream {
    let Member { attrs, name, wire, args, rest, output, .. } = member;
    let conditions = conditions(attrs);
    let path = quote!(::bowline::__private);
    let (_, of_interface, _) = interface.generics.split_for_impl();
    let (of, Place { object, .. }) = (&interface.name, Place::of(interface));
    let (ok, err) = (&output.ok, reference::error(member));
    let locals: Vec<_> = (0..args.len()).map(|at| format_ident!("arg{at}", span = Span::mixed_site())).collect();
    let types = args.iter().map(|arg| &arg.ty);
    let (pattern, decode) = match rest {
        None => (quote!((#(#locals,)*)), quote_spanned!(name.span()=> decode::<(#(#types,)*)>())),
        Some(rest) => {
            let ty = &rest.ty;
            let ty = args.iter().rev().fold(quote!(::std::vec::Vec<#ty>), |after, arg| {
                let ty = &arg.ty;
                quote!((#ty, #after))
            });
            let nested = locals.iter().rev().fold(quote!(rest), |after, local| quote!((#local, #after)));
            (quote!(#path::Spread(#nested)), quote_spanned!(name.span()=> decode::<#path::Spread<#ty>>()))
        }
    };
    let rest = rest.iter().map(|_| quote!(rest));
    let receiver = if member.receiver.shared { quote!(#path::Arc::clone(&self.object)) } else { quote!(&*self.object) };
    let call = quote!(<#object as #of #of_interface>::#name(#receiver #(, #locals)* #(, #rest)*).await);
    let result = if output.err.is_some() { call } else { quote!(::core::result::Result::Ok(#call)) };
    let reply = quote_spanned!(output.whole.span()=> ::bowline::__private::reply::<#ok, #err>);
    let run = quote!(::std::boxed::Box::pin(async move { #reply(#result) }));
    let started = if member.kind == Kind::Property || (args.is_empty() && member.rest.is_none()) {
        run
    } else {
        quote! {
            match args.#decode {
                ::core::result::Result::Ok(#pattern) => #run,
                ::core::result::Result::Err(error) => #path::refuse(error),
            }
        }
    };
    quote! {
        #(#conditions)*
        #wire => ::core::option::Option::Some(#started),
    }
}

/// Renders the functions that create a reference to a local object, and `INTERFACE`.
fn constructors(interface: &Interface) -> TokenStream {
    let Interface { vis, name: of, generics, .. } = interface;
    let name = reference::name(interface);
    let bounded = sendable(generics);
    let (on, of_type, bounds) = bounded.split_for_impl();
    let (_, of_interface, _) = generics.split_for_impl();
    let made = marker(generics).map(|_| quote!(types: ::core::marker::PhantomData,));
    let description = description(interface);
    let Place { make, .. } = Place::of(interface);
    quote! {
        impl #on #name #of_type #bounds {
            /// The members of the interface, as peers see them.
            #vis const INTERFACE: ::bowline::interface::Interface = #description;

            /// Creates a reference to a local object. The object is dropped when it is no longer
            /// referenced.
            #vis fn new(object: impl #of #of_interface) -> Self {
                let stub = ::bowline::Stub::new(__Dispatch { object: #make(object), #made });
                <Self as ::bowline::Reference>::from_stub(stub)
            }

            /// Creates a reference to a local object that the application keeps using.
            #vis fn from_arc(object: ::bowline::__private::Arc<impl #of #of_interface>) -> Self {
                let stub = ::bowline::Stub::new(__Dispatch { object, #made });
                <Self as ::bowline::Reference>::from_stub(stub)
            }

            /// Creates a durable reference to a local object: another process can restore the
            /// object from its recipe. The recipe is taken when this function is called.
            #vis fn durable(object: impl #of #of_interface + ::bowline::durable::Durable) -> Self {
                let recipe = ::bowline::durable::Durable::recipe(&object);
                let stub = ::bowline::Stub::durable(__Dispatch { object: #make(object), #made }, recipe);
                <Self as ::bowline::Reference>::from_stub(stub)
            }
        }
    }
}

fn description(interface: &Interface) -> TokenStream {
    let name = interface.name.to_string();
    let members = interface.members.iter().map(|member| {
        let Member { attrs, wire, kind, repeat, lifetime, args, rest, .. } = member;
        let conditions = conditions(attrs);
        let kind = match kind {
            Kind::Method => quote!(Method),
            Kind::Property => quote!(Property),
        };
        let repeat = match repeat {
            Repeat::Never => quote!(Never),
            Repeat::Idempotent => quote!(Idempotent),
            Repeat::Recorded => quote!(Recorded),
        };
        let lifetime = match lifetime {
            Lifetime::Session => quote!(Session),
            Lifetime::Detached => quote!(Detached),
        };
        let names = args.iter().map(|arg| arg.name.to_string());
        let rest = rest.iter().map(|arg| format!("...{}", arg.name));
        quote! {
            #(#conditions)*
            ::bowline::interface::Member {
                name: #wire,
                kind: ::bowline::interface::MemberKind::#kind,
                args: &[#(#names,)* #(#rest,)*],
                repeat: ::bowline::interface::Repeat::#repeat,
                lifetime: ::bowline::interface::Lifetime::#lifetime,
            }
        }
    });
    quote!(::bowline::interface::Interface { name: #name, members: &[#(#members),*] })
}
