//! Texts that no encoder writes, which both implementations read equally, or with a listed difference.

use bowline_core::value::Value;

use super::allowed::Allowed;
use super::describe::describe;
use super::node::Reading;
use super::values::Random;
use super::{Receiver, sent};

/// The number of random texts.
const SPELLINGS: usize = 5_000;

/// Returns texts, each with its expected difference, if any.
pub(super) fn texts(random: &mut Random) -> Vec<(String, Option<&'static str>)> {
    let mut texts: Vec<(String, Option<&str>)> = ALIKE.iter().map(|text| ((*text).to_owned(), None)).collect();
    texts.extend(DIFFERENT.iter().map(|(text, id)| ((*text).to_owned(), Some(*id))));
    texts.extend((0..SPELLINGS).map(|_| (spelling(random), None)));
    texts
}

/// Returns the text of a value with white space and repeated names, which no encoder writes.
fn spelling(random: &mut Random) -> String {
    let text = sent(&random.nth_value(0));
    let mut out = String::new();
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            '"' if !escaped => in_string = !in_string,
            // Not as the first names of an object, which would change the order of the others.
            '}' if !in_string && !out.trim_end().ends_with('{') && random.below(3) == 0 => {
                out.push_str(",\"\\u0061\":1,\"a\":[\"nan\"]")
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
        if !in_string && "[]{},:".contains(c) && random.below(6) == 0 {
            out.push(*random.pick(&[' ', '\t', '\r']));
        }
    }
    out
}

/// Asserts that both read the same value, that both refuse the text, or that the listed difference occurs.
pub(super) fn compare(receiver: &mut Receiver, allowed: &mut Allowed, text: &str, id: Option<&str>, theirs: &Reading) {
    const ORDER: [&str; 6] = [
        "integer-names-first",
        "error-property-order",
        "error-class",
        "error-field",
        "aggregate-errors",
        "error-stack",
    ];
    let ours: Result<Value, String> = receiver.receive(text);
    let ours = ours.map(|value| describe(&value, &ORDER));
    let theirs = match theirs {
        Reading::Read { is, .. } => Ok(is.clone()),
        Reading::Refused { error } => Err(error.clone()),
    };
    let alike = match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        (ours, theirs) => ours.is_err() && theirs.is_err(),
    };
    match id {
        Some(id) if allowed.ids.contains(&id) => {
            assert!(!alike, "{text} does not show {id}: both read {ours:?}");
            allowed.met(id);
        }
        _ => assert!(alike, "Bowline reads {text} as {ours:?}, and the official package as {theirs:?}"),
    }
}

