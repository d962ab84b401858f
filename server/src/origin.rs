//! Which web pages may use a service, and under which host names it answers.
//!
//! A browser lets any page open a WebSocket and send a form to any server, with the user's cookies
//! and from inside the user's network. It names the page's origin in `Origin`, which scripts cannot
//! set. Clients other than browsers send no `Origin` and are not affected.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_TYPE, HOST, ORIGIN,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::host::{HostPort, Origin};
use crate::peer_info::PeerAddress;
use crate::reply::{self, Answer};
use crate::service::Service;

/// What a browser says about the page and the server together (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");

const ANY: HeaderValue = HeaderValue::from_static("*");

/// Characters of a refused header that are logged.
const LOGGED_CHARS: usize = 200;

/// The pages that may use a service.
#[derive(Clone, Debug, Default)]
pub(crate) enum Origins {
    /// Those that come from the host of the request itself.
    #[default]
    Same,
    /// Those, and pages of these origins.
    Listed(Arc<[Origin]>),
    /// All.
    Any,
}

/// The host names under which a service answers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Hosts {
    /// Those of this machine if the service listens for this machine alone, else any.
    #[default]
    ByListener,
    /// Those of this machine.
    Loopback,
    /// These.
    Listed(Arc<[HostPort]>),
    /// Any.
    Any,
}

/// Why a request is refused before it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    MalformedHost,
    Host,
    Origin,
    CrossSite,
    FormType,
}

impl Service {
    /// Lets pages of these origins use the service, beside those that come from the service's own
    /// host: WebSockets and batches alike, with the user's cookies, and with answers that scripts
    /// can read (CORS). Pages of any other origin are refused with 403.
    ///
    /// An origin is written as browsers write it: `https://app.example.com`, with the port if it is
    /// not the scheme's default, and without a path. Repeated calls add to the list.
    ///
    /// Without this and [`allow_any_origin`](Self::allow_any_origin), a request with an `Origin`
    /// has to come from its own `Host`: host and port are the same, the scheme is `http` or
    /// `https`. A reverse proxy has to pass on the `Host` of the client, or the origin has to be
    /// listed. Clients other than browsers send no `Origin`.
    ///
    /// # Panics
    /// If one is not an origin, for example `example.com`, `https://example.com/app`, `*` or `null`.
    #[must_use]
    pub fn allow_origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        let parse = |origin: O| {
            let origin = origin.as_ref();
            Origin::parse(origin).unwrap_or_else(|| {
                panic!("{origin:?} is not an origin: write scheme, host and port alone, as in \"https://example.com\"")
            })
        };
        let mut listed: Vec<Origin> = match &self.origins {
            Origins::Listed(listed) => listed.to_vec(),
            Origins::Same | Origins::Any => Vec::new(),
        };
        listed.extend(origins.into_iter().map(parse));
        self.origins = Origins::Listed(listed.into());
        self
    }

    /// Lets pages of any origin use the service, and their scripts read the answers of batches
    /// (CORS, without cookies; WebSockets always have the cookies).
    ///
    /// Safe if nothing that the service does depends on who is asking by cookie, by client
    /// certificate, or by being inside of a network.
    #[must_use]
    pub fn allow_any_origin(mut self) -> Self {
        self.origins = Origins::Any;
        self
    }

    /// Answers only requests whose `Host` is one of these; others are refused with 403. An entry
    /// without a port is for every port. Repeated calls add to the list.
    ///
    /// This stops pages that reach the service under a name of their own (DNS rebinding), which
    /// makes them pages of its own host. A service that [listens](Self::listen) on a loopback
    /// address answers only `localhost`, names below `localhost`, and loopback addresses, unless
    /// this or [`allow_any_host`](Self::allow_any_host) says otherwise: behind a reverse proxy on
    /// the same machine, list the public name here. Elsewhere, every name is answered by default.
    ///
    /// # Panics
    /// If one is not a host with an optional port, for example `https://example.com` or `*`.
    #[must_use]
    pub fn hosts<H: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        let parse = |host: H| {
            let host = host.as_ref();
            HostPort::parse(host)
                .unwrap_or_else(|| panic!("{host:?} is not a host: write \"example.com\" or \"example.com:8080\""))
        };
        let mut listed: Vec<HostPort> = match &self.hosts {
            Hosts::Listed(listed) => listed.to_vec(),
            Hosts::ByListener | Hosts::Loopback | Hosts::Any => Vec::new(),
        };
        listed.extend(hosts.into_iter().map(parse));
        self.hosts = Hosts::Listed(listed.into());
        self
    }

    /// Answers requests for every host name, on loopback listeners, too.
    #[must_use]
    pub fn allow_any_host(mut self) -> Self {
        self.hosts = Hosts::Any;
        self
    }

    /// Restricts the hosts to loopback names if the listener is a loopback one and none are set.
    pub(crate) fn hosts_of_listener(mut self, address: Option<SocketAddr>) -> Self {
        let is_loopback = address.is_some_and(|address| address.ip().to_canonical().is_loopback());
        if let (Hosts::ByListener, true) = (&self.hosts, is_loopback) {
            self.hosts = Hosts::Loopback;
        }
        self
    }

    /// Refuses requests from pages of origins that are not allowed, and for hosts that are not served.
    pub(crate) fn check_origin(&self, request: &Parts) -> Result<(), Box<Answer>> {
        let checked = host_of(request).and_then(|host| {
            self.hosts.check(host.as_ref())?;
            self.origins.check(request, host.as_ref())
        });
        checked.map_err(|refused| {
            refused.log(request);
            Box::new(reply::text(refused.status(), refused.message()))
        })
    }

    /// Adds the headers that let scripts of an allowed origin read an answer.
    pub(crate) fn allow_reading(&self, request: &HeaderMap, answer: &mut Answer) {
        self.origins.allow_reading(request, answer.headers_mut());
    }

    /// Answers a preflight; `None` if pages of other origins are not allowed here at all.
    pub(crate) fn preflight(&self, request: &Parts) -> Option<Answer> {
        if request.method != Method::OPTIONS || matches!(self.origins, Origins::Same) {
            return None;
        }
        let mut answer = reply::text(StatusCode::NO_CONTENT, "");
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        // `*` would leave out `authorization`, and all others where cookies are sent.
        let asked = request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(ANY));
        headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
        headers.append(VARY, HeaderValue::from_name(ACCESS_CONTROL_REQUEST_HEADERS));
        Some(answer)
    }
}

