//! The set of declarations, and the functions with which macros describe an interface.

use std::any::TypeId;
use std::fmt::Write;

use super::TypeScript;
use super::spelling::{Fields, Type, Variants, block, comment, parameters, property_key};
use crate::peer::{ErrorCase, ErrorDescription, RpcError};

/// The declarations of a `.d.ts` file.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    /// The items, in the order of their first mention.
    items: Vec<Item>,
}

#[derive(Clone, Debug)]
struct Item {
    of: Of,
    name: String,
    /// Empty while the item is being described, so that recursive types end.
    text: String,
}

/// What a declaration stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// A type of Rust.
    Type(TypeId),
    /// An error, which methods may name directly or inside of another error type.
    Error(ErrorDescription),
}

/// The type that a declared name refers to.
#[derive(Clone, Debug)]
pub enum Shape {
    /// An object.
    Object(Fields),
    /// Any other type.
    Other(Type),
}

impl Declarations {
    /// Declares the data type `T`, unless it is declared already, and returns its name as a type. `of` are
    /// its generic arguments.
    pub fn data<T: 'static>(
        &mut self,
        name: &str,
        of: &[Type],
        docs: &'static str,
        shape: impl FnOnce(&mut Self) -> Shape,
    ) -> Type {
        let name = self.item(Of::Type(TypeId::of::<T>()), name, of, |to, name| {
            let docs = comment(docs);
            match shape(to) {
                Shape::Object(fields) => match fields.as_block() {
                    Some(block) => format!("{docs}export interface {name} {block}\n"),
                    None => format!("{docs}export type {name} = {};\n", fields.into_type().whole()),
                },
                Shape::Other(ty) => {
                    let ty = ty.whole();
                    let space = if ty.starts_with('\n') { "" } else { " " };
                    format!("{docs}export type {name} ={space}{ty};\n")
                }
            }
        });
        Type::new(name)
    }

    /// Declares the interface of the reference `T`, unless it is declared already, and returns the type of
    /// a reference.
    pub fn interface<T: 'static>(
        &mut self,
        name: &str,
        of: &[Type],
        docs: &'static str,
        members: impl FnOnce(&mut InterfaceOf<'_>),
    ) -> Type {
        let name = self.item(Of::Type(TypeId::of::<T>()), name, of, |to, name| {
            let mut interface = InterfaceOf { to, members: Vec::new() };
            members(&mut interface);
            let members: Vec<_> = interface.members.into_iter().map(Member::spelled).collect();
            let body = if members.is_empty() { "{}".to_owned() } else { block(members) };
            format!("{}export interface {name} extends RpcTarget {body}\n", comment(docs))
        });
        Type::new(format!("RpcStub<{name}>"))
    }

    /// Declares an error type as a union of its cases, unless it is declared already, and returns its name.
    fn error(&mut self, error: ErrorDescription) -> String {
        self.item(Of::Error(error), error.name, &[], |_, name| {
            let cases = error.cases.iter().fold(Variants::default(), |cases, case| case_of(case, cases));
            let ty = cases.into_type().whole();
            let space = if ty.starts_with('\n') { "" } else { " " };
            format!("export type {name} ={space}{ty};\n")
        })
    }

    fn item(&mut self, what: Of, name: &str, of: &[Type], text: impl FnOnce(&mut Self, &str) -> String) -> String {
        if let Some(known) = self.items.iter().find(|item| item.of == what) {
            return known.name.clone();
        }
        let name = self.free_name(name, of);
        let at = self.items.len();
        self.items.push(Item { of: what, name: name.clone(), text: String::new() });
        self.items[at].text = text(self, &name);
        name
    }

    fn free_name(&self, name: &str, of: &[Type]) -> String {
        let mut base = name.to_owned();
        for (at, ty) in of.iter().enumerate() {
            base.push_str(if at == 0 { "Of" } else { "And" });
            base.push_str(&words(&ty.whole()));
        }
        let taken = |name: &str| GLOBALS.contains(&name) || self.items.iter().any(|item| item.name == name);
        let mut name = base.clone();
        let mut number = 2;
        while taken(&name) {
            name = format!("{base}{number}");
            number += 1;
        }
        name
    }

    pub(super) fn into_text(self, root: &Type) -> String {
        let body: Vec<_> = self.items.into_iter().map(|item| item.text).collect();
        let body = body.join("\n");
        let imported: Vec<_> = ["RpcStub", "RpcTarget"].into_iter().filter(|name| mentions(&body, name)).collect();
        let name = root.whole();
        let name = name.strip_prefix("RpcStub<").and_then(|name| name.strip_suffix('>')).unwrap_or(&name);
        let mut text = format!("// Written by Bowline from Rust, for `{name}`; changes belong there.\n");
        if !imported.is_empty() {
            writeln!(text, "import type {{ {} }} from \"capnweb\";", imported.join(", "))
                .expect("writing to a String cannot fail");
        }
        format!("{text}\n{body}")
    }
}

