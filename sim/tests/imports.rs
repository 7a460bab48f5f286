//! The import test: a folder is a rule, and this is where the rule is kept.
//!
//! Which package may build on which is one table here; manifests and `use` lines are held against it. The core
//! must give the same answer to the same input on every machine, so its sources may not even mention a clock,
//! thread, socket, file or the environment. `core/clippy.toml` bans the same by resolved name; this test also
//! sees what clippy is told to allow.

mod support;

use support::{Finding, Source, assert_none, code, files, has_word, line_of, product};

/// A package, the packages of the house it may import, and, in the core, the only third-party ones.
struct Rule {
    package: &'static str,
    internal: &'static [&'static str],
    third_party: ThirdParty,
}

enum ThirdParty {
    Any,
    Only(&'static [&'static str]),
}

const ALL: &[&str] = &["base", "data", "script", "consensus", "edge", "gateway", "history", "node", "storage"];
const CORE: ThirdParty = ThirdParty::Only(&["bytes", "smallvec", "siphasher"]);

const RULES: &[Rule] = &[
    Rule { package: "base", internal: &[], third_party: ThirdParty::Only(&["bytes"]) },
    Rule {
        package: "data",
        internal: &["base"],
        third_party: ThirdParty::Only(&["bytes", "smallvec", "siphasher", "sha1_smol"]),
    },
    Rule {
        package: "script",
        internal: &["base", "data"],
        third_party: ThirdParty::Only(&["bytes", "smallvec", "mlua"]),
    },
    Rule { package: "consensus", internal: &["base"], third_party: CORE },
    Rule { package: "edge", internal: &["base", "data"], third_party: CORE },
    Rule { package: "gateway", internal: &["base"], third_party: CORE },
    Rule { package: "history", internal: &["base"], third_party: ThirdParty::Only(&["serde_json", "smallvec"]) },
    Rule { package: "node", internal: &["base", "data", "consensus"], third_party: CORE },
    Rule { package: "storage", internal: &["base"], third_party: ThirdParty::Any },
    Rule { package: "tidegate", internal: ALL, third_party: ThirdParty::Any },
    Rule { package: "sim", internal: ALL, third_party: ThirdParty::Any },
    Rule { package: "bench", internal: &[], third_party: ThirdParty::Any },
    Rule { package: "fuzz", internal: ALL, third_party: ThirdParty::Any },
];

/// What core sources never mention: each would let two replicas differ.
const BANNED_IN_CORE: &[&str] = &[
    "tokio",
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
];

#[test]
fn manifests_keep_the_table() {
    assert_none(&manifests().iter().flat_map(forbidden_dependencies).collect::<Vec<_>>());
}

#[test]
fn use_lines_keep_the_table() {
    let manifests = manifests();
    let sources = files(".rs");
    let owned = sources.iter().filter_map(|source| Some((rule_of(&manifests, source)?, source)));
    assert_none(&owned.flat_map(|(rule, source)| forbidden_uses(rule, source)).collect::<Vec<_>>());
}

#[test]
fn core_has_no_clock_thread_socket_file_or_environment() {
    let core: Vec<Source> = files(".rs").into_iter().filter(is_core_product).collect();
    assert!(!core.is_empty(), "no source in core/: the walk is broken");
    assert_none(&core.iter().flat_map(banned_mentions).collect::<Vec<_>>());
}

fn is_core_product(source: &Source) -> bool {
    source.path.starts_with("core/") && source.path.contains("/src/") && !source.path.ends_with("/tests.rs")
}

fn manifests() -> Vec<Source> {
    files("Cargo.toml").into_iter().filter(|manifest| manifest.text.contains("[package]")).collect()
}

fn name_of(manifest: &Source) -> &str {
    let line = manifest.text.lines().find(|line| line.starts_with("name"));
    line.and_then(|line| line.split('"').nth(1)).unwrap_or("")
}

