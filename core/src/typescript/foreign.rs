//! The TypeScript spelling of the standard library's types, as serde writes them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use super::{Declarations, Fields, Type, TypeScript};

macro_rules! spelled {
    ($($text:literal: $($ty:ty)*;)*) => {$($(
        impl TypeScript for $ty {
            fn describe(_: &mut Declarations) -> Type {
                Type::new($text)
            }
        }
    )*)*};
}
spelled! {
    "boolean": bool;
    "number": i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64
        num::NonZeroI8 num::NonZeroI16 num::NonZeroI32 num::NonZeroI64 num::NonZeroIsize
        num::NonZeroU8 num::NonZeroU16 num::NonZeroU32 num::NonZeroU64 num::NonZeroUsize;
    "string": char str String PathBuf IpAddr Ipv4Addr Ipv6Addr SocketAddr SocketAddrV4 SocketAddrV6;
}

impl TypeScript for () {
    fn describe(_: &mut Declarations) -> Type {
        Type::nothing()
    }

    fn arguments(_: &mut Declarations) -> Vec<Type> {
        Vec::new()
    }
}

impl TypeScript for Duration {
    fn describe(_: &mut Declarations) -> Type {
        let number = Type::new("number");
        Fields::default().field("secs", "", &number, false).field("nanos", "", &number, false).into_type()
    }
}

impl<T: TypeScript> TypeScript for Option<T> {
    fn describe(to: &mut Declarations) -> Type {
        T::describe(to).optional()
    }
}

/// An object with the key `Ok` or `Err`, as serde writes it.
impl<T: TypeScript, E: TypeScript> TypeScript for Result<T, E> {
    fn describe(to: &mut Declarations) -> Type {
        let of = |key, ty: Type| Fields::default().field(key, "", &ty, false).into_type();
        let (ok, err) = (of("Ok", T::describe(to)), of("Err", E::describe(to)));
        super::Variants::default().variant("", &ok).variant("", &err).into_type()
    }
}

macro_rules! transparent {
    ($($ty:ident)*) => {$(
        impl<T: TypeScript> TypeScript for $ty<T> {
            fn describe(to: &mut Declarations) -> Type {
                T::describe(to)
            }
        }
    )*};
}
transparent!(Arc Mutex RwLock);

impl<T: TypeScript + ?Sized> TypeScript for Box<T> {
    fn describe(to: &mut Declarations) -> Type {
        T::describe(to)
    }
}

impl<T: TypeScript + ToOwned + ?Sized> TypeScript for Cow<'static, T> {
    fn describe(to: &mut Declarations) -> Type {
        T::describe(to)
    }
}

impl<T: TypeScript> TypeScript for [T] {
    fn describe(to: &mut Declarations) -> Type {
        T::describe(to).list()
    }
}

macro_rules! lists {
    ($($ty:ident<$($of:ident),*>)*) => {$(
        impl<T: TypeScript, $($of: 'static),*> TypeScript for $ty<T, $($of),*> {
            fn describe(to: &mut Declarations) -> Type {
                T::describe(to).list()
            }
        }
    )*};
}
lists!(Vec<> VecDeque<> LinkedList<> BinaryHeap<> BTreeSet<> HashSet<S>);

impl<T: TypeScript, const N: usize> TypeScript for [T; N] {
    fn describe(to: &mut Declarations) -> Type {
        Type::tuple(&vec![T::describe(to); N])
    }
}

/// Keys of any type are strings on the wire.
impl<K: 'static, V: TypeScript> TypeScript for BTreeMap<K, V> {
    fn describe(to: &mut Declarations) -> Type {
        V::describe(to).record()
    }
}

/// Keys of any type are strings on the wire.
impl<K: 'static, V: TypeScript, S: 'static> TypeScript for HashMap<K, V, S> {
    fn describe(to: &mut Declarations) -> Type {
        V::describe(to).record()
    }
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: TypeScript),+> TypeScript for ($($name,)+) {
            fn describe(to: &mut Declarations) -> Type {
                Type::tuple(&Self::arguments(to))
            }

            fn arguments(to: &mut Declarations) -> Vec<Type> {
                vec![$($name::describe(to)),+]
            }
        }
    )*};
}
tuples! {
    (A)
    (A B)
    (A B C)
    (A B C D)
    (A B C D E)
    (A B C D E F)
    (A B C D E F G)
    (A B C D E F G H)
}
