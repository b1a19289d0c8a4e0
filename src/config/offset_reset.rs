//! The values of `auto.offset.reset`: names, and ISO 8601 durations as Java reads them. Where an
//! offset is looked up is the consumer's business.

use std::fmt;
use std::str::FromStr;

use crate::time::Duration;
use crate::types::UnknownName;

/// Where to read a partition from if the group has committed no offset for it, or the log does not
/// hold the offset (`auto.offset.reset`).
///
/// ```
/// use std::time::Duration;
/// use milena::OffsetReset;
///
/// let week: OffsetReset = "by_duration:P7D".parse()?;
/// assert_eq!(week, OffsetReset::ByDuration(Duration::from_secs(7 * 24 * 60 * 60)));
/// # Ok::<(), milena::UnknownName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OffsetReset {
    /// From the first record that the log still holds.
    Earliest,
    /// From the records that are written from then on.
    #[default]
    Latest,
    /// Nowhere: it is an error that the application deals with.
    None,
    /// From the first record whose timestamp is at most so long ago (KIP-1106).
    ByDuration(Duration),
}

const BY_DURATION: &str = "by_duration:";

/// Kafka's text form; a duration as Java writes it, such as `PT36H` or `PT1M0.5S`.
impl fmt::Display for OffsetReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::None => f.write_str("none"),
            Self::ByDuration(ago) => {
                f.write_str(BY_DURATION)?;
                write_iso(*ago, f)
            }
        }
    }
}

fn write_iso(duration: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    f.write_str("PT")?;
    for (count, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
        if count > 0 {
            write!(f, "{count}{unit}")?;
        }
    }
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        write!(f, "{}.{}S", seconds % 60, fraction.trim_end_matches('0'))
    } else if !seconds.is_multiple_of(60) || seconds == 0 {
        write!(f, "{}S", seconds % 60)
    } else {
        Ok(())
    }
}

impl FromStr for OffsetReset {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "none" => Ok(Self::None),
            _ => {
                let duration = text.strip_prefix(BY_DURATION).and_then(read_iso);
                duration.map(Self::ByDuration).ok_or(UnknownName)
            }
        }
    }
}

/// `PnDTnHnMn.nS` in any case, each part optional but one needed; without signs, which Java accepts
/// and then refuses if the sum is negative.
fn read_iso(text: &str) -> Option<Duration> {
    let text = text.to_ascii_uppercase();
    let text = text.strip_prefix('P')?;
    let (days, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    if !days.is_empty() {
        total = seconds(days.strip_suffix('D')?, 24 * 60 * 60)?;
    }
    let mut rest = time;
    for (unit, worth) in [('H', 60 * 60), ('M', 60)] {
        if let Some((count, after)) = rest.split_once(unit) {
            total = total.checked_add(seconds(count, worth)?)?;
            rest = after;
        }
    }
    if !rest.is_empty() {
        let count = rest.strip_suffix('S')?;
        let (whole, fraction) = count.split_once(['.', ',']).unwrap_or((count, ""));
        total =
            total.checked_add(seconds(whole, 1)?)?.checked_add(fraction_of_second(fraction)?)?;
    }
    Some(total)
}

fn seconds(digits: &str, worth: u64) -> Option<Duration> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // As many as Java's `long` holds.
    let count = u64::try_from(digits.parse::<i64>().ok()?).ok()?;
    let seconds = count.checked_mul(worth)?;
    (seconds <= i64::MAX as u64).then(|| Duration::from_secs(seconds))
}

fn fraction_of_second(digits: &str) -> Option<Duration> {
    if digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<9}").parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(text: &str) -> Option<Duration> {
        match format!("by_duration:{text}").parse() {
            Ok(OffsetReset::ByDuration(ago)) => Some(ago),
            Ok(other) => panic!("{text}: {other}"),
            Err(UnknownName) => None,
        }
    }

    #[test]
    fn durations_are_read_as_java_reads_them() {
        for (text, millis) in [
            ("PT20.345S", 20_345),
            ("PT15M", 15 * 60_000),
            ("PT10H", 36_000_000),
            ("P2D", 2 * 86_400_000),
            ("P2DT3H4M", 183_840_000),
            ("p1dt2h3m4,5s", 93_784_500),
            ("PT0S", 0),
            ("PT5.S", 5000),
        ] {
            assert_eq!(ago(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "P",
            "PT",
            "P1",
            "1D",
            "P1DT",
            "P1H",
            "PT1D",
            "PT1S2M",
            "PT1M2H",
            "PT.5S",
            "PTS",
            "PT1.5M",
            "PT-1S",
            "-PT1S",
            "P+1D",
            "PT1.0123456789S",
            "PT 1S",
            "P1Y",
            "PT1S ",
            "PT9223372036854775808S",
            "P9223372036854775807D",
            "PT1H1H",
            "PT\u{661}S",
        ] {
            assert_eq!(ago(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (text, shown) in [
            ("P1DT12H", "PT36H"),
            ("PT90S", "PT1M30S"),
            ("PT60.5S", "PT1M0.5S"),
            ("PT0.000000001S", "PT0.000000001S"),
            ("PT0S", "PT0S"),
            ("PT3600S", "PT1H"),
        ] {
            let reset = OffsetReset::ByDuration(ago(text).unwrap());
            assert_eq!(reset.to_string(), format!("by_duration:{shown}"));
            assert_eq!(reset.to_string().parse(), Ok(reset));
        }
        for name in ["earliest", "latest", "none"] {
            assert_eq!(name.parse::<OffsetReset>().unwrap().to_string(), name);
        }
        for text in ["Earliest", "", "by_duration", "by_duration:", "smallest"] {
            assert_eq!(text.parse::<OffsetReset>(), Err(UnknownName), "{text}");
        }
    }
}
