//! The servers of nginx's configuration, and where they pass requests on to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::configuration::{Place, Statement};

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) at: Place,
    pub(super) names: Vec<String>,
    pub(super) listens: Vec<Listen>,
    /// The files of its certificates.
    pub(super) certificates: Vec<File>,
    pub(super) passages: Vec<Passage>,
    /// Whether callers come by a load balancer, which may be content with another certificate.
    pub(super) balanced: bool,
}

/// A file that is named somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) at: Place,
}

/// Where a server takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listen {
    /// None: everywhere.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// Whether a load balancer has to say first for whom it connects.
    pub(super) announced: bool,
}

/// A `proxy_pass`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) at: Place,
    /// Of the location: `=`, `^~`, `~`, `~*`, or nothing.
    pub(super) modifier: String,
    pub(super) path: String,
    /// What the path of the location becomes; none: it stays.
    pub(super) uri: Option<String>,
    pub(super) tls: bool,
    /// The name of the `upstream`, if it is one.
    pub(super) upstream: Option<String>,
    pub(super) targets: Vec<Target>,
    /// What is in force here of `proxy_set_header`.
    pub(super) headers: Vec<Header>,
    /// `proxy_bind`.
    pub(super) source: Option<IpAddr>,
}

/// A header that is set, or taken away when its value is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) at: Place,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
    /// Where it is written.
    pub(super) at: Place,
    /// How it is written there; none: by a variable.
    pub(super) text: Option<String>,
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    /// `localhost`: both loopback addresses.
    Local,
    Name(String),
    /// It is made of variables, or no address of the network.
    Unclear,
}

impl Target {
    /// Its addresses, as far as they are known without asking a name server.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        let all = match &self.host {
            Host::Address(ip) if ip.is_unspecified() => vec![if ip.is_ipv4() { v4 } else { v6 }],
            Host::Address(ip) => vec![*ip],
            Host::Local => vec![v4, v6],
            Host::Name(_) | Host::Unclear => Vec::new(),
        };
        all.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect()
    }
}

impl Passage {
    /// Under which path of the site the bot's own `path` is reached; nothing, when this location
    /// cannot have it.
    pub(super) fn outside(&self, path: &str) -> Option<String> {
        // To a named location requests come from elsewhere.
        let is_prefix = matches!(self.modifier.as_str(), "" | "^~") && !self.path.starts_with('@');
        match &self.uri {
            Some(uri) if is_prefix => {
                path.strip_prefix(uri.as_str()).map(|rest| format!("{}{rest}", self.path))
            }
            Some(uri) if self.modifier == "=" => (uri == path).then(|| self.path.clone()),
            None if is_prefix => path.starts_with(&self.path).then(|| path.to_owned()),
            None if self.modifier == "=" => (self.path == path).then(|| path.to_owned()),
            // What a pattern takes, and changes, is not worked out here.
            _ => None,
        }
    }

    /// The header in force, if it is set to something.
    pub(super) fn header(&self, name: &str) -> Option<&Header> {
        let mut all = self.headers.iter();
        all.find(|it| it.name.eq_ignore_ascii_case(name) && !it.value.is_empty())
    }
}

/// All servers for HTTP.
pub(super) fn all(statements: &[Statement]) -> Vec<Site> {
    let mut sites = Vec::new();
    for http in statements.iter().filter(|it| it.name == "http") {
        let upstreams: Vec<&Statement> =
            http.inner.iter().filter(|it| it.name == "upstream").collect();
        let scope = Scope { upstreams, ..Scope::default() }.within(http);
        let servers = http.inner.iter().filter(|it| it.name == "server");
        sites.extend(servers.map(|server| site(server, &scope)));
    }
    sites
}

fn site(server: &Statement, outer: &Scope<'_>) -> Site {
    let named = |name: &'static str| server.inner.iter().filter(move |it| it.name == name);
    let tls = named("ssl").any(|it| it.argument(0) == "on");
    let mut listens: Vec<Listen> = named("listen").filter_map(|it| listen(it, tls)).collect();
    if named("listen").next().is_none() {
        listens.push(Listen { address: None, port: 80, tls, announced: false });
    }
    let mut passages = Vec::new();
    let scope = outer.within(server);
    gather(server, &scope, &mut passages);
    let file = |it: &&Statement| File { path: it.argument(0).to_owned(), at: it.at.clone() };
    Site {
        at: server.at.clone(),
        names: named("server_name").flat_map(|it| it.arguments.clone()).collect(),
        listens,
        certificates: scope.certificates.iter().map(file).collect(),
        balanced: scope.balanced,
        passages,
    }
}

/// A `listen`; nothing for one that is no TCP port.
fn listen(statement: &Statement, tls: bool) -> Option<Listen> {
    let has = |word: &str| statement.arguments.iter().skip(1).any(|it| it == word);
    if has("quic") || has("http3") {
        return None;
    }
    let place = statement.argument(0);
    let (address, port) = match place.parse::<u16>() {
        Ok(port) => (None, port),
        Err(_) => {
            let (host, port) = split(place, 80)?;
            match host {
                Host::Address(ip) => (Some(ip).filter(|ip| !ip.is_unspecified()), port),
                Host::Local => (Some(Ipv4Addr::LOCALHOST.into()), port),
                Host::Name(_) if place.starts_with("*") => (None, port),
                Host::Name(_) | Host::Unclear => return None,
            }
        }
    };
    Some(Listen { address, port, tls: tls || has("ssl"), announced: has("proxy_protocol") })
}