/// Adds a case of an error to a union. Types that have no name in TypeScript are unknown.
fn case_of(case: &ErrorCase, cases: Variants) -> Variants {
    let fields = case.props.iter().fold(Fields::default().tag("code", case.code), |fields, (key, ty)| {
        let ty = match ty.strip_suffix(" | null") {
            Some(ty) => Type::new(known_or_unknown(ty)).optional(),
            None => Type::new(known_or_unknown(ty)),
        };
        fields.field(key, "", &ty, false)
    });
    cases.variant(case.message, &Type::new(format!("(Error & {})", fields.into_type().whole())))
}

/// Returns the spelling of a property's type, or `unknown` if it names a type that only Rust has.
fn known_or_unknown(spelling: &str) -> &str {
    const KNOWN: [&str; 8] = ["boolean", "number", "string", "bigint", "unknown", "null", "Uint8Array", "Error"];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = spelling.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    if words.all(|word| KNOWN.contains(&word)) { spelling } else { "unknown" }
}

/// Global names that the declarations use, so that no type can have them.
const GLOBALS: [&str; 21] = [
    "Array",
    "Blob",
    "Date",
    "Error",
    "Function",
    "Headers",
    "Map",
    "Number",
    "Object",
    "Partial",
    "Promise",
    "ReadableStream",
    "Record",
    "Request",
    "Response",
    "RpcStub",
    "RpcTarget",
    "String",
    "URL",
    "Uint8Array",
    "WritableStream",
];

fn mentions(text: &str, name: &str) -> bool {
    ["<", " ", "(", "["].iter().any(|before| text.contains(&format!("{before}{name}")))
}

/// Converts the spelling of a type into one word: `Task[]` becomes `TaskList`.
fn words(spelling: &str) -> String {
    let spelling = spelling.replace("[]", " list").replace("RpcStub<", "");
    let words = spelling.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// The members of an interface that is being described.
#[derive(Debug)]
pub struct InterfaceOf<'d> {
    to: &'d mut Declarations,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    key: String,
    docs: String,
    /// `None` for a property.
    arguments: Option<Vec<(String, Type)>>,
    result: Type,
}

impl InterfaceOf<'_> {
    /// Adds a method without arguments.
    pub fn method<R: TypeScript, E: RpcError>(&mut self, name: &str, docs: &'static str) {
        self.member::<R, E>(name, docs, Some(Vec::new()));
    }

    /// Adds a property.
    pub fn property<R: TypeScript, E: RpcError>(&mut self, name: &str, docs: &'static str) {
        self.member::<R, E>(name, docs, None);
    }

    /// Adds an argument to the last method.
    pub fn argument<T: TypeScript>(&mut self, name: &str) {
        let ty = T::describe(self.to);
        self.push_argument(argument_name(name), ty);
    }

    /// Adds a variadic argument of type `T` to the last method.
    pub fn rest<T: TypeScript>(&mut self, name: &str) {
        let ty = T::describe(self.to).list();
        self.push_argument(format!("...{}", argument_name(name)), ty);
    }

    fn push_argument(&mut self, name: String, ty: Type) {
        if let Some(arguments) = self.members.last_mut().and_then(|member| member.arguments.as_mut()) {
            arguments.push((name, ty));
        }
    }

    fn member<R: TypeScript, E: RpcError>(
        &mut self,
        name: &str,
        docs: &'static str,
        arguments: Option<Vec<(String, Type)>>,
    ) {
        let result = R::describe(self.to);
        let mut docs = docs.trim().to_owned();
        if let Some(error) = E::description() {
            let name = self.to.error(error);
            write!(docs, "\n@throws {{{name}}}").expect("writing to a String cannot fail");
        }
        self.members.push(Member { key: property_key(name), docs, arguments, result });
    }
}

impl Member {
    /// Returns the documentation and the declaration of the member.
    fn spelled(self) -> (String, String) {
        let Self { key, docs, arguments, result } = self;
        let text = match arguments {
            None => format!("readonly {key}: {}", result.whole()),
            Some(arguments) => format!("{key}({}): {}", parameters(&arguments), result.promised()),
        };
        (docs, text)
    }
}

/// Returns a valid JavaScript name for an argument, which is not a keyword.
fn argument_name(name: &str) -> String {
    const KEYWORDS: [&str; 38] = [
        "arguments",
        "await",
        "case",
        "catch",
        "class",
        "const",
        "debugger",
        "default",
        "delete",
        "do",
        "enum",
        "eval",
        "export",
        "extends",
        "finally",
        "function",
        "implements",
        "import",
        "in",
        "instanceof",
        "interface",
        "let",
        "new",
        "null",
        "package",
        "private",
        "protected",
        "public",
        "static",
        "super",
        "switch",
        "this",
        "throw",
        "try",
        "typeof",
        "var",
        "void",
        "with",
    ];
    if KEYWORDS.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_is_an_interface_unless_it_includes_another_type() {
        let mut to = Declarations::default();
        let number = u32::describe(&mut to);
        let plain = Fields::default().field("n", "", &number, false);
        let root = to.data::<u8>("Plain", &[], "", |_| Shape::Object(plain));
        to.data::<u16>("Joined", &[], "", |to| Shape::Object(Fields::default().flatten::<u32>(to)));
        let text = to.into_text(&root);
        assert!(text.contains("export interface Plain {") && text.contains("n: number"), "{text}");
        assert!(text.contains("export type Joined = number;"), "{text}");
    }
}
