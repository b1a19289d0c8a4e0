//! Reads what `#[derive(Debug)]` prints into a tree in which the two implementations are equal when
//! their fields are.

use std::collections::BTreeMap;
use std::fmt::Debug;

use milena::ErrorCode;

/// A value, without the names of types.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    Struct(BTreeMap<String, Tree>),
    List(Vec<Tree>),
    /// A number, a string, a UUID, `None`, as printed.
    Atom(String),
}

impl Tree {
    /// The tree of a value.
    ///
    /// A newtype is what it holds, an error code is its number, and the empty map in which the
    /// other implementation keeps unknown tagged fields is left out (a map that is not empty stays,
    /// and is a difference).
    pub fn of(value: &impl Debug) -> Self {
        let text = format!("{value:?}");
        let mut parser = Parser { rest: &text };
        let tree = parser.value();
        assert!(parser.rest.is_empty(), "left over in {text}: {}", parser.rest);
        tree
    }

    /// The tree of a struct without some of its fields.
    pub fn without(self, names: &[&str]) -> Self {
        match self {
            Self::Struct(mut fields) => {
                fields.retain(|name, _| !names.contains(&name.as_str()));
                Self::Struct(fields)
            }
            other => other,
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> Tree {
        if self.eat("[") {
            return Tree::List(self.list("]"));
        }
        if self.rest.starts_with(['"', 'b']) && self.rest.trim_start_matches('b').starts_with('"') {
            return Tree::Atom(self.quoted());
        }
        let word = self.word();
        if self.eat("(") {
            let mut items = self.list(")");
            assert_eq!(items.len(), 1, "{word} holds more than one value");
            // `Some` stays visible: `Some("")` is not `None`, and not `""` either.
            return match items.remove(0) {
                item if word == "Some" => Tree::List(vec![item]),
                item => item,
            };
        }
        if self.eat(" { ") || self.eat("{") {
            return self.fields();
        }
        match ErrorCode::ALL.iter().find(|code| code.name() == word) {
            Some(code) => Tree::Atom(code.code().to_string()),
            None => Tree::Atom(word.to_owned()),
        }
    }

    fn list(&mut self, end: &str) -> Vec<Tree> {
        let mut items = Vec::new();
        while !self.eat(end) {
            items.push(self.value());
            self.eat(", ");
        }
        items
    }

    fn fields(&mut self) -> Tree {
        let mut fields = BTreeMap::new();
        while !(self.eat(" }") || self.eat("}")) {
            let name = self.word().to_owned();
            assert!(self.eat(": "), "no value at {}", self.rest);
            let value = self.value();
            if name != "unknown_tagged_fields" || value != Tree::Struct(BTreeMap::new()) {
                fields.insert(name, value);
            }
            self.eat(", ");
        }
        Tree::Struct(fields)
    }

    /// A string or byte string with its quotes and escapes.
    fn quoted(&mut self) -> String {
        let open = self.rest.find('"').expect("a quote") + 1;
        let mut escaped = false;
        let close = self.rest[open..]
            .find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })
            .expect("a closing quote");
        self.take(open + close + 1).to_owned()
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || "_-".contains(c)));
        self.take(end.unwrap_or(self.rest.len()))
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[allow(dead_code)]
    struct Outer {
        name: Option<Name>,
        codes: Vec<ErrorCode>,
        inner: Inner,
        unknown_tagged_fields: BTreeMap<i32, i32>,
    }

    #[derive(Debug)]
    struct Name(#[allow(dead_code)] &'static str);

    #[derive(Debug)]
    #[allow(dead_code)]
    struct Inner {
        a: i8,
    }

    fn outer(a: i8) -> Outer {
        Outer {
            name: Some(Name("a \"quoted\\\" (name), {b: 1}")),
            codes: vec![ErrorCode::NONE, ErrorCode::new(999)],
            inner: Inner { a },
            unknown_tagged_fields: BTreeMap::new(),
        }
    }

    #[test]
    fn a_value_becomes_its_fields() {
        let atom = |text: &str| Tree::Atom(text.to_owned());
        let name = format!("{:?}", "a \"quoted\\\" (name), {b: 1}");
        let expected = BTreeMap::from([
            ("name".to_owned(), Tree::List(vec![Tree::Atom(name)])),
            ("codes".to_owned(), Tree::List(vec![atom("0"), atom("999")])),
            ("inner".to_owned(), Tree::Struct(BTreeMap::from([("a".to_owned(), atom("-7"))]))),
        ]);
        assert_eq!(Tree::of(&outer(-7)), Tree::Struct(expected));
        assert_ne!(Tree::of(&outer(-7)), Tree::of(&outer(7)));
    }

    #[test]
    fn unknown_tagged_fields_are_a_difference() {
        let mut tagged = outer(1);
        tagged.unknown_tagged_fields.insert(3, 4);
        assert_ne!(Tree::of(&tagged), Tree::of(&outer(1)));
    }
}