/// What holds at a level, from the levels around it.
#[derive(Debug, Clone, Default)]
struct Scope<'a> {
    upstreams: Vec<&'a Statement>,
    variables: Vec<(&'a str, &'a str)>,
    headers: Vec<&'a Statement>,
    certificates: Vec<&'a Statement>,
    source: Option<IpAddr>,
    balanced: bool,
    /// The modifier and the path of the location.
    location: (&'a str, &'a str),
}

impl<'a> Scope<'a> {
    fn within(&self, level: &'a Statement) -> Self {
        let mut scope = self.clone();
        // A level that sets one header inherits none; of certificates likewise.
        for (name, inherited) in
            [("proxy_set_header", &mut scope.headers), ("ssl_certificate", &mut scope.certificates)]
        {
            let own = level.inner.iter().filter(|it| it.name == name);
            let own: Vec<&Statement> = own.collect();
            if !own.is_empty() {
                *inherited = own;
            }
        }
        for statement in &level.inner {
            match statement.name.as_str() {
                "set" => {
                    let name = statement.argument(0).trim_start_matches('$');
                    scope.variables.push((name, statement.argument(1)));
                }
                "set_real_ip_from" => scope.balanced = true,
                "proxy_bind" => scope.source = statement.argument(0).parse().ok(),
                _ => {}
            }
        }
        if level.name == "location" {
            scope.location = match level.arguments.as_slice() {
                [modifier, path] => (modifier, path),
                // `location ~^/x` and `location =/x` may be written without a space.
                [path] => ["=", "^~", "~*", "~"]
                    .into_iter()
                    .find_map(|modifier| Some((modifier, path.strip_prefix(modifier)?)))
                    .unwrap_or(("", path)),
                _ => ("", ""),
            };
        }
        scope
    }

    /// A text with the values of those variables that are known here.
    fn filled(&self, text: &str) -> String {
        let mut variables = self.variables.clone();
        // The longest first: one name may begin another. Of several values the last.
        variables.reverse();
        variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        variables.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
        })
    }

    fn passage(&self, statement: &Statement) -> Option<Passage> {
        let written = statement.argument(0);
        let filled = self.filled(written);
        let (scheme, rest) = filled.split_once("://")?;
        let tls = scheme.eq_ignore_ascii_case("https");
        let (place, uri) = match rest.find('/') {
            Some(at) if !rest.starts_with("unix:") => (&rest[..at], Some(rest[at..].to_owned())),
            _ => (rest, None),
        };
        let upstream = self.upstreams.iter().find(|it| it.argument(0) == place);
        let targets = match upstream {
            Some(upstream) => {
                let servers = upstream.inner.iter().filter(|it| {
                    it.name == "server" && !it.arguments.iter().any(|word| word == "down")
                });
                servers.filter_map(|it| target(it.argument(0), 80, &it.at)).collect()
            }
            None => target(place, if tls { 443 } else { 80 }, &statement.at)
                .into_iter()
                .map(|it| Target { text: it.text.filter(|text| written.contains(text)), ..it })
                .collect(),
        };
        let header = |it: &&Statement| Header {
            name: it.argument(0).to_owned(),
            value: it.argument(1).to_owned(),
            at: it.at.clone(),
        };
        Some(Passage {
            at: statement.at.clone(),
            modifier: self.location.0.to_owned(),
            path: self.location.1.to_owned(),
            // What is made of variables is passed on as it is.
            uri: uri.filter(|_| !written.contains('$')),
            tls,
            upstream: upstream.map(|it| it.argument(0).to_owned()),
            targets,
            headers: self.headers.iter().map(header).collect(),
            source: self.source,
        })
    }
}

fn gather<'a>(level: &'a Statement, scope: &Scope<'a>, passages: &mut Vec<Passage>) {
    for statement in &level.inner {
        match statement.name.as_str() {
            "proxy_pass" => passages.extend(scope.passage(statement)),
            "location" | "if" | "limit_except" => {
                gather(statement, &scope.within(statement), passages);
            }
            _ => {}
        }
    }
}

fn target(place: &str, usual: u16, at: &Place) -> Option<Target> {
    let (host, port) = split(place, usual)?;
    Some(Target { host, port, at: at.clone(), text: Some(place.to_owned()) })
}

/// The host and the port of a place.
fn split(place: &str, usual: u16) -> Option<(Host, u16)> {
    if place.starts_with("unix:") || place.contains('$') {
        return Some((Host::Unclear, usual));
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (place, usual),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse() {
        Ok(address) => Host::Address(address),
        Err(_) if host.eq_ignore_ascii_case("localhost") => Host::Local,
        Err(_) => Host::Name(host.to_owned()),
    };
    Some((host, port))
}