const DIFFERENT: &[(&str, &str)] = &[
    (r#"["bigint",""]"#, "lax-bigint"),
    (r#"["bigint"," 7 "]"#, "lax-bigint"),
    (r#"["bigint","+5"]"#, "lax-bigint"),
    (r#"["bigint","0x1F"]"#, "lax-bigint"),
    (r#"["bytes","A Q I"]"#, "lax-base64"),
    (r#"["bytes","AQI!"]"#, "lax-base64"),
    (r#"["headers",[["a",1]]]"#, "lax-headers"),
    (r#"["request","https://ex.com/",{"headers":[["a",true]]}]"#, "lax-headers"),
];

const ALIKE: &[&str] = &[
    "1.0",
    "-0",
    "-0.0",
    "1e400",
    "-1e400",
    "1E2",
    "1e-400",
    "0.1e1",
    "9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890",
    " [ [ 1 , [ [ ] ] ] ] ",
    "[[]]",
    "{}",
    r#"{"a":1,"b":2,"a":3}"#,
    r#"{"a":1,"\u0061":2}"#,
    r#"{"2":1,"1":2,"2":3}"#,
    r#"{"toString":1,"a":{"__proto__":[["x"]]},"toJSON":["date",1]}"#,
    r#""\ud83d\udea3\u0000\/""#,
    r#"["date",1.7]"#,
    r#"["date",-1.7]"#,
    r#"["date",-0.5]"#,
    r#"["date",8640000000000000]"#,
    r#"["date",8640000000000001]"#,
    r#"["date",1e300]"#,
    r#"["date",null]"#,
    r#"["date","1"]"#,
    r#"["date"]"#,
    r#"["undefined"]"#,
    r#"["undefined",1]"#,
    r#"["inf",1]"#,
    r#"["nan","x"]"#,
    r#"["bigint","-0"]"#,
    r#"["bigint","007"]"#,
    r#"["bigint","1.5"]"#,
    r#"["bigint","--1"]"#,
    r#"["bigint",1]"#,
    r#"["bytes","AQI="]"#,
    r#"["bytes","AQ=="]"#,
    r#"["bytes","_-8"]"#,
    r#"["bytes","AQI","Uint8Array"]"#,
    r#"["bytes","AQI","Int16Array"]"#,
    r#"["bytes","AQIB","Int16Array"]"#,
    r#"["bytes","AQI","Nope"]"#,
    r#"["bytes","AQI",1]"#,
    r#"["bytes","AQJ"]"#,
    r#"["error","TypeError","m",1]"#,
    r#"["error","TypeError","m",null]"#,
    r#"["error","TypeError","m","at x",{"a":1}]"#,
    r#"["error","TypeError","m",["nonsense"],{"a":1}]"#,
    r#"["error","TypeError","m",null,[]]"#,
    r#"["error","TypeError","m",null,{"name":"x","toString":1,"cause":["error","Error","c"]}]"#,
    r#"["error","AggregateError","m",null,{"errors":[[1,["error","Error","e"]]]}]"#,
    r#"["url","HTTPS://EX.com:443/a/../b?x y#\u00e9"]"#,
    r#"["url","nonsense"]"#,
    r#"["headers",[["B","2"],["a"," 1 "],["b","3"],["Set-Cookie","x"],["set-cookie","y"]]]"#,
    r#"["headers",[["a b","1"]]]"#,
    r#"["headers",[["a","\n"]]]"#,
    r#"["headers",[["a"]]]"#,
    r#"["request","https://ex.com/",{"method":"put","headers":[["A","1"]]}]"#,
    r#"["request","/relative",{}]"#,
    r#"["request","https://ex.com/",{"signal":null}]"#,
    r#"["request","https://ex.com/",{"signal":1}]"#,
    r#"["request","https://ex.com/",[]]"#,
    r#"["request","https://ex.com/",null]"#,
    r#"["request","https://ex.com/",{"mode":"navigate"}]"#,
    r#"["request","https://ex.com/",{"mode":"no-cors","method":"POST"}]"#,
    r#"["request","https://ex.com/",{"cache":"only-if-cached"}]"#,
    r#"["request","https://ex.com/",{"referrer":"::"}]"#,
    r#"["request","https://ex.com/",{"window":null}]"#,
    r#"["request","https://ex.com/",{"dispatcher":5,"priority":"x"}]"#,
    r#"["request","https://ex.com/",{"body":"x"}]"#,
    r#"["request","https://ex.com/",{"body":["undefined"],"method":"PUT"}]"#,
    r#"["response","x",{"status":204}]"#,
    r#"["response",null,[1]]"#,
    r#"["response",["undefined"],{}]"#,
    r#"["response",null,{"statusText":"a\nb"}]"#,
    r#"["error","Error","m",null,{"stack":["nope"],"name":["export",-1],"a":1}]"#,
    r#"["request","https://ex.com/",{"method":"TRACE"}]"#,
    r#"["request","https://a:b@ex.com/",{}]"#,
    r#"["response",null,{"webSocket":null}]"#,
    r#"["response",null,{"headers":[["a","\u0100"]]}]"#,
    r#"["response",null,{"status":204}]"#,
    r#"["response",null,{"status":99}]"#,
    "[]",
    "[1]",
    r#"["nope"]"#,
    "[[1],2]",
    "[null]",
    "nul",
    "1 2",
    "",
    r#"{"a":1,}"#,
    "\"\u{1}\"",
];
