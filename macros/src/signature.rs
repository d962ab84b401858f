//! Checks of the types in a method's signature. What only the compiler can know, such as whether a
//! type is serializable, is left to the bounds of the generated code.

use syn::visit::{self, Visit};
use syn::{GenericArgument, PathArguments, Type, TypeImplTrait, TypePath, TypeReference, TypeSlice};

use crate::faults::Faults;

/// Reports each part of `ty` that cannot cross the wire.
pub(crate) fn check_type(ty: &Type, faults: &mut Faults) {
    Check { faults }.visit_type(ty);
}

/// Returns the type arguments if `ty` is a path that ends in `name`.
pub(crate) fn type_arguments<'t>(ty: &'t Type, name: &str) -> Option<Vec<&'t Type>> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| path.qself.is_none() && last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return Some(Vec::new());
    };
    let of_type = |argument: &'t GenericArgument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    };
    Some(arguments.args.iter().filter_map(of_type).collect())
}

/// Returns TypeScript's name of a type, as far as it follows from the type's name; otherwise the
/// type's name.
pub(crate) fn type_text(ty: &Type) -> String {
    let of = |name| type_arguments(ty, name).and_then(|of| of.first().map(|ty| type_text(ty)));
    if let Some(inner) = of("Option") {
        return format!("{inner} | null");
    } else if let Some(inner) = of("Vec") {
        return format!("{inner}[]");
    } else if let Some(inner) = of("Box").or_else(|| of("Arc")) {
        return inner;
    }
    let Type::Path(TypePath { path, .. }) = ty else { return "unknown".to_owned() };
    let name = path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
    let known = match name.as_str() {
        "bool" => "boolean",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "f32" | "f64" => "number",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "number",
        "char" | "str" | "String" => "string",
        "Bytes" => "Uint8Array",
        "BigInt" => "bigint",
        "Value" => "unknown",
        _ => return name,
    };
    known.to_owned()
}

struct Check<'f> {
    faults: &'f mut Faults,
}

const BYTES: &str = "serde serializes this as a list of numbers: use `bowline::Bytes` for bytes";

impl<'t> Visit<'t> for Check<'_> {
    fn visit_type_impl_trait(&mut self, ty: &'t TypeImplTrait) {
        self.faults.at(
            ty,
            "name the type, because the peer must know it; for an object, use the reference type of its interface",
        );
    }

    fn visit_type_reference(&mut self, ty: &'t TypeReference) {
        self.faults.at(ty, "use an owned type: values that arrive from a peer cannot be borrowed");
    }

    fn visit_type_slice(&mut self, ty: &'t TypeSlice) {
        if is_u8(&ty.elem) {
            self.faults.at(ty, BYTES);
        }
        visit::visit_type_slice(self, ty);
    }

    fn visit_type_path(&mut self, ty: &'t TypePath) {
        if ty.qself.is_none() && ty.path.is_ident("Self") {
            self.faults.at(ty, "callers do not know `Self`: use the reference type of the interface");
        }
        if let Some(last) = ty.path.segments.last()
            && last.ident == "Vec"
            && let PathArguments::AngleBracketed(of) = &last.arguments
            && let Some(GenericArgument::Type(element)) = of.args.first()
            && is_u8(element)
        {
            self.faults.at(ty, BYTES);
            return;
        }
        visit::visit_type_path(self, ty);
    }
}

fn is_u8(ty: &Type) -> bool {
    matches!(ty, Type::Path(ty) if ty.qself.is_none() && ty.path.is_ident("u8"))
}
