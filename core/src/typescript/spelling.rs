//! How types are spelled: text, and what is put around it where it stands. Nothing here knows of
//! Rust's types.

use std::fmt::Write;

use super::{Declarations, TypeScript};

/// Longest line that a type is written on.
const LINE_CHARS_MAX: usize = 100;

/// A type as TypeScript writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    text: String,
    /// It may be `null`, which `text` does not say.
    null: bool,
    /// A field of this type may be missing.
    missing: bool,
}

impl Type {
    /// A type of which `text` is the whole spelling.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), null: false, missing: false }
    }

    /// A string that is this one.
    pub fn literal(text: &str) -> Self {
        Self::new(quoted(text))
    }

    /// What nothing at all is: `undefined` in data, `void` as a result.
    pub fn nothing() -> Self {
        Self { text: "undefined".to_owned(), null: false, missing: true }
    }

    /// The type, or `null`, or left out.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { null: true, missing: true, ..self }
    }

    /// A list of it.
    #[must_use]
    pub fn list(&self) -> Self {
        Self::new(format!("{}[]", self.atom()))
    }

    /// A list of these.
    pub fn tuple(items: &[Self]) -> Self {
        let items: Vec<_> = items.iter().map(Self::whole).collect();
        Self::new(format!("[{}]", items.join(", ")))
    }

    /// What `generic` is of it.
    #[must_use]
    pub fn within(&self, generic: &str) -> Self {
        Self::new(format!("{generic}<{}>", self.whole()))
    }

    /// Objects with any keys and values of this type.
    #[must_use]
    pub fn record(&self) -> Self {
        Self::new(format!("Record<string, {}>", self.whole()))
    }

    /// A function.
    pub fn function(arguments: &[Self], result: &Self) -> Self {
        let name = |at| if arguments.len() == 1 { "value".to_owned() } else { format!("value{}", at + 1) };
        // None is optional: who calls it sends them all.
        let arguments: Vec<_> =
            arguments.iter().enumerate().map(|(at, ty)| format!("{}: {}", name(at), ty.whole())).collect();
        let result = if result.is_nothing() { "void".to_owned() } else { result.soon() };
        Self::new(format!("({}) => {result}", arguments.join(", ")))
    }

    /// The whole spelling.
    pub(super) fn whole(&self) -> String {
        match (self.null, self.top_level("=>")) {
            (false, _) => self.text.clone(),
            (true, false) => format!("{} | null", self.text),
            (true, true) => format!("({}) | null", self.text),
        }
    }

    /// The spelling in parentheses if anything less would be misread.
    pub(super) fn atom(&self) -> String {
        let whole = self.whole();
        let compound = self.null || ["=>", "|", "&"].iter().any(|sign| self.top_level(sign));
        if compound { format!("({whole})") } else { whole }
    }

    /// What a method has as its result.
    pub(super) fn promised(&self) -> String {
        if self.is_nothing() { "void | Promise<void>".to_owned() } else { format!("Promise<{}>", self.whole()) }
    }

    /// At once or later.
    fn soon(&self) -> String {
        format!("{} | Promise<{}>", self.whole(), self.whole())
    }

    fn is_nothing(&self) -> bool {
        !self.null && self.text == "undefined"
    }

    /// Whether `sign` stands outside of all brackets and quotes.
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

/// Parameters of a function or method. The last ones can be left out if they are optional.
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
    /// Spellings of the types whose fields are its fields, too.
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
    /// Adds a field that says which of several objects this is.
    #[must_use]
    pub fn tag(self, key: &str, value: &str) -> Self {
        self.field(key, "", &Type::literal(value), false)
    }

    /// Adds a field. `missing`: it can be left out whatever its type.
    #[must_use]
    pub fn field(mut self, key: &str, docs: &'static str, ty: &Type, missing: bool) -> Self {
        self.own.push(Field { key: property_key(key), docs, optional: missing || ty.missing, ty: ty.whole() });
        self
    }

    /// Adds the fields of `T`.
    #[must_use]
    pub fn flatten<T: TypeScript>(mut self, to: &mut Declarations) -> Self {
        let ty = T::describe(to);
        self.flattened.push(if ty.null { format!("Partial<{}>", ty.text) } else { ty.atom() });
        self
    }

    /// The object as a type; on one line if that can be.
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

    /// The fields on lines of their own; `None` if it takes more than an object to write them.
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
    /// Adds one.
    #[must_use]
    pub fn variant(mut self, docs: &'static str, ty: &Type) -> Self {
        self.0.push((docs, ty.whole()));
        self
    }

    /// The union.
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

/// `{`, each member with its comment, `}`.
pub(super) fn block(members: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = String::from("{\n");
    for (docs, member) in members {
        for line in comment(&docs).lines().chain(format!("{member};").lines()) {
            writeln!(text, "  {line}").expect("a String takes all that is written");
        }
    }
    text.push('}');
    text
}

/// Documentation as TypeScript has it, or nothing.
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

/// A key of an object type, in quotes if it takes them.
pub(super) fn property_key(key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && !key.is_empty();
    if plain { key.to_owned() } else { quoted(key) }
}

/// A string literal.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => write!(quoted, "\\u{{{:x}}}", u32::from(c)).expect("a String takes all"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn fits(line: &str) -> bool {
    line.chars().count() <= LINE_CHARS_MAX && !line.contains('\n')
}
