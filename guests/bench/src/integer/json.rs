//! A reader of JSON (RFC 8259) that makes a tree of a text, byte by byte.

use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::text::prose;
use crate::workload::Round;

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    fn digest(&self, digest: &mut Digest) {
        match self {
            Self::Null => digest.add(1),
            Self::Bool(value) => digest.add(2 + u64::from(*value)),
            Self::Number(value) => digest.add_float(*value),
            Self::Text(text) => digest.add_bytes(text.as_bytes()),
            Self::List(list) => list.iter().for_each(|value| value.digest(digest)),
            Self::Map(map) => map.iter().for_each(|(key, value)| {
                digest.add(key.len() as u64);
                value.digest(digest);
            }),
        }
    }
}

/// How deep a text may nest.
const DEEPEST: u32 = 64;

struct Reader<'a> {
    rest: &'a [u8],
    depth: u32,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// The next byte that is not white space, left where it is.
    fn peek(&mut self) -> Option<u8> {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        self.rest.first().copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.rest = &self.rest[1..])
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.rest = self.rest.strip_prefix(word.as_bytes())?;
        Some(value)
    }

    fn value(&mut self) -> Option<Value> {
        match self.peek()? {
            b'{' => self
                .nested(b'}', |reader| {
                    let key = reader.text()?;
                    reader.expect(b':')?;
                    Some((key, reader.value()?))
                })
                .map(Value::Map),
            b'[' => self.nested(b']', Self::value).map(Value::List),
            b'"' => self.text().map(Value::Text),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number().map(Value::Number),
        }
    }

    fn nested<T>(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.next()?;
        self.depth = self.depth.checked_sub(1)?;
        let mut items = vec![];
        while self.peek()? != end {
            if !items.is_empty() {
                self.expect(b',')?;
            }
            items.push(item(self)?);
        }
        self.depth += 1;
        self.next()?;
        Some(items)
    }

    fn text(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut text = vec![];
        loop {
            match self.next()? {
                b'"' => return String::from_utf8(text).ok(),
                b'\\' => text.push(match self.next()? {
                    b'n' => b'\n',
                    b't' => b'\t',
                    other @ (b'"' | b'\\' | b'/') => other,
                    _ => return None,
                }),
                byte => text.push(byte),
            }
        }
    }

    fn number(&mut self) -> Option<f64> {
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = self.rest.iter().position(|byte| !is_part(byte)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(length);
        self.rest = rest;
        std::str::from_utf8(number).ok()?.parse().ok()
    }
}

fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text.as_bytes(), depth: DEEPEST };
    let value = reader.value()?;
    reader.peek().is_none().then_some(value)
}

/// Records as a web service would send them.
fn document(records: usize) -> String {
    let (mut random, words) = (Random::new(18), prose(2000, 18));
    let words: Vec<&str> = words.split_whitespace().collect();
    let word = |random: &mut Random| words[random.below(words.len())];
    let record = |id: usize| {
        let tags: Vec<String> = (0..random.below(6)).map(|_| format!("\"{}\"", word(&mut random))).collect();
        format!(
            "  {{\"id\": {id}, \"name\": \"{} \\\"{}\\\"\", \"weight\": {:.3}, \"active\": {}, \"tags\": [{}], \"at\": {{\"x\": -{}, \"y\": {}e-3, \"z\": null}}}}",
            word(&mut random),
            word(&mut random),
            random.fraction() * 1000.0,
            random.below(2) == 0,
            tags.join(", "),
            random.below(1000),
            random.below(100_000),
        )
    };
    format!("[\n{}\n]\n", (0..records).map(record).collect::<Vec<_>>().join(",\n"))
}

pub fn start() -> io::Result<Round> {
    let text = document(1500);
    Ok(Box::new(move || {
        let mut digest = Digest::default();
        let value = parse(&text).ok_or_else(|| io::Error::other("the document is not read"))?;
        value.digest(&mut digest);
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let text = " {\"a\": [1, -2.5e1, true, null], \"b\\n\": \"\\\"\", \"c\": {}} ";
        let list = vec![Value::Number(1.0), Value::Number(-25.0), Value::Bool(true), Value::Null];
        let map = [("a", Value::List(list)), ("b\n", Value::Text("\"".into())), ("c", Value::Map(vec![]))];
        assert_eq!(parse(text), Some(Value::Map(map.map(|(key, value)| (key.to_owned(), value)).to_vec())));
        for wrong in ["", "[1", "[1 2]", "{\"a\"}", "tru", "[] []", "\"", "--1", &"[".repeat(100)] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_document_has_its_records() {
        let Some(Value::List(list)) = parse(&document(30)) else { panic!("not a list") };
        assert_eq!(list.len(), 30);
    }
}
