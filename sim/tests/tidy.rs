//! The tidy test: rules of STYLE that a machine can check, over every Rust file of the repository.
//!
//! Functions stay under 71 lines and files under 601, nothing unfinished is committed, every file says at its top
//! what it is, no file lies about that nothing declares, and no test sleeps or is ignored. Beside each check stands the
//! test that shows it can fail. The limits are the house's; a file that outgrows them wants to be two.

mod support;

use support::{Finding, Source, assert_none, code, files, has_word, item_end, line_of, product};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;

#[test]
fn functions_are_short() {
    assert_none(&over_all(long_functions));
}

#[test]
fn files_are_short() {
    assert_none(&over_all(long_file));
}

#[test]
fn nothing_is_unfinished() {
    assert_none(&over_all(unfinished));
}

#[test]
fn files_say_what_they_are() {
    assert_none(&over_all(no_header));
}

#[test]
fn no_file_is_dead() {
    assert_none(&dead_files(&files(".rs")));
}

#[test]
fn no_test_sleeps() {
    assert_none(&over_all(sleeping_test));
}

#[test]
fn no_test_is_ignored() {
    assert_none(&over_all(ignored_test));
}

fn over_all(check: fn(&Source) -> Vec<Finding>) -> Vec<Finding> {
    files(".rs").iter().flat_map(check).collect()
}

fn long_functions(source: &Source) -> Vec<Finding> {
    let code = code(&source.text);
    let starts = code.match_indices("fn ").filter(|(at, _)| is_function(&code, *at));
    let measured = starts.map(|(at, _)| {
        let first = line_of(&code, at);
        (first, line_of(&code, item_end(&code, at) - 1) + 1 - first)
    });
    measured
        .filter(|(_, lines)| *lines > FUNCTION_LINES_MAX)
        .map(|(first, lines)| {
            let what = format!("a function of {lines} lines, over {FUNCTION_LINES_MAX}: give its steps names");
            source.finding(first, what)
        })
        .collect()
}

/// True for `fn name`, not for `Xfn name` or the pointer type `fn (..)`.
fn is_function(code: &str, at: usize) -> bool {
    let before = code[..at].chars().next_back();
    let after = code[at + "fn ".len()..].chars().next();
    !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && after.is_some_and(|c| c.is_alphabetic() || c == '_')
}

fn long_file(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    let what = format!("a file of {lines} lines, over {FILE_LINES_MAX}: split it by nouns");
    (lines > FILE_LINES_MAX).then(|| source.finding(lines, what)).into_iter().collect()
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let needles = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    let code = code(&source.text);
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for needle in needles.iter().filter(|needle| line.contains(**needle)) {
            found.push(source.finding(index + 1, format!("{needle}..) is committed: finish it or take it out")));
        }
    }
    found
}

fn no_header(source: &Source) -> Vec<Finding> {
    let told = source.text.starts_with("//!");
    let what = "no `//!` on the first line: say what this file is and why it exists";
    (!told).then(|| source.finding(1, what)).into_iter().collect()
}

/// In two parts, so that this file has none itself.
const NAP: &str = concat!("thread::", "sleep");

fn sleeping_test(source: &Source) -> Vec<Finding> {
    let all = code(&source.text);
    let product = if is_test_file(&source.path) { String::new() } else { product(&all) };
    let mut outside = product.lines();
    let mut found = Vec::new();
    for (index, line) in all.lines().enumerate() {
        let in_test = outside.next() != Some(line);
        let sleeps = line.contains(NAP) || (line.contains("thread::{") && has_word(line, "sleep"));
        if in_test && sleeps {
            found.push(source.finding(index + 1, "a test sleeps: wait for a line, a reply or a read timeout instead"));
        }
    }
    found
}

fn ignored_test(source: &Source) -> Vec<Finding> {
    let all = code(&source.text);
    let ignored = all.lines().enumerate().filter(|(_, line)| line.contains(concat!("#[", "ignore")));
    let what = "an ignored test: put what needs more than a clone behind a feature that CI turns on";
    ignored.map(|(index, _)| source.finding(index + 1, what)).collect()
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn dead_files(sources: &[Source]) -> Vec<Finding> {
    let dead = sources.iter().filter(|source| !is_declared(&source.path, sources));
    dead.map(|source| source.finding(1, "no parent declares this module with `mod ..;`: declare or delete it"))
        .collect()
}

/// True if cargo takes the file for a root, or a parent module names it.
fn is_declared(path: &str, sources: &[Source]) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    if is_root(folder, stem) {
        return true;
    }
    let (home, name) = if stem == "mod" { folder.rsplit_once('/').unwrap_or(("", folder)) } else { (folder, stem) };
    let declared = format!("mod {name};");
    let parents = sources.iter().filter(|source| is_parent(&source.path, home) && source.path != path);
    parents.map(|source| code(&source.text)).any(|code| {
        code.lines().any(|line| line.trim_end().ends_with(&declared) && has_word(line, "mod") && has_word(line, name))
    })
}