impl Origins {
    fn check(&self, request: &Parts, host: Option<&HostPort>) -> Result<(), Refused> {
        let headers = &request.headers;
        if let Self::Any = self {
            return Ok(());
        }
        let mut lines = headers.get_all(ORIGIN).iter();
        let Some(line) = lines.next() else { return check_without_origin(request) };
        let one = lines.next().is_none();
        let origin = line.to_str().ok().filter(|_| one).and_then(Origin::parse).ok_or(Refused::Origin)?;
        if self.lists(&origin) {
            return Ok(());
        }
        if !host.is_some_and(|host| origin.is_at(host)) {
            return Err(Refused::Origin);
        }
        // The names are the same, and the browser says that the schemes are not.
        if is_same_site_at_most(headers) { Ok(()) } else { Err(Refused::CrossSite) }
    }

    fn lists(&self, origin: &Origin) -> bool {
        matches!(self, Self::Listed(listed) if listed.contains(origin))
    }

    fn allow_reading(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        match self {
            Self::Same => {}
            Self::Any => {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
            }
            Self::Listed(_) => {
                // What is in a cache for one origin is of no use to another.
                answer.append(VARY, HeaderValue::from_name(ORIGIN));
                let origin = request.get(ORIGIN);
                let parsed = origin.and_then(|origin| Origin::parse(origin.to_str().ok()?));
                if let (Some(origin), Some(parsed)) = (origin, parsed)
                    && self.lists(&parsed)
                {
                    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                    answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                }
            }
        }
    }
}

impl Hosts {
    fn check(&self, host: Option<&HostPort>) -> Result<(), Refused> {
        let is_served = match self {
            Self::ByListener | Self::Any => true,
            Self::Loopback => host.is_some_and(|host| host.host.is_loopback()),
            Self::Listed(listed) => host.is_some_and(|host| listed.iter().any(|entry| is_named(entry, host))),
        };
        if is_served { Ok(()) } else { Err(Refused::Host) }
    }
}

/// A port that is not written is one of the two defaults: which, only a proxy before us knows.
fn is_named(entry: &HostPort, host: &HostPort) -> bool {
    let is_port = match (entry.port, host.port) {
        (None, _) => true,
        (Some(entry), None) => matches!(entry, 80 | 443),
        (Some(entry), Some(port)) => entry == port,
    };
    entry.host == host.host && is_port
}

/// The host that is asked for. Requests that name two are refused (RFC 9112 3.2).
fn host_of(request: &Parts) -> Result<Option<HostPort>, Refused> {
    let parse = |text: &str| HostPort::parse(text).ok_or(Refused::MalformedHost);
    let mut lines = request.headers.get_all(HOST).iter();
    let line = lines.next().filter(|line| !line.is_empty());
    if lines.next().is_some() {
        return Err(Refused::MalformedHost);
    }
    let named = line.map(|line| parse(line.to_str().map_err(|_unprintable| Refused::MalformedHost)?)).transpose()?;
    // HTTP/2 has the host in the URI, and HTTP/1.1 has where a proxy is asked.
    let asked = request.uri.authority().map(|authority| parse(authority.as_str())).transpose()?;
    match (asked, named) {
        (Some(asked), Some(named)) if asked != named => Err(Refused::MalformedHost),
        (asked, named) => Ok(asked.or(named)),
    }
}

