//! Reads a trait into an [`Interface`]. All rules on what a trait may contain are checked here, so
//! that rendering cannot fail.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::{
    Attribute, FnArg, Ident, ItemTrait, Pat, PatType, ReturnType, Signature, TraitItem, TraitItemFn, Type, parse_quote,
};

use crate::attributes::{Rpc, is_rpc};
use crate::faults::Faults;
use crate::model::{Argument, Interface, Kind, Lifetime, Member, Output, Receiver, Repeat};
use crate::names::{camel_case, member_refused};
use crate::signature::{check_type, type_arguments};

/// Reads the trait, or returns everything that is wrong with it.
pub(crate) fn interface(options: TokenStream, item: ItemTrait) -> syn::Result<Interface> {
    let mut faults = Faults::default();
    let typescript = options.to_string() == "typescript";
    if !typescript && !options.is_empty() {
        faults.at(options, "`#[bowline::interface]` takes the option `typescript`");
    }
    check_trait(&item, &mut faults);
    let mut members = Vec::new();
    for item in item.items {
        match item {
            TraitItem::Fn(method) => members.extend(member(method, &mut faults)),
            other => faults.at(other, "an interface can contain methods only"),
        }
    }
    check_collisions(&members, &mut faults);
    faults.finish()?;
    Ok(Interface {
        attrs: item.attrs,
        vis: item.vis,
        name: item.ident,
        generics: item.generics,
        supertraits: item.supertraits,
        members,
        typescript,
    })
}

fn check_trait(item: &ItemTrait, faults: &mut Faults) {
    if let Some(token) = item.unsafety {
        faults.at(token, "an interface cannot be unsafe: its callers are remote");
    }
    for lifetime in item.generics.lifetimes() {
        faults.at(lifetime, "an interface cannot have lifetimes: all its arguments and results are owned");
    }
    for attr in item.attrs.iter().filter(|attr| is_rpc(attr)) {
        faults.at(attr, "put `#[rpc]` on a method");
    }
}

/// The names of associated functions of the reference type.
const OF_THE_REFERENCE: [&str; 4] = ["new", "from_arc", "durable", "clone"];

fn member(method: TraitItemFn, faults: &mut Faults) -> Option<Member> {
    let TraitItemFn { attrs, sig, default, .. } = method;
    let rpc = faults.take(Rpc::read(&attrs, &["name", "get", "idempotent", "recorded", "detached"]))?;
    check_signature(&sig, faults);
    let wire = wire_name(&sig.ident, &rpc, faults);
    let kind = if rpc.get.is_some() { Kind::Property } else { Kind::Method };
    let repeat = repeat(&rpc, faults);
    let lifetime = lifetime(&rpc, faults);
    let mut inputs = sig.inputs.into_iter().peekable();
    let receiver = receiver(inputs.next_if(|input| matches!(input, FnArg::Receiver(_))), &sig.ident, faults);
    let mut args = Vec::new();
    let mut rest = None;
    while let Some(input) = inputs.next() {
        let FnArg::Typed(typed) = input else { continue };
        if kind == Kind::Property {
            faults.at(&typed, "a property cannot have arguments");
        }
        match argument(typed, inputs.peek().is_none(), faults)? {
            (argument, true) => rest = Some(argument),
            (argument, false) => args.push(argument),
        }
    }
    Some(Member {
        attrs: attrs.into_iter().filter(|attr| !is_rpc(attr)).collect(),
        wire,
        kind,
        repeat,
        lifetime,
        receiver: receiver?,
        args,
        rest,
        output: output(sig.output, faults)?,
        body: default,
        name: sig.ident,
    })
}

fn check_signature(sig: &Signature, faults: &mut Faults) {
    if sig.asyncness.is_none() {
        faults.at(sig.fn_token, "a method of an interface must be an `async fn`: its caller may be remote");
    }
    if !sig.generics.params.is_empty() {
        faults.at(&sig.generics, "a method of an interface cannot be generic: peers call it by name alone");
    }
    if let Some(clause) = &sig.generics.where_clause {
        faults.at(
            clause,
            "a method of an interface cannot have a where clause: peers call it on any object of the interface",
        );
    }
    if let Some(token) = &sig.unsafety {
        faults.at(token, "a method of an interface cannot be unsafe: its callers are remote");
    }
    if OF_THE_REFERENCE.iter().any(|taken| sig.ident == taken) {
        let name = &sig.ident;
        let message = format!(
            "the reference type has an associated function `{name}`: rename this method, and add \
             `#[rpc(name = \"{}\")]` to keep its name on the wire",
            camel_case(&name.to_string())
        );
        faults.at(name, message);
    }
}

fn wire_name(method: &Ident, rpc: &Rpc, faults: &mut Faults) -> String {
    let (wire, place) = match &rpc.name {
        Some(name) => (name.value(), name.span()),
        None => (camel_case(&method.unraw().to_string()), method.span()),
    };
    if let Some(why) = member_refused(&wire) {
        let hint = if rpc.name.is_some() { "" } else { "; set another name with `#[rpc(name = \"…\")]`" };
        let message = format!("`{wire}` cannot be a name on the wire: {why}{hint}");
        faults.add(syn::Error::new(place, message));
    }
    wire
}

