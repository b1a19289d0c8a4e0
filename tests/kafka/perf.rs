//! What `producer_perf` prints, taken apart: the lines that look alike, and their numbers.

use crate::program::{Line, text};

/// The lines that are as `pattern` says, each with the numbers in the places of its `{}`.
pub(crate) fn matching<'a>(lines: &'a [Line], pattern: &str) -> Vec<(&'a Line, Vec<f64>)> {
    lines.iter().filter_map(|line| Some((line, numbers(pattern, &line.text)?))).collect()
}

/// The numbers in the places where `pattern` has `{}`, if `text` starts like it; with `$` at its end, if it is like it.
pub(crate) fn numbers(pattern: &str, text: &str) -> Option<Vec<f64>> {
    let (pattern, whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split("{}");
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut numbers = Vec::new();
    for part in parts {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        // A full stop after a number is not of the number.
        let digits = rest[..digits].trim_end_matches('.').len();
        numbers.push(rest[..digits].parse().ok()?);
        rest = rest[digits..].strip_prefix(part)?;
    }
    (!whole || rest.is_empty()).then_some(numbers)
}

/// The numbers of the last line of a run: records, records/s, MB/s, average and maximum of the latency in ms, and four
/// percentiles.
pub(crate) fn totals(lines: &[Line]) -> Vec<f64> {
    let pattern = "{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency, \
                   {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.$";
    let mut found = matching(lines, pattern);
    assert_eq!(found.len(), 1, "one line of totals is wanted:\n{}", text(lines));
    found.remove(0).1
}