fn is_root(folder: &str, stem: &str) -> bool {
    let last = folder.rsplit('/').next().unwrap_or("");
    match stem {
        "build" => !folder.contains("/src"),
        "lib" => last == "src",
        "main" => last == "src" || folder.contains("/tests/") || folder.contains("/bin/"),
        "mod" => false,
        _ => matches!(last, "tests" | "bin" | "benches" | "examples" | "fuzz_targets"),
    }
}

/// True if the modules of `folder` may be declared in the file `path`.
fn is_parent(path: &str, folder: &str) -> bool {
    let (home, file) = path.rsplit_once('/').unwrap_or(("", path));
    let inside = home == folder && matches!(file, "lib.rs" | "main.rs" | "mod.rs");
    let beside = path.strip_suffix(".rs") == Some(folder);
    let test_root = home == folder && folder.ends_with("/tests");
    inside || beside || test_root
}

mod the_checks_can_fail {
    use super::*;

    fn sample(text: &str) -> Source {
        Source::new("core/x/src/lib.rs", text)
    }

    #[test]
    fn a_long_function_is_found() {
        let body = |lines: usize| format!("struct S;\nfn f(a: [u8; 4]) {{\n{}}}\n", "    // }\n".repeat(lines));
        assert_eq!(long_functions(&sample(&body(68))), vec![]);
        assert_eq!(long_functions(&sample(&body(69)))[0].line, 2);
    }

    #[test]
    fn a_function_pointer_is_no_function() {
        assert_eq!(long_functions(&sample(&format!("type F = fn (u8);{}", "\n".repeat(100)))), vec![]);
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(long_file(&sample(&"\n".repeat(600))), vec![]);
        assert_eq!(long_file(&sample(&"\n".repeat(601))).len(), 1);
    }

    #[test]
    fn unfinished_work_is_found_in_code_only() {
        let bad = [concat!("todo", "!()"), concat!("unimplemented", "!(1)"), concat!("dbg", "!(x)")].join(";\n");
        assert_eq!(unfinished(&sample(&bad)).iter().map(|f| f.line).collect::<Vec<_>>(), [1, 2, 3]);
        let quoted = format!("// {0}\nlet a = \"{0}\";\nlet b = r#\"\"{0}\"#;", concat!("dbg", "!(x)"));
        assert_eq!(unfinished(&sample(&quoted)), vec![]);
    }

    #[test]
    fn a_missing_header_is_found() {
        assert_eq!(no_header(&sample("//! A thing.\n")), vec![]);
        assert_eq!(no_header(&sample("fn main() {}\n")).len(), 1);
    }

    #[test]
    fn a_dead_file_is_found() {
        let lib = Source::new("x/src/lib.rs", "pub mod a;\n// mod c;\n");
        let others = ["a/mod", "a/b", "c"].map(|stem| Source::new(&format!("x/src/{stem}.rs"), "mod b;\n"));
        let sources: Vec<Source> = [lib].into_iter().chain(others).collect();
        let dead: Vec<String> = dead_files(&sources).into_iter().map(|f| f.path).collect();
        assert_eq!(dead, ["x/src/c.rs"]);
    }

    #[test]
    fn a_dead_helper_of_tests_is_found() {
        let root = |text| Source::new("x/tests/a.rs", text);
        let helper = || Source::new("x/tests/support/mod.rs", "");
        assert_eq!(dead_files(&[root("mod support;\n"), helper()]), vec![]);
        assert_eq!(dead_files(&[root("\n"), helper()]).len(), 1);
    }

    #[test]
    fn a_sleeping_test_is_found() {
        let nap = &format!("fn f() {{ std::{NAP}(d) }}\n");
        let mixed = format!("{nap}#[cfg(test)]\nmod tests {{\n{nap}}}\n");
        assert_eq!(sleeping_test(&sample(&mixed)).iter().map(|f| f.line).collect::<Vec<_>>(), [4]);
        assert_eq!(sleeping_test(&Source::new("x/tests/a.rs", nap)).len(), 1);
        assert_eq!(sleeping_test(&sample(nap)), vec![]);
    }

    #[test]
    fn an_ignored_test_is_found() {
        let bad = ["#[", "ignore]\n#[", "ignore = \"slow\"]\n"].concat();
        assert_eq!(ignored_test(&sample(&bad)).iter().map(|f| f.line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn characters_and_lifetimes_are_told_apart() {
        let text = "fn f<'a>(c: &'a u8) { if c == '\"' || c == '\\'' || c == b'{' { g(\"}\") } }\nfn h() {}\n";
        assert_eq!(code(text).matches('{').count(), code(text).matches('}').count());
        assert!(code(text).contains("fn h()") && code(text).contains("&'a u8"));
    }
}
