//! Random values of Rust, which are the same for the same seed.

use bowline_core::value::{BigInt, Bytes, BytesKind, Date, ErrorValue, Headers, Object, Request, Response, Url, Value};

const STRINGS: [&str; 11] = [
    "",
    "a",
    "@",
    "\0",
    "\u{1f6a3}",
    "\u{2028}\u{2029}",
    "\"\\/\u{8}\u{c}\n\r\t",
    "\u{e9}\u{7f}",
    "\u{fffd}",
    "[\"@\"]",
    "\u{1a}",
];
const NUMBERS: [f64; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    9_007_199_254_740_992.0,
    9_007_199_254_740_994.0,
    -9_007_199_254_740_991.0,
    5e-324,
    f64::MAX,
    f64::MIN_POSITIVE,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1e21,
    1e-7,
];
const NAMES: [&str; 16] = [
    "a",
    "b",
    "",
    "0",
    "10",
    "9",
    "4294967294",
    "4294967295",
    "-1",
    "01",
    "length",
    "toString",
    "toJSON",
    "__proto__",
    "cause",
    "errors",
];
const CLASSES: [&str; 11] = [
    "Error",
    "EvalError",
    "RangeError",
    "ReferenceError",
    "SyntaxError",
    "TypeError",
    "URIError",
    "AggregateError",
    "Mine",
    "",
    "error",
];
const KINDS: [BytesKind; 13] = [
    BytesKind::Uint8Array,
    BytesKind::ArrayBuffer,
    BytesKind::DataView,
    BytesKind::Int8Array,
    BytesKind::Uint8ClampedArray,
    BytesKind::Int16Array,
    BytesKind::Uint16Array,
    BytesKind::Int32Array,
    BytesKind::Uint32Array,
    BytesKind::BigInt64Array,
    BytesKind::BigUint64Array,
    BytesKind::Float32Array,
    BytesKind::Float64Array,
];
/// The maximum depth of a value; the root is level 0.
const DEEPEST: u64 = 255;

/// A source of random values: splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }

    fn times<T>(&mut self, max: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(max + 1)).map(|_| make(self)).collect()
    }

    /// Returns the `n`-th value of a run. A few are as deep as the wire allows.
    pub(super) fn nth_value(&mut self, n: usize) -> Value {
        let depth = self.below(5);
        if n % 500 == 7 { self.deep() } else { self.value(depth) }
    }

    fn deep(&mut self) -> Value {
        (0..DEEPEST).fold(Value::from(self.below(9) as u32), |inner, _| match self.below(3) {
            0 => Value::from(vec![inner]),
            1 => Object::from([("k", inner)]).into(),
            _ => ErrorValue::new("Error", "deep").with_prop("value", inner).into(),
        })
    }

    fn value(&mut self, depth: u64) -> Value {
        if depth > 0 && self.below(3) > 0 {
            return match self.below(5) {
                0 => self.error(depth - 1).into(),
                1 | 2 => self.times(4, |random| random.value(depth - 1)).into(),
                _ => self.object(depth - 1).into(),
            };
        }
        match self.below(13) {
            0 => Value::Undefined,
            1 => Value::Null,
            2 => (self.below(2) == 0).into(),
            3 => self.bigint().into(),
            4 => Date::from_ms(self.number()).into(),
            5 => self.bytes().into(),
            6 => self.url().into(),
            7 => self.headers().into(),
            8 => self.request_or_response(),
            9 | 10 => self.number().into(),
            _ => self.text().into(),
        }
    }

    fn object(&mut self, depth: u64) -> Object {
        let entries = self.times(5, |random| {
            let name = if random.below(2) == 0 { (*random.pick(&NAMES)).to_owned() } else { random.text() };
            (name, random.value(depth))
        });
        entries.into_iter().collect()
    }

    fn error(&mut self, depth: u64) -> ErrorValue {
        let mut error = ErrorValue::new(*self.pick(&CLASSES), self.text());
        error.props = self.object(depth);
        if self.below(4) == 0 {
            error = error.with_cause(self.value(depth));
        }
        if error.name == "AggregateError" && self.below(2) == 0 {
            error = error.with_prop("errors", self.times(3, |random| random.value(depth)));
        }
        if self.below(8) == 0 {
            error = error.with_prop(*self.pick(&["name", "message", "stack"]), self.value(depth));
        }
        error.stack = (self.below(4) == 0).then(|| self.text());
        error
    }

    fn text(&mut self) -> String {
        if self.below(2) == 0 {
            return format!("{}{}", self.pick(&STRINGS), self.pick(&STRINGS));
        }
        let max = if self.below(20) == 0 { 300 } else { 12 };
        let chars = self.times(max, |random| match random.below(4) {
            0 => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{d7ff}'),
            _ => char::from(32 + random.below(95) as u8),
        });
        chars.into_iter().collect()
    }

    fn number(&mut self) -> f64 {
        match self.below(4) {
            0 => *self.pick(&NUMBERS),
            1 => self.below(2000) as f64 - 1000.0,
            2 => (self.below(1 << 32) as f64 - 2_147_483_648.0) / (1_u64 << self.below(40)) as f64,
            _ => f64::from_bits(self.next()),
        }
    }

    fn bigint(&mut self) -> BigInt {
        let max = if self.below(10) == 0 { 600 } else { 40 };
        let digits: String = self.times(max, |random| char::from(b'0' + random.below(10) as u8)).into_iter().collect();
        let sign = if self.below(2) == 0 { "-" } else { "" };
        BigInt::parse(&format!("{sign}1{digits}")).expect("the digits are valid")
    }

    fn bytes(&mut self) -> Bytes {
        let kind = *self.pick(&KINDS);
        let mut data = self.times(5, |random| random.next().to_le_bytes()).concat();
        if kind.element_size() == 1 {
            data.truncate(self.below(41) as usize);
        }
        Bytes::with_kind(kind, data).expect("a multiple of eight bytes fits all element sizes")
    }

    fn url(&mut self) -> Url {
        let path: String =
            self.times(6, |random| *random.pick(&['a', ' ', '\u{e9}', '%', '/', '.', '"', '|'])).into_iter().collect();
        Url::parse(&format!("https://ex.com/{path}?q={}#{}", self.below(9), self.pick(&["", "f"]))).expect("a URL")
    }

    fn headers(&mut self) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in self.times(4, |random| {
            (
                *random.pick(&["a", "B", "Set-Cookie", "x-y", "c_d"]),
                *random.pick(&["", "1", " x ", "\u{e9}", "a,b", "\tz"]),
            )
        }) {
            headers.append(name, value).expect("the header is valid");
        }
        headers
    }

    fn request_or_response(&mut self) -> Value {
        if self.below(2) == 0 {
            let method = (*self.pick(&["GET", "PUT", "POST", "DELETE"])).to_owned();
            return Request { method, headers: self.headers(), ..Request::get(self.url()) }.into();
        }
        let response = Response {
            status: *self.pick(&[200, 204, 304, 404, 599]),
            status_text: (*self.pick(&["", "no"])).to_owned(),
            headers: self.headers(),
            ..Response::default()
        };
        response.into()
    }
}
