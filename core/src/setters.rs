//! The chained setters of configuration types, written by one macro so that all look alike.

/// Writes a chained setter for each listed field of a configuration type.
///
/// A setter takes a value of the field's type. After `as Into`, it takes anything that converts into it; after
/// `as Some`, the field is an `Option` of the named type, and the setter takes what converts into that.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    (@one $field:ident: $ty:ty) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $ty) -> Self {
            self.$field = $field;
            self
        }
    };
    (@one $field:ident: $ty:ty as Into) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$ty>) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (@one $field:ident: $ty:ty as Some) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$ty>) -> Self {
            self.$field = Some($field.into());
            self
        }
    };
    ($name:ident { $($field:ident: $ty:ty $(as $how:ident)?,)+ }) => {
        /// Setters, one for each field.
        impl $name {
            $($crate::setters!(@one $field: $ty $(as $how)?);)+
        }
    };
}
