//! The attributes that the macros read: their own helper attribute `#[rpc(…)]`, and the options of
//! `#[serde(…)]` that affect names and forms on the wire.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Token};

use crate::names::rename_field;

/// The options of `#[rpc(…)]`. Each place accepts some of them; see [`Rpc::read`].
#[derive(Default)]
pub(crate) struct Rpc {
    /// `name = "…"`
    pub(crate) name: Option<LitStr>,
    /// `code = "…"`
    pub(crate) code: Option<LitStr>,
    /// `get`: a property, not a method.
    pub(crate) get: Option<Ident>,
    /// `idempotent`: running the method twice has the same effect as running it once.
    pub(crate) idempotent: Option<Ident>,
    /// `recorded`: the outcome is stored, and a retransmitted call gets it.
    pub(crate) recorded: Option<Ident>,
    /// `detached`: the method runs to its end even if its session has ended.
    pub(crate) detached: Option<Ident>,
    /// `rest`: all remaining arguments.
    pub(crate) rest: Option<Ident>,
    /// `cause`: this field is the error's cause.
    pub(crate) cause: Option<Ident>,
    /// `message`: this field is the error's message.
    pub(crate) message: Option<Ident>,
    /// `skip`: this field is not sent.
    pub(crate) skip: Option<Ident>,
}

impl Rpc {
    /// Reads the `#[rpc(…)]` attributes. Options that are not in `known` are errors.
    pub(crate) fn read(attrs: &[Attribute], known: &[&str]) -> syn::Result<Self> {
        let mut rpc = Self::default();
        for attr in attrs.iter().filter(|attr| is_rpc(attr)) {
            attr.parse_nested_meta(|meta| rpc.option(&meta, known))?;
        }
        Ok(rpc)
    }

    fn option(&mut self, meta: &ParseNestedMeta<'_>, known: &[&str]) -> syn::Result<()> {
        let option = meta.path.require_ident()?.clone();
        let text = option.to_string();
        if !known.contains(&text.as_str()) {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            let known = match known.as_slice() {
                [] => "takes no options".to_owned(),
                known => format!("takes {}", known.join(", ")),
            };
            return Err(meta.error(format!("unknown option `{text}`: `#[rpc]` here {known}")));
        }
        let (slot, value) = match text.as_str() {
            "name" => return set(&mut self.name, meta),
            "code" => return set(&mut self.code, meta),
            "get" => (&mut self.get, option),
            "idempotent" => (&mut self.idempotent, option),
            "recorded" => (&mut self.recorded, option),
            "detached" => (&mut self.detached, option),
            "rest" => (&mut self.rest, option),
            "cause" => (&mut self.cause, option),
            "message" => (&mut self.message, option),
            _ => (&mut self.skip, option),
        };
        match slot.replace(value) {
            Some(_) => Err(meta.error("specified more than once")),
            None => Ok(()),
        }
    }
}

/// Sets an option that has a string as its value.
fn set(slot: &mut Option<LitStr>, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    match slot.replace(meta.value()?.parse()?) {
        Some(_) => Err(meta.error("specified more than once")),
        None => Ok(()),
    }
}

/// Returns whether this is the helper attribute `#[rpc]`, which must not reach the compiler.
pub(crate) fn is_rpc(attr: &Attribute) -> bool {
    attr.path().is_ident("rpc")
}

/// Returns the documentation attributes, to be repeated on generated items.
pub(crate) fn docs(attrs: &[Attribute]) -> Vec<Attribute> {
    only(attrs, &["doc"])
}

/// Returns the `#[cfg]` attributes, which must be repeated on every item generated for this one.
pub(crate) fn conditions(attrs: &[Attribute]) -> Vec<Attribute> {
    only(attrs, &["cfg"])
}

/// Returns copies of the attributes with these names.
pub(crate) fn only(attrs: &[Attribute], names: &[&str]) -> Vec<Attribute> {
    let named = |attr: &&Attribute| names.iter().any(|name| attr.path().is_ident(name));
    attrs.iter().filter(named).cloned().collect()
}

/// Returns whether one of the attributes has this name.
pub(crate) fn has(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().any(|attr| attr.path().is_ident(name))
}

/// The options of `#[serde(…)]` on a container, a variant, or a field.
#[derive(Default)]
pub(crate) struct Serde {
    pub(crate) rename: Option<LitStr>,
    pub(crate) rename_all: Option<LitStr>,
    pub(crate) rename_all_fields: Option<LitStr>,
    /// The field is not serialized.
    pub(crate) skipped: bool,
    /// Options that do not affect names, with their value if it is a string.
    pub(crate) others: Vec<(Ident, Option<LitStr>)>,
}

impl Serde {
    /// Reads the `#[serde(…)]` attributes. Errors in them are left for serde to report.
    pub(crate) fn read(attrs: &[Attribute]) -> syn::Result<Self> {
        let mut serde = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
            attr.parse_nested_meta(|meta| serde.option(&meta))?;
        }
        Ok(serde)
    }

    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let option = meta.path.require_ident()?.clone();
        let value = outgoing(meta)?;
        match option.to_string().as_str() {
            "rename" => self.rename = value,
            "rename_all" => self.rename_all = value,
            "rename_all_fields" => self.rename_all_fields = value,
            "skip" => self.skipped = true,
            "skip_serializing" => {
                self.skipped = true;
                self.others.push((option, value));
            }
            _ => self.others.push((option, value)),
        }
        Ok(())
    }

    /// Returns the option with this name, if present.
    pub(crate) fn other(&self, name: &str) -> Option<&(Ident, Option<LitStr>)> {
        self.others.iter().find(|(option, _)| option == name)
    }

    /// Returns the wire name of a field under `rule`, a `rename_all`.
    pub(crate) fn field_name(&self, rule: Option<&LitStr>, field: &str) -> syn::Result<String> {
        match (&self.rename, rule) {
            (Some(name), _) => Ok(name.value()),
            (None, Some(rule)) => rename_field(&rule.value(), field)
                .ok_or_else(|| syn::Error::new_spanned(rule, "serde has no such rename rule")),
            (None, None) => Ok(field.to_owned()),
        }
    }
}

/// Returns the value of an option. For `rename(serialize = "a", deserialize = "b")` that is `a`,
/// because the side that holds the value serialized it.
fn outgoing(meta: &ParseNestedMeta<'_>) -> syn::Result<Option<LitStr>> {
    let mut value = None;
    if meta.input.peek(Token![=]) {
        value = string(meta.value()?.parse()?);
    } else if meta.input.peek(syn::token::Paren) {
        meta.parse_nested_meta(|inner| {
            if inner.input.peek(Token![=]) {
                let given = string(inner.value()?.parse()?);
                if inner.path.is_ident("serialize") {
                    value = given;
                }
            }
            Ok(())
        })?;
    }
    Ok(value)
}

fn string(value: Expr) -> Option<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        _ => None,
    }
}
