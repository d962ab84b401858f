//! Which web pages may use a service, and for which host names it answers. See docs/wire.md, "Pages
//! and hosts".
//!
//! A browser lets any page open a WebSocket and submit a form to any server, with the user's
//! cookies and from inside of the user's network. It sends the page's origin in `Origin`, which
//! scripts cannot set. Other clients send no `Origin` and are not affected.

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

/// Whether the page and the server belong together, as the browser sees it (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How long a browser may cache the answer to a preflight request, in seconds.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");

const ANY: HeaderValue = HeaderValue::from_static("*");

/// The number of characters of a refused header that are logged.
const LOGGED_CHARS: usize = 200;

/// The pages that may use a service.
#[derive(Clone, Debug, Default)]
pub(crate) enum Origins {
    /// Pages from the host of the request.
    #[default]
    Same,
    /// Pages from the host of the request, and pages of these origins.
    Listed(Arc<[Origin]>),
    /// All pages.
    Any,
}

/// The host names for which a service answers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Hosts {
    /// Loopback names if the service listens on a loopback address, otherwise all.
    #[default]
    ByListener,
    /// Loopback names.
    Loopback,
    /// These hosts.
    Listed(Arc<[HostPort]>),
    /// All hosts.
    Any,
}

/// Why a request is refused before it is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    MalformedHost,
    Host,
    Origin,
    CrossSite,
    FormType,
}

