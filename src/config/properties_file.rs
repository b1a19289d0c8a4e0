//! The format of Java's `.properties` files, as `java.util.Properties.load` reads it. Knows nothing
//! about what the properties mean; problems name the line and never repeat the text, which may hold
//! secrets.

use std::iter::Peekable;
use std::str::Chars;

use crate::error::ConfigError;

/// A line as the user sees it, or several that backslashes join: the characters, each with the
/// number of its line.
struct Cursor<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

/// What comes next within a logical line.
enum Next {
    /// A character that stands for itself; `escaped` ones neither separate nor end anything.
    Char { c: char, escaped: bool },
    /// The end of the logical line or of the text.
    End,
}

/// Reads names and values in the order of the text; a name may occur more than once.
///
/// `origin` says where the text is from, for errors.
pub(super) fn parse(text: &str, origin: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut cursor = Cursor { chars: text.chars().peekable(), line: 1 };
    let mut properties = Vec::new();
    while cursor.skip_to_content() {
        let property = cursor.property().map_err(|problem| ConfigError::Syntax {
            origin: origin.to_owned(),
            line: cursor.line,
            problem,
        })?;
        properties.push(property);
    }
    Ok(properties)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

impl Cursor<'_> {
    /// Takes a line end: `\n`, `\r` or `\r\n`.
    fn take_line_end(&mut self) -> bool {
        let taken = match self.chars.peek() {
            Some('\n') => self.chars.next().is_some(),
            Some('\r') => {
                self.chars.next();
                self.chars.next_if_eq(&'\n');
                true
            }
            _ => false,
        };
        self.line += usize::from(taken);
        taken
    }

    fn skip_blanks(&mut self) {
        while self.chars.next_if(|c| is_blank(*c)).is_some() {}
    }

    fn at_joined_line_end(&self) -> bool {
        let mut ahead = self.chars.clone();
        ahead.next() == Some('\\') && matches!(ahead.next(), None | Some('\n' | '\r'))
    }

    /// Skips empty lines and comments; whether there is something after them.
    fn skip_to_content(&mut self) -> bool {
        loop {
            self.skip_blanks();
            match self.chars.peek().copied() {
                None => return false,
                // A backslash does not continue a comment.
                Some('#' | '!') => {
                    while self.chars.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {}
                }
                Some('\n' | '\r') => {
                    self.take_line_end();
                }
                // Nothing but a backslash: an empty line, joined or not.
                Some('\\') if self.at_joined_line_end() => {
                    self.chars.next();
                    self.take_line_end();
                }
                Some(_) => return true,
            }
        }
    }

    /// Reads one logical line.
    fn property(&mut self) -> Result<(String, String), &'static str> {
        let mut name = String::new();
        let mut value = String::new();
        // The separator is blanks, or one `=` or `:` with blanks around it.
        let mut sign_seen = false;
        let mut in_value = false;
        let mut after_blank = false;
        loop {
            let (c, escaped) = match self.next()? {
                Next::End => return Ok((name, value)),
                Next::Char { c, escaped } => (c, escaped),
            };
            if in_value {
                value.push(c);
            } else if !escaped && is_blank(c) {
                after_blank = true;
            } else if !escaped && !sign_seen && matches!(c, '=' | ':') {
                sign_seen = true;
            } else if sign_seen || after_blank {
                in_value = true;
                value.push(c);
            } else {
                name.push(c);
            }
        }
    }

    fn next(&mut self) -> Result<Next, &'static str> {
        loop {
            if self.take_line_end() {
                return Ok(Next::End);
            }
            match self.chars.next() {
                None => return Ok(Next::End),
                Some('\\') => {}
                Some(c) => return Ok(Next::Char { c, escaped: false }),
            }
            // A backslash at a line's end joins the next line, without the blanks it begins with.
            if self.take_line_end() {
                self.skip_blanks();
                continue;
            }
            let c = match self.chars.next() {
                None => return Ok(Next::End),
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => self.unicode()?,
                Some(c) => c,
            };
            return Ok(Next::Char { c, escaped: true });
        }
    }

    /// Reads what follows `\u`: four hexadecimal digits of UTF-16; two such escapes may form one
    /// character.
    fn unicode(&mut self) -> Result<char, &'static str> {
        const HALF: &str = "a \\u escape that is half of a surrogate pair";
        let first = self.code_unit()?;
        match char::decode_utf16([first]).next() {
            Some(Ok(c)) => return Ok(c),
            _ if self.chars.next_if_eq(&'\\').is_some()
                && self.chars.next_if_eq(&'u').is_some() => {}
            _ => return Err(HALF),
        }
        let second = self.code_unit()?;
        match char::decode_utf16([first, second]).next() {
            Some(Ok(c)) => Ok(c),
            _ => Err(HALF),
        }
    }

    fn code_unit(&mut self) -> Result<u16, &'static str> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.chars.next().and_then(|c| c.to_digit(16));
            let digit = digit.ok_or("a \\u escape without four hexadecimal digits")?;
            unit = unit << 4 | digit as u16;
        }
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;
    use crate::error::ConfigError;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text, "test").unwrap()
    }

    /// Cases from the documentation of `java.util.Properties.load`, and the corners of it.
    #[test]
    fn the_format_is_javas() {
        for (text, expected) in [
            ("Truth = Beauty", ("Truth", "Beauty")),
            ("  Truth:Beauty", ("Truth", "Beauty")),
            ("Truth\t\t\t:Beauty", ("Truth", "Beauty")),
            ("fruits  apple, banana, \\\n    pear", ("fruits", "apple, banana, pear")),
            ("fruits apple, \\\r\n  pear", ("fruits", "apple, pear")),
            ("cheeses", ("cheeses", "")),
            ("a==b", ("a", "=b")),
            ("a = : b", ("a", ": b")),
            ("a b=c", ("a", "b=c")),
            ("a=b  ", ("a", "b  ")),
            ("a\\ b\\:c\\=d=e", ("a b:c=d", "e")),
            ("a=\\  b", ("a", "  b")),
            ("a=\\t\\n\\r\\f\\x\\\\", ("a", "\t\n\r\u{c}x\\")),
            ("a=\\u00e4\\ud83d\\ude00", ("a", "ä😀")),
            ("a=b#c!d", ("a", "b#c!d")),
            ("a=b\\\n#c", ("a", "b#c")),
            ("a=b\\\n\nc", ("a", "b")),
            ("a=b\\", ("a", "b")),
            ("=b", ("", "b")),
            ("\u{feff}a=b", ("a", "b")),
        ] {
            let (name, value) = &read(text)[0];
            assert_eq!((name.as_str(), value.as_str()), expected, "{text:?}");
        }
        let text = "# one \\\n! two\r\r\n \t\u{c}\n  # three\na=1\rb=2\r\nc=3\n\n";
        assert_eq!(read("\\\n\n\\\r\n  \\\n#a\n\\"), []);
        let names: Vec<_> = read(text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn a_malformed_escape_names_its_line_and_not_its_text() {
        for text in ["\\u12", "\\u12g4", "\\ud83d", "\\ud83dx", "\\ude00", "\\ud83d\\u0041"] {
            match parse(&format!("# c\na=1\nsecret={text}\nb=2"), "here") {
                Err(error @ ConfigError::Syntax { line: 3, .. }) => {
                    let said = error.to_string();
                    assert!(
                        said.starts_with("here, line 3: ") && !said.contains("secret"),
                        "{said}"
                    );
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s)[ -~\\s\\\\u#!=:]{0,40}|(?s).{0,40}") {
            let _outcome = parse(&text, "test");
        }

        #[test]
        fn what_is_escaped_comes_back(
            properties in prop::collection::vec(("(?s).{0,12}", "(?s).{0,12}"), 0..6)
        ) {
            let escape = |text: &str| -> String {
                text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
            };
            let text: String = properties
                .iter()
                .map(|(name, value)| format!("{}={}\n", escape(name), escape(value)))
                .collect();
            prop_assert_eq!(read(&text), properties);
        }
    }
}
