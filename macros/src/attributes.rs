//! The attributes our macros read: `#[rpc(…)]`, which is ours, and the part of `#[serde(…)]` that
//! decides names.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Token};

use crate::names::rename_field;

/// All options of `#[rpc(…)]`. Which of them make sense depends on where it stands.
#[derive(Default)]
pub(crate) struct Rpc {
    /// `name = "…"`
    pub(crate) name: Option<LitStr>,
    /// `get`: a property, not a method.
    pub(crate) get: Option<Ident>,
    /// `idempotent`: carried out twice, it does what it does once.
    pub(crate) idempotent: Option<Ident>,
    /// `recorded`: its outcome is kept, and given to a call that comes again.
    pub(crate) recorded: Option<Ident>,
    /// `detached`: it runs to its end, though its session may have ended.
    pub(crate) detached: Option<Ident>,
    /// `rest`: all remaining arguments.
    pub(crate) rest: Option<Ident>,
    /// `cause`: this field is the error's cause.
    pub(crate) cause: Option<Ident>,
    /// `message`: this field is the error's message.
    pub(crate) message: Option<Ident>,
    /// `skip`: this field does not cross the wire.
    pub(crate) skip: Option<Ident>,
}

impl Rpc {
    /// Reads the `#[rpc(…)]` attributes; options other than those `known` here are errors.
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
            "name" => {
                let repeated = self.name.is_some();
                self.name = Some(meta.value()?.parse()?);
                return if repeated { Err(meta.error("said twice")) } else { Ok(()) };
            }
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
            Some(_) => Err(meta.error("said twice")),
            None => Ok(()),
        }
    }
}

/// Whether this is our helper attribute, which must not reach the compiler.
pub(crate) fn is_rpc(attr: &Attribute) -> bool {
    attr.path().is_ident("rpc")
}

/// The documentation, to be repeated on what is generated.
pub(crate) fn docs(attrs: &[Attribute]) -> Vec<Attribute> {
    only(attrs, &["doc"])
}

/// What must stand on everything generated for an item: its conditions of compilation.
pub(crate) fn conditions(attrs: &[Attribute]) -> Vec<Attribute> {
    only(attrs, &["cfg"])
}

/// Copies of the attributes of these names.
pub(crate) fn only(attrs: &[Attribute], names: &[&str]) -> Vec<Attribute> {
    let named = |attr: &&Attribute| names.iter().any(|name| attr.path().is_ident(name));
    attrs.iter().filter(named).cloned().collect()
}

/// Whether one of the attributes has this name.
pub(crate) fn has(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().any(|attr| attr.path().is_ident(name))
}

/// What `#[serde(…)]` says on a container, a variant or a field.
#[derive(Default)]
pub(crate) struct Serde {
    pub(crate) rename: Option<LitStr>,
    pub(crate) rename_all: Option<LitStr>,
    pub(crate) rename_all_fields: Option<LitStr>,
    /// The field does not cross the wire on its way out.
    pub(crate) skipped: bool,
    /// Options without a bearing on names, with their value where it is a string.
    pub(crate) others: Vec<(Ident, Option<LitStr>)>,
}

impl Serde {
    /// Reads the `#[serde(…)]` attributes. Mistakes in them are serde's to report.
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

    /// The option of this name, if it was given.
    pub(crate) fn other(&self, name: &str) -> Option<&(Ident, Option<LitStr>)> {
        self.others.iter().find(|(option, _)| option == name)
    }

    /// The wire name of a field that stands under `rule`, a `rename_all`.
    pub(crate) fn field_name(&self, rule: Option<&LitStr>, field: &str) -> syn::Result<String> {
        match (&self.rename, rule) {
            (Some(name), _) => Ok(name.value()),
            (None, Some(rule)) => rename_field(&rule.value(), field)
                .ok_or_else(|| syn::Error::new_spanned(rule, "not a rule that serde has")),
            (None, None) => Ok(field.to_owned()),
        }
    }
}

/// The value of an option. Of `rename(serialize = "a", deserialize = "b")` it is `a`: the holder
/// of the value is who wrote it.
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
