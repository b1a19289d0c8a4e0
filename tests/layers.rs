//! The architecture as a table, checked against every path in `src/` that starts with `crate::` or `super::`: who may
//! import whom, and how long a file may be. Code under `#[cfg(test)]` and `tests.rs` files may import what they like.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the crate, lowest first, each with those that it may import. A row names only rows above it.
///
/// Worth seeing: `protocol` and `record` do not know each other; `producer` and `consumer` do not either; the broker
/// stands beside the client and shares only the wire with it.
const CRATE: &str = "
    types     ->
    time      ->
    counter   ->
    error     -> types
    serialize -> types
    protocol  -> types time error
    record    -> types time error
    config    -> types time error
    metrics   -> types time
    net       -> types time error protocol config metrics
    client    -> types time counter error protocol config metrics net
    producer  -> types time error serialize protocol config metrics net client record
    consumer  -> types time error serialize protocol config metrics net client record
    process   -> types time error config metrics producer consumer
    admin     -> types time error protocol config metrics net client
    broker    -> types time counter error protocol record
";

/// The same inside the producer; behind the bar what a part uses of the rest of the crate. `mod` is the public face,
/// which may use all of its parts.
///
/// Worth seeing: only the sender knows of batches and of sequences. It takes nouns from `client`; calling it is the
/// driver's work (see [`PURE`]).
const PRODUCER: &str = "
    record      ->                                                | types
    record_metadata ->                                            |
    callbacks   -> record_metadata                                | error
    delivery    -> record_metadata callbacks                      | types time error
    partitioner -> record                                         | types error
    memory      ->                                                | time
    metrics     ->                                                | types time metrics
    measured    -> metrics mod                                    | time error metrics
    batch       -> record record_metadata delivery callbacks memory | types time error record
    accumulator -> record delivery callbacks memory partitioner batch | types time error record
    sequencer   ->                                                | types
    txn         ->                                                | types time error protocol client
    sender      -> delivery metrics batch accumulator sequencer txn | types time error protocol record client
    commands    -> delivery                                       | types time error
    coordination -> txn                                           | error protocol net client time
    driver      -> accumulator sender txn commands coordination   | types time error protocol client
    blocked     -> record delivery callbacks mod                  | time error
    interceptor -> record record_metadata                         | types error
    interceptors -> record record_metadata delivery callbacks interceptor mod | types error
    typed       -> record record_metadata delivery interceptors mod | types error serialize
    transactional -> commands measured metrics txn mod            | types time error config metrics
    transaction -> delivery record record_metadata commands transactional txn mod | types time error
    builder     -> memory metrics partitioner accumulator txn sender driver interceptor interceptors transactional mod | types time error config metrics net client record
";

/// The same inside the consumer.
///
/// Worth seeing: the fetcher does not know how its requests are sent, and only hands out what a poll takes.
const CONSUMER: &str = "
    records      ->                                               | types record
    subscription ->                                               | types time error config
    fetcher      -> records subscription                          | types time error config protocol record client
    group        ->                                               | types time error protocol client
    offsets      -> group                                         | types time error config protocol
    metrics      -> group offsets                                 | types time metrics
    measured     -> records metrics                               | types protocol record
    interceptor  -> records                                       | types
    typed        -> records                                       | types error serialize
    lookup       -> subscription                                  | types time error config protocol client
    collector    -> records fetcher                               | time error
    pattern      ->                                               | error
    watch        -> group pattern                                 | types time error client
    coordination -> group offsets                                 | types time error protocol client
    membership   -> group offsets watch coordination              | types time error client
    driver       -> subscription fetcher membership coordination interceptor measured metrics | types time error protocol client
    handle       -> subscription records lookup group membership driver measured metrics | types time error config metrics client
    listener     -> handle                                        | types
    rebalance    -> subscription group driver mod                 | types time error
    stream       -> records subscription mod                      | types time error
    close        -> group mod                                     | time
    builder      -> fetcher group offsets watch membership driver handle interceptor metrics mod | time error config metrics net client
";

/// Decisions without I/O, tasks, clock or chance: what they need to know of those is handed in, chance as a seed.
const PURE: [&str; 31] = [
    "src/admin/ledger.rs",
    "src/admin/model.rs",
    "src/broker/group",
    "src/broker/placement.rs",
    "src/broker/txn",
    "src/types.rs",
    "src/config",
    "src/metrics",
    "src/record",
    "src/net/inflight.rs",
    "src/client/coordinator.rs",
    "src/client/metadata/merge.rs",
    "src/client/metadata/refresh.rs",
    "src/client/metadata/snapshot.rs",
    "src/producer/batch.rs",
    "src/producer/metrics.rs",
    "src/producer/partitioner",
    "src/producer/accumulator/queue.rs",
    "src/producer/sender",
    "src/producer/sequencer",
    "src/producer/txn",
    "src/consumer/fetcher",
    "src/consumer/group",
    "src/consumer/measured.rs",
    "src/consumer/metrics",
    "src/consumer/offsets",
    "src/consumer/subscription",
    "src/consumer/typed.rs",
    "src/consumer/interceptor.rs",
    "src/process/decide.rs",
    "src/process/progress.rs",
];

