//! Which service a request goes to: the first route that matches it, in the order of the file.

use super::config::Wrong;
use super::config::document::Route as Section;
use super::config::nearest;
use super::mirror::Mirror;
use gateway::Class;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use regex::Regex;
use toml::Spanned;

/// All routes.
#[derive(Debug, Default)]
pub struct Routes(Vec<Route>);

/// One of them.
#[derive(Debug)]
pub struct Route {
    host: Option<Host>,
    path: Path,
    /// Any if empty.
    methods: Vec<hyper::Method>,
    /// Those that must be there, and their values if not any will do.
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Services by their places, with weights that add up to `weight`.
    split: Vec<(usize, u32)>,
    weight: u32,
    pub class: Class,
    /// Places of the limits.
    pub limits: Vec<usize>,
    /// Whether its responses are stored, and by which rules.
    pub cache: Option<gateway::cache::Rules>,
    /// Where copies of its requests go.
    pub mirror: Option<Mirror>,
}

#[derive(Debug)]
enum Host {
    Is(String),
    /// The rest behind its first label, with the dot.
    Below(String),
}

#[derive(Debug)]
enum Path {
    Any,
    Is(String),
    Prefix(String),
    Matches(Regex),
}

impl Routes {
    pub fn new(routes: Vec<Route>) -> Self {
        Self(routes)
    }

    /// Whether any of them has a cache.
    pub fn any_caches(&self) -> bool {
        self.0.iter().any(|route| route.cache.is_some())
    }

    /// The first that matches.
    pub fn find(&self, request: &Parts) -> Option<&Route> {
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        self.0.iter().find(|route| route.matches(host, request))
    }
}

impl Route {
    fn matches(&self, host: &str, request: &Parts) -> bool {
        self.host.as_ref().is_none_or(|wanted| wanted.matches(without_port(host)))
            && self.path.matches(request.uri.path())
            && (self.methods.is_empty() || self.methods.contains(&request.method))
            && self.headers.iter().all(|(name, wanted)| match wanted {
                None => request.headers.contains_key(name),
                Some(wanted) => request.headers.get_all(name).iter().any(|value| value == wanted),
            })
    }

    /// The place of the service: one of several by weight and chance, of which `draw` gives a number below its argument.
    pub fn service(&self, draw: impl FnOnce(u64) -> u64) -> usize {
        let [(only, _)] = self.split.as_slice() else {
            let mut left = draw(u64::from(self.weight));
            let at = self.split.iter().position(|(_, weight)| match left.checked_sub(u64::from(*weight)) {
                None => true,
                Some(rest) => {
                    left = rest;
                    false
                }
            });
            return self.split[at.unwrap_or(0)].0;
        };
        *only
    }
}

impl Host {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Is(wanted) => host.eq_ignore_ascii_case(wanted),
            Self::Below(behind) => host
                .len()
                .checked_sub(behind.len())
                .is_some_and(|at| at > 0 && host.is_char_boundary(at) && host[at..].eq_ignore_ascii_case(behind)),
        }
    }
}