/// Browsers that are old, or were told to, leave out `Origin`. Then a page of another site shows by
/// what the browser says of it, and a form by the three types that forms can send. Scripts that send
/// the type of official clients have an `Origin` in every browser.
fn check_without_origin(request: &Parts) -> Result<(), Refused> {
    if !is_same_site_at_most(&request.headers) {
        return Err(Refused::CrossSite);
    }
    let mut types = request.headers.get_all(CONTENT_TYPE).iter();
    if request.method == Method::POST && types.any(is_of_form) {
        return Err(Refused::FormType);
    }
    Ok(())
}

fn is_same_site_at_most(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_SITE).iter().all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether a form may have sent this type: `text/plain` of a form names no charset.
fn is_of_form(content_type: &HeaderValue) -> bool {
    let Ok(content_type) = content_type.to_str() else { return true };
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let essence = essence.trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    let has_charset = || {
        let mut names = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        names.any(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
    };
    is("application/x-www-form-urlencoded") || is("multipart/form-data") || is("text/plain") && !has_charset()
}

impl Refused {
    fn status(self) -> StatusCode {
        match self {
            Self::MalformedHost => StatusCode::BAD_REQUEST,
            Self::Host | Self::Origin | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::FormType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::MalformedHost => "the request has to name one host",
            Self::Host => "this host name is not served here; the server lists its names with Service::hosts",
            Self::Origin => {
                "pages of this origin may not use this service; the server lists others with Service::allow_origins"
            }
            Self::CrossSite => "pages of other sites may not use this service",
            Self::FormType => "a batch is sent as text/plain;charset=UTF-8",
        }
    }

    fn log(self, request: &Parts) {
        let header = |name| {
            let value = request.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            value.map(|value| value.chars().take(LOGGED_CHARS).collect::<String>())
        };
        tracing::info!(
            monotonic_counter.bowline_requests_refused = 1_u64,
            address = ?request.extensions.get().map(|PeerAddress(address)| *address),
            origin = ?header(ORIGIN),
            host = ?header(HOST),
            why = ?self,
            "request refused"
        );
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post("/rpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn check(origins: &Origins, headers: &[(&str, &str)]) -> Result<(), Refused> {
        let request = request(headers);
        host_of(&request).and_then(|host| origins.check(&request, host.as_ref()))
    }

    #[test]
    fn fetch_metadata_is_believed_over_equal_names() {
        let own = [("host", "example.com"), ("origin", "http://example.com")];
        assert_eq!(check(&Origins::Same, &own), Ok(()));
        let site = |site| [own[0], own[1], ("sec-fetch-site", site)];
        assert_eq!(check(&Origins::Same, &site("same-origin")), Ok(()));
        assert_eq!(check(&Origins::Same, &site("cross-site")), Err(Refused::CrossSite));
        assert_eq!(check(&Origins::Same, &site("same-site")), Err(Refused::CrossSite));
    }

    #[test]
    fn two_origins_are_no_origin() {
        let twice = [("host", "a.example"), ("origin", "https://a.example"), ("origin", "https://a.example")];
        assert_eq!(check(&Origins::Same, &twice), Err(Refused::Origin));
        let listed = Origins::Listed([Origin::parse("https://a.example").expect("an origin")].into());
        assert_eq!(check(&listed, &twice), Err(Refused::Origin));
    }

    #[test]
    fn requests_that_name_two_hosts_are_refused() {
        let twice = [("host", "a.example"), ("host", "a.example")];
        assert_eq!(check(&Origins::Any, &twice), Err(Refused::MalformedHost));
        let mut absolute = request(&[("host", "a.example")]);
        absolute.uri = "http://b.example/rpc".parse().expect("a URI");
        assert_eq!(host_of(&absolute), Err(Refused::MalformedHost));
        absolute.uri = "http://a.example/rpc".parse().expect("a URI");
        assert_eq!(host_of(&absolute), Ok(HostPort::parse("a.example")));
        assert_eq!(host_of(&request(&[("host", "user@a.example")])), Err(Refused::MalformedHost));
    }

    #[test]
    fn types_that_forms_can_send_are_recognized() {
        let of_form = |value: &str| is_of_form(&HeaderValue::from_str(value).expect("a header"));
        for form in [
            "text/plain",
            "Text/Plain",
            "text/plain; boundary=x",
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded;charset=UTF-8",
            "multipart/form-data; boundary=x",
            "MULTIPART/FORM-DATA",
        ] {
            assert!(of_form(form), "{form}");
        }
        for other in ["text/plain;charset=UTF-8", "text/plain; Charset=\"utf-8\"", "application/json"] {
            assert!(!of_form(other), "{other}");
        }
    }

    #[test]
    fn listed_host_without_port_is_for_every_port() {
        let named = |entry: &str, host: &str| {
            is_named(&HostPort::parse(entry).expect("a host"), &HostPort::parse(host).expect("a host"))
        };
        assert!(named("example.com", "example.com:8080") && named("EXAMPLE.com", "example.com"));
        assert!(named("example.com:8080", "example.com:8080") && named("example.com:443", "example.com"));
        assert!(!named("example.com:8080", "example.com") && !named("example.com", "www.example.com"));
    }
}
