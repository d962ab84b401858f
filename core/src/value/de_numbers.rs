//! Decoding of numbers: which of serde's types a number is visited as.

use serde::de::Visitor;

use super::DecodeError;
use super::bigint::EXACT_MAX;
use super::shape::Shape;

/// Returns the number as JavaScript reads it: correctly rounded, and infinite if it is too large.
pub(super) fn double(text: &str) -> Result<f64, DecodeError> {
    text.parse().map_err(|_| DecodeError::new(format_args!("not a number: {text}")))
}

/// Visits integers as such, in whatever form they are written, and other numbers as doubles.
pub(super) fn visit_number<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, DecodeError> {
    if let Ok(n) = text.parse::<u64>() {
        return visitor.visit_u64(n);
    }
    let n = double(text)?;
    let is_integer = n.fract() == 0.0 && n.abs() <= EXACT_MAX;
    if !is_integer || (n == 0.0 && n.is_sign_negative()) {
        visitor.visit_f64(n)
    } else if n < 0.0 {
        visitor.visit_i64(n as i64)
    } else {
        visitor.visit_u64(n as u64)
    }
}

/// Visits the narrowest type that all of serde's integers accept.
pub(super) fn visit_integer<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, DecodeError> {
    if let Ok(n) = text.parse::<u64>() {
        visitor.visit_u64(n)
    } else if let Ok(n) = text.parse::<i64>() {
        visitor.visit_i64(n)
    } else if let Ok(n) = text.parse::<i128>() {
        visitor.visit_i128(n)
    } else if let Ok(n) = text.parse::<u128>() {
        visitor.visit_u128(n)
    } else {
        match double(text) {
            // Written with a point or an exponent, such as 25.0 or 1e3.
            Ok(n) if n.fract() == 0.0 && n.abs() <= EXACT_MAX => visit_number(text, visitor),
            _ => Err(Shape::Number(text).mismatch(&visitor)),
        }
    }
}