impl Service {
    /// Allows pages of these origins to use the service, in addition to pages from the service's
    /// own host.
    ///
    /// The pages may open WebSockets and send batches with the user's cookies, and their scripts
    /// may read the responses (CORS). Pages of other origins are refused with 403. Repeated calls
    /// add to the list.
    ///
    /// Write an origin as browsers do: `https://app.example.com`, with the port if it is not the
    /// default of the scheme, and without a path.
    ///
    /// By default, a request with an `Origin` header is only accepted if the origin is at the
    /// request's `Host`: the hosts and ports are equal, and the scheme is `http` or `https`. So a
    /// reverse proxy must pass on the `Host` of the client, or the origin must be listed here.
    /// Clients other than browsers send no `Origin`.
    ///
    /// # Panics
    /// Panics if a value is not an origin, for example `example.com`, `https://example.com/app`,
    /// `*`, or `null`.
    #[must_use]
    pub fn allow_origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        let parse = |origin: O| {
            let origin = origin.as_ref();
            Origin::parse(origin).unwrap_or_else(|| {
                panic!(
                    "{origin:?} is not an origin: write the scheme, host, and port only, as in \"https://example.com\""
                )
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

    /// Allows pages of all origins to use the service. Their scripts may read the responses of
    /// batches (CORS). Batches are sent without cookies, WebSockets with cookies.
    ///
    /// This is safe only if nothing in the service relies on cookies, client certificates, or the
    /// network of the client to identify it.
    #[must_use]
    pub fn allow_any_origin(mut self) -> Self {
        self.origins = Origins::Any;
        self
    }

    /// Answers only requests whose `Host` is one of these. Others are refused with 403. An entry
    /// without a port matches every port. Repeated calls add to the list.
    ///
    /// This protects against DNS rebinding, in which a page reaches the service under a name of its
    /// own and thereby becomes a page of the service's host. A service that [listens](Self::listen)
    /// on a loopback address only answers for `localhost`, names below `localhost`, and loopback
    /// addresses by default. Behind a reverse proxy on the same machine, list the public name here,
    /// or call [`allow_any_host`](Self::allow_any_host). On other addresses, all names are answered
    /// by default.
    ///
    /// # Panics
    /// Panics if a value is not a host with an optional port, for example `https://example.com` or
    /// `*`.
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

    /// Answers requests for every host name, even on a loopback address.
    #[must_use]
    pub fn allow_any_host(mut self) -> Self {
        self.hosts = Hosts::Any;
        self
    }

    /// Restricts the hosts to loopback names if the listener has a loopback address and no hosts
    /// are set.
    pub(crate) fn hosts_of_listener(mut self, address: Option<SocketAddr>) -> Self {
        let is_loopback = address.is_some_and(|address| address.ip().to_canonical().is_loopback());
        if let (Hosts::ByListener, true) = (&self.hosts, is_loopback) {
            self.hosts = Hosts::Loopback;
        }
        self
    }

    /// Refuses requests from pages of other origins, and requests for other hosts.
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

    /// Adds the headers that let scripts of an allowed origin read a response.
    pub(crate) fn allow_reading(&self, request: &HeaderMap, answer: &mut Answer) {
        self.origins.allow_reading(request, answer.headers_mut());
    }

    /// Answers a preflight request. Returns `None` if pages of other origins are never allowed.
    pub(crate) fn preflight(&self, request: &Parts) -> Option<Answer> {
        if request.method != Method::OPTIONS || matches!(self.origins, Origins::Same) {
            return None;
        }
        let mut answer = reply::text(StatusCode::NO_CONTENT, "");
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        // `*` would exclude `authorization`, and all headers of requests with cookies.
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
        // The hosts are equal, but the browser reports that the schemes differ.
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
                // Responses for different origins must be cached separately.
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

/// Returns whether the entry matches the host. An absent port is one of the two defaults; only a
/// proxy in front of the server knows which.
fn is_named(entry: &HostPort, host: &HostPort) -> bool {
    let is_port = match (entry.port, host.port) {
        (None, _) => true,
        (Some(entry), None) => matches!(entry, 80 | 443),
        (Some(entry), Some(port)) => entry == port,
    };
    entry.host == host.host && is_port
}

/// Returns the requested host. Requests with more than one are refused (RFC 9112, section 3.2).
fn host_of(request: &Parts) -> Result<Option<HostPort>, Refused> {
    let parse = |text: &str| HostPort::parse(text).ok_or(Refused::MalformedHost);
    let mut lines = request.headers.get_all(HOST).iter();
    let line = lines.next().filter(|line| !line.is_empty());
    if lines.next().is_some() {
        return Err(Refused::MalformedHost);
    }
    let named = line.map(|line| parse(line.to_str().map_err(|_unprintable| Refused::MalformedHost)?)).transpose()?;
    // HTTP/2 sends the host in the URI, and so do HTTP/1.1 requests to a proxy.
    let asked = request.uri.authority().map(|authority| parse(authority.as_str())).transpose()?;
    match (asked, named) {
        (Some(asked), Some(named)) if asked != named => Err(Refused::MalformedHost),
        (asked, named) => Ok(asked.or(named)),
    }
}

/// Checks a request without `Origin`, which old or specially configured browsers send. Such a
/// browser reports pages of other sites in `Sec-Fetch-Site`. A form is recognized by the three
/// content types that forms can have. A script that sends the content type of official clients has
/// an `Origin` in every browser.
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

/// Returns whether a form may have sent this content type. The `text/plain` of a form has no
/// charset.
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
            Self::MalformedHost => "the request must have exactly one host",
            Self::Host => "this host is not served; the server can allow it with Service::hosts",
            Self::Origin => {
                "pages of this origin may not use this service; the server can allow them with Service::allow_origins"
            }
            Self::CrossSite => "pages of other sites may not use this service",
            Self::FormType => "a batch must have the content type text/plain;charset=UTF-8",
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
    fn fetch_metadata_takes_precedence_over_equal_hosts() {
        let own = [("host", "example.com"), ("origin", "http://example.com")];
        assert_eq!(check(&Origins::Same, &own), Ok(()));
        let site = |site| [own[0], own[1], ("sec-fetch-site", site)];
        assert_eq!(check(&Origins::Same, &site("same-origin")), Ok(()));
        assert_eq!(check(&Origins::Same, &site("cross-site")), Err(Refused::CrossSite));
        assert_eq!(check(&Origins::Same, &site("same-site")), Err(Refused::CrossSite));
    }

    #[test]
    fn request_with_two_origins_is_refused() {
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