impl Path {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Is(wanted) => path == wanted,
            Self::Prefix(prefix) => {
                let behind = path.strip_prefix(prefix.as_str());
                behind.is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
            }
            Self::Matches(regex) => regex.is_match(path),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A route of the file; `services` are the names of those that there are, by their places.
pub fn compile(text: &str, section: Spanned<Section>, services: &[&str], limits: &[&str]) -> Result<Route, Wrong> {
    let span = section.span();
    let section = section.into_inner();
    let path = path(text, &section, &span)?;
    let host = section.host.as_ref().map(|host| match host.get_ref().strip_prefix('*') {
        Some(below) if below.starts_with('.') && below.len() > 1 => Ok(Host::Below(below.to_owned())),
        None if !host.get_ref().is_empty() && !host.get_ref().contains(['/', ' ']) => {
            Ok(Host::Is(host.get_ref().clone()))
        }
        _ => Err(Wrong::at(
            text,
            &host.span(),
            format!("'{}' is no host; give one as \"a.example\" or \"*.example\"", host.get_ref()),
        )),
    });
    let methods = section.methods.iter().map(|method| {
        let why = || format!("'{}' is no method; give them as \"GET\"", method.get_ref());
        let upper = method.get_ref().bytes().all(|byte| byte.is_ascii_uppercase());
        let parsed = hyper::Method::from_bytes(method.get_ref().as_bytes()).ok().filter(|_| upper);
        parsed.ok_or_else(|| Wrong::at(text, &method.span(), why()))
    });
    let headers = section.headers.iter().map(|(name, value)| {
        let bad = || Wrong::at(text, &name.span(), format!("'{} = {value}' can be no header", name.get_ref()));
        let header = HeaderName::from_bytes(name.get_ref().as_bytes()).map_err(|_| bad())?;
        let wanted = if value == "*" { None } else { Some(HeaderValue::from_str(value).map_err(|_| bad())?) };
        Ok((header, wanted))
    });
    let class = section.class.unwrap_or(1);
    if usize::from(class) >= Class::COUNT {
        return Err(Wrong::at(text, &span, format!("the route's class is {class}; give 0 (most important) to 3")));
    }
    let split = split(text, &section, &span, services)?;
    Ok(Route {
        host: host.transpose()?,
        path,
        methods: methods.collect::<Result<_, _>>()?,
        headers: headers.collect::<Result<_, _>>()?,
        weight: split.iter().map(|(_, weight)| weight).sum(),
        split,
        class: Class::new(class),
        cache: section.cache.rules(),
        mirror: section
            .mirror
            .as_ref()
            .map(|one| one.of(text, place(text, "service", &one.service, services)?))
            .transpose()?,
        limits: section.limits.iter().map(|name| place(text, "limit", name, limits)).collect::<Result<_, _>>()?,
    })
}

fn path(text: &str, section: &Section, span: &std::ops::Range<usize>) -> Result<Path, Wrong> {
    let rooted = |path: &Spanned<String>| match path.get_ref().starts_with('/') {
        true => Ok(path.get_ref().clone()),
        false => Err(Wrong::at(text, &path.span(), format!("'{}' is no path: it begins with a /", path.get_ref()))),
    };
    match (&section.path, &section.prefix, &section.regex) {
        (None, None, None) => Ok(Path::Any),
        (Some(path), None, None) => rooted(path).map(Path::Is),
        (None, Some(prefix), None) => rooted(prefix).map(Path::Prefix),
        (None, None, Some(regex)) => {
            let whole = Regex::new(&format!("^(?:{})$", regex.get_ref()));
            whole.map(Path::Matches).map_err(|error| Wrong::at(text, &regex.span(), format!("regex: {error}")))
        }
        _ => Err(Wrong::at(text, span, "a route has one of path, prefix and regex")),
    }
}

fn split(
    text: &str,
    section: &Section,
    span: &std::ops::Range<usize>,
    services: &[&str],
) -> Result<Vec<(usize, u32)>, Wrong> {
    let place = |name: &Spanned<String>| place(text, "service", name, services);
    match (&section.service, section.split.as_slice()) {
        (Some(name), []) => Ok(vec![(place(name)?, 1)]),
        (None, several) if !several.is_empty() => {
            let split = several.iter().map(|part| Ok((place(&part.service)?, part.weight)));
            let split = split.collect::<Result<Vec<_>, Wrong>>()?;
            let sum = split.iter().try_fold(0u32, |sum, (_, weight)| sum.checked_add(*weight));
            sum.filter(|sum| *sum > 0)
                .map(|_| split)
                .ok_or_else(|| Wrong::at(text, span, "the weights of a split add up to nothing, or to too much"))
        }
        _ => Err(Wrong::at(
            text,
            span,
            "a route has either service = \"..\" or split = [{ service = \"..\", weight = .. }]",
        )),
    }
}

/// The place of a name among those that there are.
fn place(text: &str, table: &str, name: &Spanned<String>, names: &[&str]) -> Result<usize, Wrong> {
    let hint = nearest(name.get_ref(), names).map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    let why = || format!("there is no [{table}.{}]{hint}", name.get_ref());
    names.iter().position(|known| known == name.get_ref()).ok_or_else(|| Wrong::at(text, &name.span(), why()))
}
