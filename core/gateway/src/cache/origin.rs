//! What is asked for, written one way: the host in small letters without the port that its scheme has anyway. Paths and queries
//! stay as they are, since only the origin knows which of them mean the same.

/// A host as all its spellings.
#[must_use]
pub fn host(scheme: &str, host: &str) -> String {
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let host = host.trim().to_ascii_lowercase();
    host.strip_suffix(usual).map_or(host.clone(), str::to_owned)
}

/// An absolute URL in the same way, without its fragment; nothing if it is none of HTTP's.
#[must_use]
pub fn url(url: &str) -> Option<String> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let (name, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if target.starts_with('/') { "" } else { "/" };
    (!name.is_empty() && !name.contains('@')).then(|| format!("{scheme}://{}{slash}{target}", host(&scheme, name)))
}

/// Host and target of a URL that is written in the one way, but for what depends on its scheme: the port that either has anyway.
#[must_use]
pub fn halves(url: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = url.windows(3).position(|part| part == b"://")? + 3;
    let rest = url.get(at..)?;
    let (host, target) = rest.split_at(rest.iter().position(|byte| *byte == b'/')?);
    Some((portless(host), target))
}

/// A host without the port that one of HTTP's schemes has anyway.
#[must_use]
pub fn portless(host: &[u8]) -> &[u8] {
    host.strip_suffix(b":443").or(host.strip_suffix(b":80")).unwrap_or(host)
}

/// The URL that a `Location` or `Content-Location` in the answer to a change names, if it is of the same origin (RFC 9111, 4.4): a
/// change of one origin's may not throw away another's.
#[must_use]
pub fn same_origin(scheme: &str, name: &str, location: &str) -> Option<String> {
    let origin = format!("{scheme}://{}", host(scheme, name));
    let location = location.trim();
    if location.starts_with('/') && !location.starts_with("//") {
        return url(&format!("{origin}{location}"));
    }
    url(location).filter(|url| url.strip_prefix(&origin).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_host_are_one() {
        for (scheme, name, wanted) in [
            ("http", "Shop.Test", "shop.test"),
            ("http", "shop.test:80", "shop.test"),
            ("http", "shop.test:443", "shop.test:443"),
            ("https", "shop.test:443", "shop.test"),
            ("http", "[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(host(scheme, name), wanted);
        }
        assert_eq!(url("HTTP://A.test:80?x#y").as_deref(), Some("http://a.test/?x"));
        assert_eq!((url("ftp://a/"), url("/x"), url("http://u@a/")), (None, None, None));
    }

    #[test]
    fn a_url_is_the_same_behind_what_ends_tls() {
        let halves = |url: &'static str| halves(url.as_bytes());
        let wanted = Some((&b"a.test"[..], &b"/x?y=http://b"[..]));
        for url in ["http://a.test/x?y=http://b", "https://a.test/x?y=http://b", "http://a.test:443/x?y=http://b"] {
            assert_eq!(halves(url), wanted, "{url}");
        }
        assert_eq!(halves("https://[::80]:8443/"), Some((&b"[::80]:8443"[..], &b"/"[..])));
        assert_eq!((halves("/x"), halves("a.test")), (None, None));
    }

    #[test]
    fn only_the_same_origin_is_invalidated() {
        for (location, wanted) in [
            ("/x?y", Some("http://a.test/x?y")),
            ("http://A.test/x", Some("http://a.test/x")),
            ("http://a.test:80/x", Some("http://a.test/x")),
            ("http://a.test.evil/x", None),
            ("https://a.test/x", None),
            ("//b.test/x", None),
            ("x", None),
        ] {
            assert_eq!(same_origin("http", "a.test", location).as_deref(), wanted, "{location}");
        }
    }
}