/// The rule of the package in whose `src` the file stands; tests may use what they like.
fn rule_of<'a>(manifests: &[Source], source: &Source) -> Option<&'a Rule> {
    let home = |manifest: &&Source| source.path.starts_with(&manifest.path.replace("Cargo.toml", "src/"));
    let name = name_of(manifests.iter().find(home)?);
    RULES.iter().find(|rule| rule.package == name)
}

fn forbidden_dependencies(manifest: &Source) -> Vec<Finding> {
    let name = name_of(manifest);
    let Some(rule) = RULES.iter().find(|rule| rule.package == name) else {
        let what = format!("package `{name}` has no row in sim/tests/imports.rs: add what it may import");
        return vec![manifest.finding(1, what)];
    };
    let mut found = Vec::new();
    let mut section = "";
    for (index, line) in manifest.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        }
        let dependency = dependency_of(section, line);
        if let Some(reason) = dependency.and_then(|dependency| refusal(rule, section, dependency)) {
            found.push(manifest.finding(index + 1, reason));
        }
    }
    found
}

/// The dependency that a line of a manifest brings in: `a = ..`, `a.workspace = ..` or `[dependencies.a]`.
fn dependency_of<'a>(section: &'a str, line: &'a str) -> Option<&'a str> {
    if line.starts_with('[') {
        return section.rsplit_once("dependencies.").map(|(_, name)| name);
    }
    if !section.ends_with("dependencies") || line.starts_with('#') {
        return None;
    }
    let name = line.split_once('=')?.0.trim();
    Some(name.split('.').next().unwrap_or(name))
}

/// Why a package may not depend on another; development dependencies are free but for the simulator.
fn refusal(rule: &Rule, section: &str, dependency: &str) -> Option<String> {
    let package = rule.package;
    if dependency == "sim" {
        return Some(format!("`{package}` depends on `sim`: nothing may, move what you need out of it"));
    }
    if section.contains("dev-dependencies") {
        return None;
    }
    if RULES.iter().any(|rule| rule.package == dependency) {
        let allowed = rule.internal.contains(&dependency);
        return (!allowed).then(|| format!("`{package}` may not import `{dependency}`, only {:?}", rule.internal));
    }
    match rule.third_party {
        ThirdParty::Only(names) if !names.contains(&dependency) => Some(format!(
            "`{package}` is core and may use only {names:?} from outside, not `{dependency}`: \
             move the work out of core, or give the dependency a sentence in ARCHITECTURE.md and a place here"
        )),
        _ => None,
    }
}

fn forbidden_uses(rule: &Rule, source: &Source) -> Vec<Finding> {
    let code = product(&code(&source.text));
    let own_module = |name: &str| code.contains(&format!("mod {name};")) || code.contains(&format!("mod {name} {{"));
    let strange = |name: &str| {
        let internal = RULES.iter().any(|rule| rule.package == name);
        internal && name != rule.package && !rule.internal.contains(&name) && !own_module(name)
    };
    let uses = use_paths(&code).into_iter();
    uses.filter_map(|(line, path)| {
        let first = path.trim_start_matches("::").split("::").next().unwrap_or("");
        let what = || format!("`{}` may not use `{first}`, only {:?}", rule.package, rule.internal);
        strange(first).then(|| source.finding(line, what()))
    })
    .collect()
}

fn banned_mentions(source: &Source) -> Vec<Finding> {
    let code = product(&code(&source.text));
    let plain = code.lines().enumerate().map(|(index, line)| (index + 1, line.replace(' ', "")));
    let expanded = use_paths(&code).into_iter();
    let mut found: Vec<Finding> = Vec::new();
    for (line, text) in plain.chain(expanded) {
        let hit = BANNED_IN_CORE.iter().find(|needle| has_word(&text, needle));
        let whole = ["std::*", "std::time", "std::time::self", "std::time::*"].contains(&text.as_str());
        if let Some(needle) = hit.copied().or(whole.then_some("std::time")) {
            let what = format!("core mentions {needle}: take it as an argument, or do it in the binary or storage");
            found.push(source.finding(line, what));
        }
    }
    found.sort_by_key(|finding| finding.line);
    found.dedup();
    found
}