/// Words that the files of [`PURE`] do not contain outside of tests.
const IMPURE: [&str; 8] =
    ["async", "await", "fastrand", "now", "spawn", "tokio", "SystemTime", "TcpStream"];

/// Lines of a file before its tests.
const LONGEST_FILE: usize = 500;

/// What lies at the top of the repository, besides dotfiles and what cargo builds.
const TOP_LEVEL: [&str; 10] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "examples",
    "src",
    "tests",
];

#[test]
fn modules_import_only_what_their_row_allows() {
    let layers = Layers::new();
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let text = fs::read_to_string(root().join(&file)).expect("a file of src");
        wrong.extend(layers.check(&file, &text));
    }
    for row in layers.of_crate.keys() {
        let module = root().join("src").join(row);
        assert!(
            module.is_dir() || module.with_extension("rs").is_file(),
            "`{row}` is gone; drop its row"
        );
    }
    assert!(
        wrong.is_empty(),
        "the table at the top of tests/layers.rs forbids:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn pure_files_do_no_io_and_ask_no_clock() {
    let mut wrong = Vec::new();
    for part in PURE {
        let files = rust_files(part);
        assert!(!files.is_empty(), "{part} is not there; correct the list");
        for file in files.iter().filter(|file| !is_test(file)) {
            let text = fs::read_to_string(root().join(file)).expect("a file of src");
            let impure = impure_words(&tokens(&text)).into_iter();
            wrong.extend(impure.map(|(line, word)| format!("{}:{line}: {word}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "the files that PURE names decide only:\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let mut long = Vec::new();
    for file in ["src", "examples", "benches"].into_iter().flat_map(rust_files) {
        let text = fs::read_to_string(root().join(&file)).expect("a file of the project");
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if !is_test(&file) && lines > LONGEST_FILE {
            long.push(format!("{} has {lines} lines before its tests", file.display()));
        }
    }
    assert!(long.is_empty(), "over {LONGEST_FILE} lines, more than one idea:\n{}", long.join("\n"));
}

#[test]
fn the_top_level_has_only_what_was_agreed() {
    let entries = fs::read_dir(root()).expect("the repository");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    names.sort();
    assert_eq!(names, TOP_LEVEL, "what is at the top (left) is not what was agreed (right)");
}

/// The checker, on code that breaks the rules.
#[test]
fn violations_are_seen() {
    let layers = Layers::new();
    let check = |file: &str, text: &str| layers.check(Path::new(file), text);
    let refused = [
        ("src/protocol/x.rs", "use crate::record::Codec;"),
        ("src/record/mod.rs", "use crate::{types::Header, protocol::{ApiKey, Reader}};"),
        ("src/net/x.rs", "fn f(c: &super::super::client::Client) {}"),
        ("src/time.rs", "use super::error::ErrorCode;"),
        ("src/client/x/y.rs", "mod inner { use crate::producer::Producer; }"),
        ("src/config/x.rs", "macro_rules! m { () => { $crate::client::Client } }"),
        ("src/net/x.rs", "use crate::Compression;"),
        ("src/net/x.rs", "use crate::*;"),
        ("src/unheard_of.rs", ""),
        ("src/producer/unheard_of.rs", ""),
        ("src/producer/sequencer/x.rs", "use crate::producer::batch::Batch;"),
        ("src/producer/memory.rs", "use super::sender::Sender;"),
        ("src/producer/sender/x.rs", "use super::super::driver::Driver;"),
        ("src/producer/sender/x.rs", "use crate::net::Connect;"),
        ("src/producer/batch.rs", "use crate::producer::Producer;"),
        ("src/time.rs", "#[cfg(test)] mod tests { fn f() {} }\nuse crate::error::ErrorCode;"),
    ];
    for (file, text) in refused {
        assert!(!check(file, text).is_empty(), "{file} may not contain: {text}");
    }
    let allowed = [
        ("src/net/x.rs", "use crate::{types::BrokerId, protocol};"),
        ("src/net/x.rs", "// use crate::client::Client;\nconst A: &str = \"crate::client::B\";"),
        ("src/net/x.rs", "const A: char = '\"'; const B: &str = r#\"crate::client\"#;"),
        (
            "src/net/x.rs",
            "fn f<'a>(x: &'a str) {}\n#[cfg(test)]\nmod tests { use crate::client::A; }",
        ),
        ("src/net/tests.rs", "use crate::producer::Producer;"),
        ("src/net/x.rs", "mod inner { use super::super::driver::Driver; }"),
        ("src/producer/mod.rs", "use crate::producer::sender::Sender; use accumulator::A;"),
        ("src/producer/builder.rs", "use crate::producer::{Inner, driver::Driver};"),
        ("src/producer/sender/x.rs", "use crate::producer::sender::y::Z; pub(crate) fn f() {}"),
        ("src/lib.rs", "pub use error::ErrorCode;"),
    ];
    for (file, text) in allowed {
        assert_eq!(check(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}

/// The word list, on code that breaks it.
#[test]
fn impure_code_is_seen() {
    for text in
        ["let a = Instant::now();", "async fn f() {}", "fastrand::u64(..)", "tokio::spawn(f)"]
    {
        assert!(!impure_words(&tokens(text)).is_empty(), "{text}");
    }
    for text in [
        "fn f(a: Instant, now: Instant) {}",
        "fastrand::Rng",
        "#[cfg(test)] mod tests { async fn f() {} }",
    ] {
        assert_eq!(impure_words(&tokens(text)), [], "{text}");
    }
}

/// What a module may import: its siblings, and other modules of the crate.
struct Row {
    siblings: Vec<&'static str>,
    of_crate: Vec<&'static str>,
}

struct Layers {
    of_crate: BTreeMap<&'static str, Row>,
    inside: BTreeMap<&'static str, BTreeMap<&'static str, Row>>,
}

impl Layers {
    fn new() -> Self {
        let inside = BTreeMap::from([
            ("producer", parse_table(PRODUCER)),
            ("consumer", parse_table(CONSUMER)),
        ]);
        Self { of_crate: parse_table(CRATE), inside }
    }

    /// What is wrong in a file.
    fn check(&self, file: &Path, text: &str) -> Vec<String> {
        let module = module_path(file);
        let Some(top) = module.first() else {
            return Vec::new();
        };
        let own = module.get(1).map(String::as_str);
        let Some(row) = self.of_crate.get(top.as_str()) else {
            return vec![format!("{}: the module `{top}` has no row", file.display())];
        };
        let inside = self.inside.get(top.as_str());
        let inner = inside.zip(own).map(|(table, own)| table.get(own).ok_or(own));
        if let Some(Err(unknown)) = inner {
            return vec![format!("{}: `{top}::{unknown}` has no row", file.display())];
        }
        let inner = inner.and_then(Result::ok);
        if is_test(file) {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        for (line, path) in paths(&module, &tokens(text)) {
            let target = path.first().map_or("", String::as_str);
            let allowed = if target == top {
                let known = |part: &str| inside.is_some_and(|table| table.contains_key(part));
                let part =
                    path.get(1).map(String::as_str).filter(|part| known(part)).unwrap_or("mod");
                inner.is_none_or(|row| own == Some(part) || row.siblings.contains(&part))
            } else {
                row.siblings.contains(&target)
                    && inner.is_none_or(|row| row.of_crate.contains(&target))
            };
            if !allowed {
                let path = path.join("::");
                wrong.push(format!("{}:{line}: crate::{path}", file.display()));
            }
        }
        wrong
    }
}

/// Reads a table; each row may only name those above it, so that there is no circle.
fn parse_table(table: &'static str) -> BTreeMap<&'static str, Row> {
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let (name, allowed) = line.split_once("->").expect("a row is `name -> names`");
        let (siblings, of_crate) = allowed.split_once('|').unwrap_or((allowed, ""));
        let siblings: Vec<_> = siblings.split_whitespace().collect();
        for sibling in &siblings {
            assert!(
                *sibling == "mod" || rows.contains_key(sibling),
                "{sibling} is not above {line}"
            );
        }
        rows.insert(name.trim(), Row { siblings, of_crate: of_crate.split_whitespace().collect() });
    }
    rows
}

/// `src/producer/sender/mod.rs` is `producer::sender`; `lib.rs` is the empty path.
fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<String> = file
        .with_extension("")
        .iter()
        .skip(1)
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    path.pop_if(|last| last == "mod" || last == "lib");
    path
}

/// Every path from the crate's root that the code of `module` names, with its line.
fn paths(module: &[String], tokens: &[(usize, String)]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(_, opened)| *opened == depth);
            }
            "#" if begins_test(tokens, at) => at = skip_item(tokens, at),
            "mod" if word(at + 2) == "{" => inline.push((word(at + 1).to_owned(), depth)),
            "crate" | "super" if word(at + 1) == "::" && word(at.wrapping_sub(1)) != "::" => {
                let mut base = Vec::new();
                let line = tokens[at].0;
                if word(at) == "super" {
                    base.extend_from_slice(module);
                    base.extend(inline.iter().map(|(name, _)| name.clone()));
                    while word(at) == "super" {
                        base.pop();
                        at += 2;
                    }
                } else {
                    at += 2;
                }
                let mut leaves = Vec::new();
                at = use_tree(tokens, at, &base, &mut leaves);
                found.extend(leaves.into_iter().map(|path| (line, path)));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn impure_words(tokens: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((line, word)) = tokens.get(at) {
        if begins_test(tokens, at) {
            at = skip_item(tokens, at);
        }
        let near = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
        let innocent = match word.as_str() {
            // A parameter of that name, as the clock is handed in.
            "now" => near(at.wrapping_sub(1)) != "::",
            // A generator of its own, which was seeded.
            "fastrand" => near(at + 2) == "Rng",
            _ => false,
        };
        if IMPURE.contains(&word.as_str()) && !innocent {
            found.push((*line, word.clone()));
        }
        at += 1;
    }
    found
}

/// Reads `a::{b, c::*}` from `at` and returns where it ends.
fn use_tree(
    tokens: &[(usize, String)],
    mut at: usize,
    base: &[String],
    leaves: &mut Vec<Vec<String>>,
) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut path = base.to_vec();
    loop {
        if word(at) == "{" {
            at += 1;
            while !matches!(word(at), "}" | "") {
                at = use_tree(tokens, at, &path, leaves);
                while !matches!(word(at), "," | "}" | "") {
                    at += 1;
                }
                at += usize::from(word(at) == ",");
            }
            return at + 1;
        }
        path.push(word(at).to_owned());
        if word(at + 1) != "::" {
            leaves.push(path);
            return at + 1;
        }
        at += 2;
    }
}

fn begins_test(tokens: &[(usize, String)], at: usize) -> bool {
    let rest = tokens.get(at..).unwrap_or_default();
    rest.iter().zip(["#", "[", "cfg", "(", "test", ")", "]"]).filter(|(a, b)| a.1 == *b).count()
        == 7
}

/// The last token of the item whose `#[cfg(test)]` begins at `at`.
fn skip_item(tokens: &[(usize, String)], at: usize) -> usize {
    let mut depth = 0;
    for (index, (_, token)) in tokens.iter().enumerate().skip(at) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" if depth <= 1 => return index,
            "}" | ")" | "]" => depth -= 1,
            ";" if depth == 0 => return index,
            _ => {}
        }
    }
    tokens.len()
}

/// Words and punctuation with their lines, without comments, strings and characters.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if first.is_whitespace() {
            first.len_utf8()
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = string_length(rest).or_else(|| char_length(rest)) {
            length
        } else {
            let length = if rest.starts_with("::") {
                2
            } else {
                rest.find(|c| !word(c)).unwrap_or(rest.len()).max(first.len_utf8())
            };
            tokens.push((line, rest[..length].to_owned()));
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// How long the string literal is that the text begins with.
fn string_length(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix);
        rest.is_some_and(|rest| {
            let hashes = if prefix.ends_with('r') { rest.trim_start_matches('#') } else { rest };
            hashes.starts_with('"')
        })
    })?;
    let raw = prefix.ends_with('r');
    let open = text.find('"')? + 1;
    if raw {
        let close = format!("\"{}", "#".repeat(open - 1 - prefix.len()));
        return Some(text[open..].find(&close).map_or(text.len(), |end| open + end + close.len()));
    }
    let mut escaped = false;
    let end = text[open..].find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(text.len(), |end| open + end + 1))
}

/// How long the character literal is; a lifetime is none.
fn char_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    let end = if first == '\\' { 2 + inner.get(2..)?.find('\'')? } else { first.len_utf8() };
    inner.get(end..)?.starts_with('\'').then_some(end + 2)
}

fn is_test(file: &Path) -> bool {
    file.iter().skip(1).any(|part| part == "tests.rs" || part == "tests")
}

/// The `.rs` files in a folder of the repository, or the one file, as paths from its root.
fn rust_files(path: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::from(path)];
    while let Some(path) = left.pop() {
        if root().join(&path).is_dir() {
            let entries = fs::read_dir(root().join(&path)).expect("a folder");
            left.extend(entries.map(|entry| path.join(entry.expect("an entry").file_name())));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
