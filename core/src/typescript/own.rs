//! The TypeScript spelling of Bowline's types.

use super::{Declarations, Type, TypeScript};
use crate::peer::stream::{Reader, Writer};
use crate::peer::{Func, Promise, Stub};
use crate::value::{BigInt, Blob, Bytes, Date, ErrorValue, Headers, Object, Request, Response, Url, Value};

macro_rules! spelled {
    ($($ty:ty: $text:literal;)*) => {$(
        impl TypeScript for $ty {
            fn describe(_: &mut Declarations) -> Type {
                Type::new($text)
            }
        }
    )*};
}
spelled! {
    BigInt: "bigint";
    Blob: "Blob";
    Bytes: "Uint8Array";
    Date: "Date";
    ErrorValue: "Error";
    Headers: "Headers";
    Object: "Record<string, unknown>";
    Request: "Request";
    Response: "Response";
    Stub: "RpcStub<any>";
    Url: "URL";
    Value: "unknown";
}

impl<A: TypeScript, R: TypeScript, E: 'static> TypeScript for Func<A, R, E> {
    fn describe(to: &mut Declarations) -> Type {
        let arguments = A::arguments(to);
        Type::function(&arguments, &R::describe(to))
    }
}

/// A promise in data is written as its result, because the receiver gets the result in its place.
impl<T: TypeScript, E: 'static> TypeScript for Promise<T, E> {
    fn describe(to: &mut Declarations) -> Type {
        T::describe(to)
    }
}

impl<T: TypeScript> TypeScript for Reader<T> {
    fn describe(to: &mut Declarations) -> Type {
        T::describe(to).within("ReadableStream")
    }
}

impl<T: TypeScript> TypeScript for Writer<T> {
    fn describe(to: &mut Declarations) -> Type {
        T::describe(to).within("WritableStream")
    }
}
