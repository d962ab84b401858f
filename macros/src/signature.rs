//! Which types can stand in the signature of a method. What only the compiler can know (whether a
//! type can be serialized, say) is left to the bounds of the generated code.

use syn::visit::{self, Visit};
use syn::{GenericArgument, PathArguments, Type, TypeImplTrait, TypePath, TypeReference, TypeSlice};

use crate::faults::Faults;

/// Reports each part of `ty` that can not cross the wire.
pub(crate) fn check_type(ty: &Type, faults: &mut Faults) {
    Check { faults }.visit_type(ty);
}

struct Check<'f> {
    faults: &'f mut Faults,
}

const BYTES: &str = "serde writes this as a list of numbers: use `bowline::Bytes` for bytes";

impl<'t> Visit<'t> for Check<'_> {
    fn visit_type_impl_trait(&mut self, ty: &'t TypeImplTrait) {
        self.faults.at(
            ty,
            "name the type: the peer has to know what arrives (for an object, use the reference type of its interface)",
        );
    }

    fn visit_type_reference(&mut self, ty: &'t TypeReference) {
        self.faults.at(ty, "use an owned type: what arrives from a peer can not be borrowed");
    }

    fn visit_type_slice(&mut self, ty: &'t TypeSlice) {
        if is_u8(&ty.elem) {
            self.faults.at(ty, BYTES);
        }
        visit::visit_type_slice(self, ty);
    }

    fn visit_type_path(&mut self, ty: &'t TypePath) {
        if ty.qself.is_none() && ty.path.is_ident("Self") {
            self.faults.at(ty, "the caller does not know `Self`: use the reference type of the interface");
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
