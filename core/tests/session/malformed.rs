//! Malformed values of a known form. Each rejects the call that contains it and nothing else, and
//! none is passed on.

use bowline_core::limits::Limits;

use super::pair::{Scripted, assert_idle};

fn scripted() -> Scripted {
    Scripted::new(Limits::default())
}

/// Values that no official peer can construct, with their errors.
const MALFORMED: &[(&str, &str, &str)] = &[
    (r#"["bigint","abc"]"#, "SyntaxError", "Cannot convert abc to a BigInt"),
    (r#"["bigint",""]"#, "SyntaxError", "Cannot convert  to a BigInt"),
    (r#"["bytes","!!"]"#, "SyntaxError", "bytes are not base64"),
    (r#"["bytes","aGk","Bogus"]"#, "TypeError", "Unknown bytes type marker: Bogus"),
    (r#"["bytes","aGk",{}]"#, "TypeError", "Unknown bytes type marker"),
    (
        r#"["bytes","aGk","Float64Array"]"#,
        "TypeError",
        "Invalid byte length 2 for Float64Array; expected a multiple of 8",
    ),
    (r#"["url","not a url"]"#, "TypeError", "Invalid URL: relative URL without a base"),
    (r#"["url","https://xn--a/"]"#, "TypeError", "Invalid URL: invalid international domain name"),
    (r#"["headers",[["a b","1"]]]"#, "TypeError", "Invalid header: a b"),
    (r#"["headers",[["a","\n1\n2"]]]"#, "TypeError", "Invalid header: a"),
    (r#"["headers",[["a"]]]"#, "TypeError", "headers must be an array of pairs of strings"),
    (r#"["headers",[["a",1]]]"#, "TypeError", "headers must be an array of pairs of strings"),
    (r#"["headers",[["a","1","2"]]]"#, "TypeError", "headers must be an array of pairs of strings"),
    (r#"["request","/a",{}]"#, "TypeError", "Invalid URL: relative URL without a base"),
    (
        r#"["request","https://u:p@a/",{}]"#,
        "TypeError",
        "the URL of a request must not contain a user name or password",
    ),
    (r#"["request","https://a/",{"method":"TRACE"}]"#, "TypeError", "this request method is not allowed"),
    (r#"["request","https://a/",{"method":"a b"}]"#, "TypeError", "this request method is not allowed"),
    (r#"["request","https://a/",{"method":5}]"#, "TypeError", "the method must be a string"),
    (r#"["request","https://a/",{"body":"x"}]"#, "TypeError", "a GET or HEAD request cannot have a body"),
    (
        r#"["request","https://a/",{"body":"","method":"head"}]"#,
        "TypeError",
        "a GET or HEAD request cannot have a body",
    ),
    (
        r#"["request","https://a/",{"method":"PUT","body":["undefined"]}]"#,
        "TypeError",
        "a body must be null, a string, bytes or a stream",
    ),
    (
        r#"["request","https://a/",{"method":"PUT","body":["bytes","AAA","Int8Array"]}]"#,
        "TypeError",
        "a body must be null, a string, bytes or a stream",
    ),
    (r#"["request","https://a/",{"headers":{}}]"#, "TypeError", "headers must be an array of pairs of strings"),
    (
        r#"["request","https://a/",{"mode":"navigate"}]"#,
        "TypeError",
        "the mode of a request must be \"cors\", \"no-cors\" or \"same-origin\"",
    ),
    (
        r#"["request","https://a/",{"mode":"no-cors","method":"PUT"}]"#,
        "TypeError",
        "a request with the mode \"no-cors\" must be a GET, HEAD or POST",
    ),
    (
        r#"["request","https://a/",{"cache":"only-if-cached"}]"#,
        "TypeError",
        "the cache mode \"only-if-cached\" needs the mode \"same-origin\"",
    ),
    (r#"["request","https://a/",{"redirect":null}]"#, "TypeError", "the redirect mode of a request is unknown"),
    (r#"["request","https://a/",{"credentials":"all"}]"#, "TypeError", "the credentials mode of a request is unknown"),
    (r#"["request","https://a/",{"referrerPolicy":"no"}]"#, "TypeError", "the referrer policy of a request is unknown"),
    (
        r#"["request","https://a/",{"referrer":"::"}]"#,
        "TypeError",
        "the referrer of a request must be an absolute URL or empty",
    ),
    (r#"["request","https://a/",{"duplex":"full"}]"#, "TypeError", "the duplex mode of a request must be \"half\""),
    (r#"["request","https://a/",{"window":5}]"#, "TypeError", "the window of a request must be null"),
    (r#"["request","https://a/",{"signal":1}]"#, "TypeError", "a request cannot carry a signal"),
    (r#"["response",1,{}]"#, "TypeError", "a body must be null, a string, bytes or a stream"),
    (r#"["response",null,{"status":600}]"#, "TypeError", "a status must be an integer from 200 to 599"),
    (r#"["response",null,{"status":"404"}]"#, "TypeError", "a status must be an integer from 200 to 599"),
    (r#"["response","x",{"status":204}]"#, "TypeError", "a response with this status cannot have a body"),
    (
        r#"["response",null,{"statusText":"a\nb"}]"#,
        "TypeError",
        "the status text contains a character that is not allowed",
    ),
    (r#"["response",null,{"webSocket":1}]"#, "TypeError", "a response cannot carry a WebSocket"),
    (r#"["response",null,{"encodeBody":"x"}]"#, "TypeError", "the member `encodeBody` is unknown"),
];

fn error(name: &str, message: &str) -> String {
    serde_json::json!(["error", name, message]).to_string()
}

#[test]
fn malformed_value_rejects_its_call_in_any_position() {
    for (expr, name, message) in MALFORMED {
        let error = error(name, message);
        let mut server = scripted();
        for (n, push) in [
            (*expr).to_owned(),
            format!(r#"{{"a":[[1,{expr}]]}}"#),
            format!(r#"["pipeline",0,["echo"],[{{"a":{expr}}}]]"#),
            format!(r#"["pipeline",0,["echo"],[["pipeline",0,["echo"],[{expr}]]]]"#),
            format!(r#"["error","E","m",null,{{"a":{expr}}}]"#),
        ]
        .into_iter()
        .enumerate()
        {
            let id = n + 1;
            server.says(&format!(
                "c> [\"push\",{push}]\nc> [\"pull\",{id}]\ns> [\"reject\",{id},{error}]\nc> [\"release\",{id},1]"
            ));
        }
        server.says(&format!(
            r#"c> ["stream",["pipeline",0,["echo"],[{expr}]]]
               s> ["reject",6,{error}]
               c> ["push",["pipeline",0,["sq"],[["promise",-1]]]]
               c> ["pull",7]
               c> ["resolve",-1,[[{expr}]]]
               s> ["release",-1,1]
               s> ["reject",7,{error}]
               c> ["release",7,1]
               c> ["push",["pipeline",0,["sq"],[["promise",-2]]]]
               c> ["pull",8]
               c> ["reject",-2,{expr}]
               s> ["release",-2,1]
               s> ["reject",8,{error}]
               c> ["release",8,1]
               c> ["resolve",99,{expr}]
               c> ["push",["pipeline",0,["sq"],[3]]]
               c> ["pull",9]
               s> ["resolve",9,9]
               c> ["release",9,1]"#
        ));
        assert_idle("server", &server.app);
    }
}

#[test]
fn references_beside_a_malformed_value_are_released() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",["pipeline",0,["take"],[["export",-1],["bigint","x"],{"a":["export",-2],"toString":["export",-3]}]]]
           s> ["release",-3,1]
           s> ["release",-1,1]
           s> ["release",-2,1]
           c> ["pull",1]
           s> ["reject",1,["error","SyntaxError","Cannot convert x to a BigInt"]]
           c> ["release",1,1]"#,
    );
    assert_idle("server", &server.app);
    // The stream of a malformed request is claimed and dropped.
    server.says(
        r#"c> ["pipe"]
           c> ["push",["pipeline",0,["echo"],[["request","https://a/",{"mode":"navigate","method":"PUT","body":["readable",2],"duplex":"half"}]]]]
           c> ["pull",3]
           s> ["reject",3,["error","TypeError","the mode of a request must be \"cors\", \"no-cors\" or \"same-origin\""]]
           c> ["release",3,1]
           c> ["push",["pipeline",0,["echo"],[["readable",2]]]]
           s> ["abort",["error","Error","Export 2 is not a pipe or its readable end was already consumed."]]"#,
    );
}

#[test]
fn malformed_value_in_a_mapper_rejects_what_uses_it() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",[[1,2]]]
           c> ["push",["remap",1,[],[["import",0]],[["pipeline",-1,["echo"],[["bigint","x"]]]]]]
           c> ["pull",2]
           s> ["resolve",2,[[["promise",-1],["promise",-2]]]]
           s> ["reject",-1,["error","SyntaxError","Cannot convert x to a BigInt"]]
           s> ["reject",-2,["error","SyntaxError","Cannot convert x to a BigInt"]]
           c> ["release",-1,1]
           c> ["release",-2,1]
           c> ["release",2,1]
           c> ["release",1,1]"#,
    );
    assert_idle("server", &server.app);
}

/// What arrives, and what is forwarded.
#[test]
fn values_are_forwarded_in_canonical_form() {
    let mut server = scripted();
    for (n, (arrives, goes_on)) in [
        (r#"["bytes","-_-_AA=="]"#, r#"["bytes","+/+/AA"]"#),
        (r#"["bytes","AAA=","Uint16Array",1]"#, r#"["bytes","AAA","Uint16Array"]"#),
        (r#"["bytes","AAB"]"#, r#"["bytes","AAB"]"#),
        (r#"["url"," HTTPS://A:443/b c"]"#, r#"["url","https://a/b%20c"]"#),
        (r#"["url","https://Bücher.de"]"#, r#"["url","https://xn--bcher-kva.de/"]"#),
        (r#"["request","https://A",[]]"#, r#"["request","https://a/",{}]"#),
        (r#"["response",null,[[1],{"status":99}]]"#, r#"["response",null,{}]"#),
        (
            r#"["request","https://a/",{"dispatcher":{},"mode":"cors","window":null,"cf":{"x":["y"]},"signal":null}]"#,
            r#"["request","https://a/",{"mode":"cors","cf":{"x":["y"]}}]"#,
        ),
        (r#"["request","https://a/",{"priority":"high","x":[["export"]]}]"#, r#"["request","https://a/",{}]"#),
        (
            r#"["request","https://a/",{"method":"post","body":"x","keepalive":true,"headers":[["A"," 1 "]]}]"#,
            r#"["request","https://a/",{"method":"post","body":"x","keepalive":true,"headers":[["A"," 1 "]]}]"#,
        ),
        (
            r#"["request","https://a/",{"cache":"only-if-cached","mode":"same-origin","referrer":"","integrity":"x"}]"#,
            r#"["request","https://a/",{"cache":"only-if-cached","mode":"same-origin","referrer":"","integrity":"x"}]"#,
        ),
        (
            r#"["response",["bytes","AA","Uint8Array"],{"status":4.04e2,"body":["x"],"encodeBody":"manual"}]"#,
            r#"["response",["bytes","AA","Uint8Array"],{"status":4.04e2,"encodeBody":"manual"}]"#,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = n + 1;
        server.says(&format!(
            "c> [\"push\",{arrives}]\nc> [\"pull\",{id}]\ns> [\"resolve\",{id},{goes_on}]\nc> [\"release\",{id},1]"
        ));
    }
    assert_idle("server", &server.app);
}

#[test]
fn error_fields_are_not_repeated_as_properties() {
    let mut server = scripted();
    server.says(
        r#"c> ["push",["error","E","m",null,{"stack":["nope"],"a":1,"name":["export",-1],"message":{"x":[5]}}]]
           c> ["pull",1]
           s> ["resolve",1,["error","E","m",null,{"a":1}]]
           c> ["push",["error","E","m","at x",{"name":"x"}]]
           c> ["pull",2]
           s> ["resolve",2,["error","E","m","at x",{}]]
           c> ["push",{"stack":1,"name":2}]
           c> ["pull",3]
           s> ["resolve",3,{"stack":1,"name":2}]
           c> ["release",1,1]
           c> ["release",2,1]
           c> ["release",3,1]"#,
    );
    assert_idle("server", &server.app);
}
