//! Times as Java's `SimpleDateFormat` prints them, for the patterns that have only numbers. In UTC: what the time zone is
//! here, the standard library does not tell.

/// A pattern: runs of one letter stand for a field, with at least as many digits; the rest stands for itself.
#[derive(Debug)]
pub(crate) struct DateFormat(Vec<(char, usize)>);

const FIELDS: &str = "yMdHmsS";

impl DateFormat {
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let mut parts: Vec<(char, usize)> = Vec::new();
        for c in pattern.chars() {
            match parts.last_mut() {
                Some((last, count)) if *last == c && FIELDS.contains(c) => *count += 1,
                _ if FIELDS.contains(c) || !(c.is_ascii_alphabetic() || c == '\'') => {
                    parts.push((c, 1));
                }
                _ => return Err(format!("--date-format {pattern:?}: {c:?} is not supported.")),
            }
        }
        Ok(Self(parts))
    }

    /// A time in milliseconds since the epoch.
    pub(crate) fn format(&self, millis: i64) -> String {
        let (year, month, day) = civil(millis.div_euclid(86_400_000));
        let in_day = millis.rem_euclid(86_400_000);
        let field = |(letter, count): &(char, usize)| {
            let value = match letter {
                // Two letters are two digits.
                'y' if *count == 2 => year.rem_euclid(100),
                'y' => year,
                'M' => month,
                'd' => day,
                'H' => in_day / 3_600_000,
                'm' => in_day / 60_000 % 60,
                's' => in_day / 1000 % 60,
                'S' => in_day % 1000,
                other => return other.to_string(),
            };
            format!("{value:0count$}")
        };
        self.0.iter().map(field).collect()
    }
}

/// Year, month and day of a day counted from 1970-01-01, by eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_java_in_utc() {
        let format = DateFormat::new("yyyy-MM-dd HH:mm:ss:SSS").unwrap();
        for (millis, expected) in [
            (0, "1970-01-01 00:00:00:000"),
            (-1, "1969-12-31 23:59:59:999"),
            (951_827_696_789, "2000-02-29 12:34:56:789"),
            (1_795_264_208_280, "2026-11-21 12:30:08:280"),
        ] {
            assert_eq!(format.format(millis), expected);
        }
        assert_eq!(DateFormat::new("d.M.yy H").unwrap().format(951_827_696_789), "29.2.00 12");
    }

    #[test]
    fn names_and_zones_are_refused() {
        for pattern in ["EEE", "yyyy-MM-dd'T'HH", "HH:mm z"] {
            assert!(DateFormat::new(pattern).unwrap_err().contains("--date-format"), "{pattern}");
        }
    }
}
