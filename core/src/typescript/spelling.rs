//! The spelling of types as text, independent of Rust's types.

use std::fmt::Write;

use super::{Declarations, TypeScript};

/// The longest line for a type on one line.
const LINE_CHARS_MAX: usize = 100;

/// A TypeScript type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    text: String,
    /// Whether the type can be `null`, which `text` does not include.
    null: bool,
    /// Whether a field of this type may be missing.
    missing: bool,
}

impl Type {
    /// Creates a type that is spelled `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), null: false, missing: false }
    }

    /// Creates the type of one string.
    pub fn literal(text: &str) -> Self {
        Self::new(quoted(text))
    }

    /// Creates the type of no value: `undefined` in data, and `void` as a result.
    pub fn nothing() -> Self {
        Self { text: "undefined".to_owned(), null: false, missing: true }
    }

    /// Makes the type optional: it may be `null` or missing.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { null: true, missing: true, ..self }
    }

    /// Returns the type of an array of this type.
    #[must_use]
    pub fn list(&self) -> Self {
        Self::new(format!("{}[]", self.atom()))
    }

    /// Returns the type of a tuple.
    pub fn tuple(items: &[Self]) -> Self {
        let items: Vec<_> = items.iter().map(Self::whole).collect();
        Self::new(format!("[{}]", items.join(", ")))
    }

    /// Returns the type `generic<Self>`.
    #[must_use]
    pub fn within(&self, generic: &str) -> Self {
        Self::new(format!("{generic}<{}>", self.whole()))
    }

    /// Returns the type of objects with arbitrary keys and values of this type.
    #[must_use]
    pub fn record(&self) -> Self {
        Self::new(format!("Record<string, {}>", self.whole()))
    }

    /// Returns the type of a function.
    pub fn function(arguments: &[Self], result: &Self) -> Self {
        let name = |at| if arguments.len() == 1 { "value".to_owned() } else { format!("value{}", at + 1) };
        // No argument is optional, because the caller always sends all of them.
        let arguments: Vec<_> =
            arguments.iter().enumerate().map(|(at, ty)| format!("{}: {}", name(at), ty.whole())).collect();
        let result = if result.is_nothing() { "void".to_owned() } else { result.soon() };
        Self::new(format!("({}) => {result}", arguments.join(", ")))
    }

    /// Returns the complete spelling.
    pub(super) fn whole(&self) -> String {
        match (self.null, self.top_level("=>")) {
            (false, _) => self.text.clone(),
            (true, false) => format!("{} | null", self.text),
            (true, true) => format!("({}) | null", self.text),
        }
    }

    /// Returns the spelling, in parentheses if it would be ambiguous otherwise.
    pub(super) fn atom(&self) -> String {
        let whole = self.whole();
        let compound = self.null || ["=>", "|", "&"].iter().any(|sign| self.top_level(sign));
        if compound { format!("({whole})") } else { whole }
    }

    /// Returns the result type of a method.
    pub(super) fn promised(&self) -> String {
        if self.is_nothing() { "void | Promise<void>".to_owned() } else { format!("Promise<{}>", self.whole()) }
    }

    /// Returns the type of a result that is available immediately or later.
    fn soon(&self) -> String {
        format!("{} | Promise<{}>", self.whole(), self.whole())
    }

    fn is_nothing(&self) -> bool {
        !self.null && self.text == "undefined"
    }

    /// Returns `true` if `sign` occurs outside of all brackets and strings.
    fn top_level(&self, sign: &str) -> bool {
        let mut depth = 0_usize;
        let mut in_string = false;
        let mut before = ' ';
        for (at, c) in self.text.char_indices() {
            match c {
                '"' if before != '\\' => in_string = !in_string,
                _ if in_string => {}
                _ if depth == 0 && self.text[at..].starts_with(sign) => return true,
                '(' | '[' | '{' | '<' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                '>' if before != '=' => depth = depth.saturating_sub(1),
                _ => {}
            }
            before = c;
        }
        false
    }
}

/// Returns the parameters of a function or method. Trailing optional ones may be omitted.
pub(super) fn parameters(arguments: &[(String, Type)]) -> String {
    let required = arguments.iter().rposition(|(_, ty)| !ty.missing).map_or(0, |last| last + 1);
    let spelled: Vec<_> = arguments
        .iter()
        .enumerate()
        .map(|(at, (name, ty))| match (at < required, ty.missing && ty.null) {
            (true, true) => format!("{name}: {} | undefined", ty.whole()),
            (true, false) => format!("{name}: {}", ty.whole()),
            (false, _) => format!("{name}?: {}", ty.whole()),
        })
        .collect();
    spelled.join(", ")
}