fn repeat(rpc: &Rpc, faults: &mut Faults) -> Repeat {
    match (&rpc.idempotent, &rpc.recorded) {
        (Some(said), _) | (None, Some(said)) if rpc.get.is_some() => {
            faults.at(said, "this option is for methods: a property can always be read again");
            Repeat::Never
        }
        (Some(_), Some(said)) => {
            faults.at(said, "`idempotent` and `recorded` exclude each other: an idempotent call needs no record");
            Repeat::Never
        }
        (Some(_), None) => Repeat::Idempotent,
        (None, Some(_)) => Repeat::Recorded,
        (None, None) => Repeat::Never,
    }
}

fn lifetime(rpc: &Rpc, faults: &mut Faults) -> Lifetime {
    match &rpc.detached {
        Some(said) if rpc.get.is_some() => {
            faults.at(said, "this option is for methods: reading a property has no effect that must complete");
            Lifetime::Session
        }
        Some(_) => Lifetime::Detached,
        None => Lifetime::Session,
    }
}

fn receiver(first: Option<FnArg>, method: &Ident, faults: &mut Faults) -> Option<Receiver> {
    const ADVICE: &str = "calls run concurrently and share the object: take `&self` or `self: Arc<Self>`, and keep \
                          state that changes behind a lock or an atomic";
    let Some(FnArg::Receiver(receiver)) = first else {
        faults.at(method, "a method of an interface needs a receiver: add `&self` as the first parameter");
        return None;
    };
    match &receiver.reference {
        Some((_, None)) if receiver.mutability.is_none() => Some(Receiver { written: receiver, shared: false }),
        None if is_shared(&receiver.ty) => Some(Receiver { written: receiver, shared: true }),
        Some((_, Some(lifetime))) => {
            faults.at(lifetime, "write `&self` without a lifetime: the borrow always lasts as long as the call");
            None
        }
        _ => {
            faults.at(&receiver, ADVICE);
            None
        }
    }
}

/// Returns whether the type is `Arc<Self>`, however the path to `Arc` is written.
fn is_shared(ty: &Type) -> bool {
    type_arguments(ty, "Arc").is_some_and(|of| matches!(of[..], [Type::Path(of)] if of.path.is_ident("Self")))
}

/// Returns the argument, and whether it collects all remaining ones.
fn argument(typed: PatType, last: bool, faults: &mut Faults) -> Option<(Argument, bool)> {
    let PatType { attrs, pat, ty, .. } = typed;
    let rpc = faults.take(Rpc::read(&attrs, &["rest"]))?;
    for attr in foreign(&attrs) {
        faults.at(attr, "an argument can have no attribute other than `#[rpc(rest)]`");
    }
    let name = match *pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.mutability.is_none() && pat.subpat.is_none() => pat.ident,
        other => {
            faults.at(other, "an argument must be a plain name, because names are part of the interface's description");
            return None;
        }
    };
    let Some(rest) = rpc.rest else {
        check_type(&ty, faults);
        return Some((Argument { name, ty: *ty }, false));
    };
    if !last {
        faults.at(&rest, "only the last argument can be `#[rpc(rest)]`");
    }
    let Some(&[element]) = type_arguments(&ty, "Vec").as_deref() else {
        faults.at(ty, "an argument with `#[rpc(rest)]` must be a `Vec<T>`");
        return None;
    };
    check_type(element, faults);
    Some((Argument { name, ty: element.clone() }, true))
}

fn foreign(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| !is_rpc(attr))
}

fn output(written: ReturnType, faults: &mut Faults) -> Option<Output> {
    let whole = match written {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => *ty,
    };
    check_type(&whole, faults);
    let (ok, err) = match type_arguments(&whole, "Result").as_deref() {
        None => (whole.clone(), None),
        Some(&[ok, err]) => (ok.clone(), Some(err.clone())),
        Some(_) => {
            faults.at(
                whole,
                "spell out `Result<T, E>`: an alias hides the error type, which the reference's methods need",
            );
            return None;
        }
    };
    Some(Output { whole, ok, err })
}

fn check_collisions(members: &[Member], faults: &mut Faults) {
    for (at, member) in members.iter().enumerate() {
        // The compiler compares alternatives under `#[cfg]`, because only it knows which of them
        // exist.
        let conditional = |member: &Member| crate::attributes::has(&member.attrs, "cfg");
        let same = |other: &&Member| other.wire == member.wire && !(conditional(other) && conditional(member));
        if let Some(first) = members[..at].iter().find(same) {
            let message =
                format!("`{}` and `{}` have the same name on the wire, `{}`", first.name, member.name, member.wire);
            faults.add(syn::Error::new(member.name.span(), message));
        }
    }
}