/// Every path that the `use` lines bring in, groups spelled out, with its line.
fn use_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let starts = code[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || c == ')');
        let Some(end) = code[at..].find(';').filter(|_| starts) else { continue };
        let tree: String = code[at + "use ".len()..at + end].replace(" as ", "@").split_whitespace().collect();
        let line = line_of(code, at);
        found.extend(expand("", &tree).into_iter().map(|path| (line, path)));
    }
    found
}

/// Spells out one tree: `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn expand(prefix: &str, tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split('@').next().unwrap_or(tree);
        return vec![format!("{prefix}{path}")];
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let prefix = format!("{prefix}{head}");
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.extend((at > from).then(|| expand(&prefix, &inner[from..at])).into_iter().flatten());
                from = at + 1;
            }
            _ => {}
        }
    }
    found
}

mod the_checks_can_fail {
    use super::*;

    fn manifest(name: &str, rest: &str) -> Vec<Finding> {
        let text = format!("[package]\nname = \"{name}\"\n{rest}");
        forbidden_dependencies(&Source::new("x/Cargo.toml", &text))
    }

    fn rule(package: &str) -> &'static Rule {
        RULES.iter().find(|rule| rule.package == package).expect("the package has a row")
    }

    #[test]
    fn a_forbidden_edge_is_found() {
        assert_eq!(manifest("edge", "[dependencies]\ndata.workspace = true\n"), vec![]);
        assert_eq!(manifest("data", "[dependencies]\nconsensus.workspace = true\n")[0].line, 4);
        assert_eq!(manifest("node", "[dependencies]\nstorage = { path = \"../storage\" }\n").len(), 1);
        assert_eq!(manifest("node", "[dependencies.edge]\nworkspace = true\n").len(), 1);
    }

    #[test]
    fn a_dependency_on_the_simulator_is_found() {
        assert_eq!(manifest("tidegate", "[dev-dependencies]\nsim.workspace = true\n").len(), 1);
    }

    #[test]
    fn a_third_party_crate_in_core_is_found() {
        assert_eq!(manifest("base", "[dependencies]\nbytes = \"1\"\n"), vec![]);
        assert_eq!(manifest("base", "[dependencies]\nsmallvec = \"1\"\n").len(), 1);
        assert_eq!(manifest("node", "[dependencies]\nrand = \"1\"\n").len(), 1);
        assert_eq!(manifest("storage", "[dependencies]\ncrc32c = \"1\"\n[dev-dependencies]\nrand = \"1\"\n"), vec![]);
    }

    #[test]
    fn a_package_without_a_row_is_found() {
        assert_eq!(manifest("newcomer", "").len(), 1);
    }

    #[test]
    fn a_forbidden_use_is_found() {
        let uses = |text: &str| forbidden_uses(rule("consensus"), &Source::new("core/x/src/a.rs", text));
        assert_eq!(uses("use base::ids::Index;\nuse crate::data::X;\n"), vec![]);
        assert_eq!(uses("use base::Index;\npub(crate) use data::{Reply};\n")[0].line, 2);
        assert_eq!(uses("#[cfg(test)]\nmod tests {\n    use data::Reply;\n}\n"), vec![]);
        assert_eq!(uses("mod data;\npub use data::X;\n"), vec![]);
    }

    #[test]
    fn a_mention_of_the_world_in_core_is_found() {
        let lines = |text: &str| -> Vec<usize> {
            banned_mentions(&Source::new("core/x/src/a.rs", text)).iter().map(|finding| finding.line).collect()
        };
        assert_eq!(lines("use std::time::Duration;\nuse base::time::Instant;\n// std::fs\n"), []);
        assert_eq!(lines("use std::{\n    collections::BTreeMap,\n    time::{Duration, Instant},\n};\n"), [1]);
        assert_eq!(lines("\nfn f() { std::thread::yield_now() }\n"), [2]);
        assert_eq!(lines("use std::{fs as files, mem};\nuse tokio::net;\nuse std::time;\n"), [1, 2, 3]);
        assert_eq!(lines("#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"), []);
    }
}