/// The fields of an object.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    own: Vec<Field>,
    /// The spellings of flattened types, whose fields are included.
    flattened: Vec<String>,
}

#[derive(Clone, Debug)]
struct Field {
    key: String,
    docs: &'static str,
    optional: bool,
    ty: String,
}

impl Fields {
    /// Adds a field that identifies the variant.
    #[must_use]
    pub fn tag(self, key: &str, value: &str) -> Self {
        self.field(key, "", &Type::literal(value), false)
    }

    /// Adds a field. If `missing` is true, it may be omitted regardless of its type.
    #[must_use]
    pub fn field(mut self, key: &str, docs: &'static str, ty: &Type, missing: bool) -> Self {
        self.own.push(Field { key: property_key(key), docs, optional: missing || ty.missing, ty: ty.whole() });
        self
    }

    /// Adds all fields of `T`.
    #[must_use]
    pub fn flatten<T: TypeScript>(mut self, to: &mut Declarations) -> Self {
        let ty = T::describe(to);
        self.flattened.push(if ty.null { format!("Partial<{}>", ty.text) } else { ty.atom() });
        self
    }

    /// Returns the object as a type, on one line if it fits.
    pub fn into_type(self) -> Type {
        let fields: Vec<_> = self.own.iter().map(Field::spelled).collect();
        let line = format!("{{ {} }}", fields.join("; "));
        let own = match fields.as_slice() {
            [] if !self.flattened.is_empty() => None,
            [] => Some("{}".to_owned()),
            _ if self.own.iter().all(|field| field.docs.is_empty()) && fits(&line) => Some(line),
            _ => Some(self.block()),
        };
        let parts: Vec<_> = own.into_iter().chain(self.flattened).collect();
        Type::new(parts.join(" & "))
    }

    /// Returns the fields on separate lines, or `None` if flattened types make it an intersection.
    pub(super) fn as_block(&self) -> Option<String> {
        self.flattened.is_empty().then(|| self.block())
    }

    fn block(&self) -> String {
        let members = self.own.iter().map(|field| (field.docs.to_owned(), field.spelled()));
        block(members)
    }
}

impl Field {
    fn spelled(&self) -> String {
        format!("{}{}: {}", self.key, if self.optional { "?" } else { "" }, self.ty)
    }
}

/// The alternatives of a union.
#[derive(Clone, Debug, Default)]
pub struct Variants(Vec<(&'static str, String)>);

impl Variants {
    /// Adds a variant.
    #[must_use]
    pub fn variant(mut self, docs: &'static str, ty: &Type) -> Self {
        self.0.push((docs, ty.whole()));
        self
    }

    /// Returns the union.
    pub fn into_type(self) -> Type {
        if self.0.is_empty() {
            return Type::new("never");
        }
        let spelled: Vec<_> = self.0.iter().map(|(_, ty)| ty.as_str()).collect();
        let line = spelled.join(" | ");
        if self.0.iter().all(|(docs, _)| docs.is_empty()) && fits(&line) {
            return Type::new(line);
        }
        let mut text = String::new();
        for (docs, ty) in self.0 {
            for line in comment(docs).lines().chain([format!("| {ty}").as_str()]) {
                text.push_str("\n  ");
                text.push_str(&line.replace('\n', "\n  "));
            }
        }
        Type::new(text)
    }
}

/// Returns members in braces, each with its comment.
pub(super) fn block(members: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = String::from("{\n");
    for (docs, member) in members {
        for line in comment(&docs).lines().chain(format!("{member};").lines()) {
            writeln!(text, "  {line}").expect("writing to a String cannot fail");
        }
    }
    text.push('}');
    text
}

/// Returns documentation as a TypeScript comment, or an empty string if there is none.
pub(super) fn comment(docs: &str) -> String {
    let docs = docs.trim().replace("*/", "*\\/");
    match docs.lines().count() {
        0 => String::new(),
        1 => format!("/** {docs} */\n"),
        _ => {
            let lines = docs.lines().map(|line| format!(" * {}", line.trim_end()).trim_end().to_owned() + "\n");
            format!("/**\n{} */\n", lines.collect::<String>())
        }
    }
}

/// Returns a key of an object type, in quotes if necessary.
pub(super) fn property_key(key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && !key.is_empty();
    if plain { key.to_owned() } else { quoted(key) }
}

/// Returns a string literal.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => {
                write!(quoted, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String cannot fail")
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn fits(line: &str) -> bool {
    line.chars().count() <= LINE_CHARS_MAX && !line.contains('\n')
}
