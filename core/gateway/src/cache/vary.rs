//! Which of a request's headers a response goes by (RFC 9111, 4.1), and what of them tells two requests apart.
//!
//! A response that goes by what the gateway itself makes of each client (`Forwarded`, a trace) is one of its client's alone, as by
//! `Vary: *`. Values are made alike where their header's syntax says that they mean the same: letters and blanks of lists, the order
//! of codings. So a hundred spellings of `gzip, br` are one.

/// The names that a response goes by, in lower case, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vary {
    names: Vec<String>,
    /// It goes by what can't be told.
    all: bool,
}

/// More than this many are taken for all.
const NAMES_MAX: usize = 16;
/// What the gateway puts on differs with each request.
const OWN: [&str; 9] = [
    "forwarded",
    "x-forwarded-for",
    "via",
    "client-cert",
    "client-cert-chain",
    "x-client-cert-subject",
    "traceparent",
    "tracestate",
    "x-deadline-ms",
];
/// Lists whose letters and blanks say nothing.
const LISTS: [&str; 4] = ["accept", "accept-charset", "accept-encoding", "accept-language"];

impl Vary {
    /// One more line of the header.
    pub fn read(&mut self, line: &[u8]) {
        for name in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            self.all |= name == "*" || OWN.contains(&name.as_str());
            self.add(name);
        }
    }

    fn add(&mut self, name: String) {
        if let Err(at) = self.names.binary_search(&name) {
            self.names.insert(at, name);
            self.all |= self.names.len() > NAMES_MAX;
        }
    }

    /// True if no other request can be known to be alike.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.all
    }

    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Both: what is told apart by either is told apart.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.all |= other.all;
        other.names.iter().for_each(|name| both.add(name.clone()));
        both
    }

    /// What tells requests apart: the same for two if both get the same response. `lines` gives the lines of a header.
    pub fn selector<'a, Lines: Iterator<Item = &'a [u8]>>(&self, lines: impl Fn(&str) -> Lines) -> Vec<u8> {
        let mut selector = Vec::new();
        if base::mutation::on(base::mutation::Mutation::CacheVaryIgnored) {
            return selector;
        }
        for name in &self.names {
            selector.extend_from_slice(name.as_bytes());
            let mut there = false;
            for line in lines(name) {
                // One header on two lines is a list; none is another thing than an empty one.
                selector.push(if there { b',' } else { b':' });
                there = true;
                // What is quoted is its maker's: letters and commas count.
                if LISTS.contains(&name.as_str()) && !line.contains(&b'"') {
                    normal(line, name, &mut selector)
                } else {
                    selector.extend(line.trim_ascii())
                }
            }
            // No value holds it.
            selector.push(b'\n');
        }
        selector
    }
}

fn normal(line: &[u8], name: &str, into: &mut Vec<u8>) {
    let plain = |part: &[u8]| -> Vec<u8> {
        part.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect()
    };
    let mut parts: Vec<Vec<u8>> = line.split(|byte| *byte == b',').map(plain).filter(|part| !part.is_empty()).collect();
    // Of codings and charsets only the weights count, never the order.
    if name == "accept-encoding" || name == "accept-charset" {
        parts.sort_unstable();
        parts.dedup();
    }
    into.extend(parts.join(&b','));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vary(line: &str) -> Vary {
        let mut vary = Vary::default();
        vary.read(line.as_bytes());
        vary
    }

    fn selector(vary: &Vary, headers: &[(&str, &str)]) -> Vec<u8> {
        vary.selector(|name| {
            let name = name.to_owned();
            headers.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_bytes())
        })
    }

    #[test]
    fn names_are_a_set() {
        assert_eq!(
            vary("Accept-Encoding, accept-language,,ACCEPT-ENCODING").names(),
            ["accept-encoding", "accept-language"]
        );
        assert!(vary("a, *").is_all() && vary("X-Forwarded-For").is_all() && vary("traceparent").is_all());
        let many: Vec<String> = (0..17).map(|n| format!("x-{n}")).collect();
        assert!(vary(&many.join(",")).is_all());
        assert_eq!(vary("b").with(&vary("a, b")).names(), ["a", "b"]);
    }

    #[test]
    fn requests_that_mean_the_same_are_alike() {
        let by = vary("accept-encoding");
        let same = selector(&by, &[("accept-encoding", "gzip, br;q=1")]);
        for other in ["br;q=1,gzip", "GZIP ,  br; q=1", "gzip,gzip,br;q=1"] {
            assert_eq!(selector(&by, &[("accept-encoding", other)]), same, "{other}");
        }
        for other in ["gzip", "gzip, br;q=0", ""] {
            assert_ne!(selector(&by, &[("accept-encoding", other)]), same, "{other}");
        }
        assert_ne!(selector(&by, &[]), selector(&by, &[("accept-encoding", "")]));
    }

    #[test]
    fn what_is_quoted_stays_as_it_is() {
        let by = vary("accept");
        let of = |value: &str| selector(&by, &[("accept", value)]);
        assert_eq!(of("text/HTML, a/b"), of("text/html,a/b"));
        assert_ne!(of("a/b;profile=\"http://x/A\""), of("a/b;profile=\"http://x/a\""));
        assert_ne!(of("a/b;profile=\"x y\""), of("a/b;profile=\"xy\""));
    }

    #[test]
    fn no_value_can_pass_for_another_header() {
        let by = vary("a, b");
        let one = selector(&by, &[("a", "1"), ("b", "2")]);
        for other in [vec![("a", "1,b:2")], vec![("a", "2"), ("b", "1")], vec![("a", "1"), ("a", "b"), ("b", "2")]] {
            assert_ne!(selector(&by, &other), one, "{other:?}");
        }
        assert_ne!(
            selector(&by, &[("a", "X")]),
            selector(&by, &[("a", "x")]),
            "letters count where nothing says otherwise"
        );
    }
}
