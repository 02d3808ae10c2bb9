//! As much of Rusty Object Notation as the scripts need.

use anyhow::{Context as _, Result, bail, ensure};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// "text"
    Text(String),
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(u64),
    /// `[a, b]`
    List(Vec<Value>),
    /// `(name: a)`, `Name(name: a)` and `{"name": a}`
    Fields(Vec<(String, Value)>),
    /// `Name` and `Name(a)`
    Name(String, Vec<Value>),
}

impl Value {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Fields(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self) -> Result<&str> {
        match self {
            Self::Text(text) => Ok(text),
            _ => bail!("{self:?} is no text"),
        }
    }

    /// A list.
    pub fn list(&self) -> Result<&[Value]> {
        match self {
            Self::List(list) => Ok(list),
            _ => bail!("{self:?} is no list"),
        }
    }

    /// Yes or no.
    pub fn bool(&self) -> Result<bool> {
        match self {
            Self::Bool(bool) => Ok(*bool),
            _ => bail!("{self:?} is neither true nor false"),
        }
    }
}

/// Reads a whole text.
pub fn parse(text: &str) -> Result<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader
        .value()
        .with_context(|| format!("at {:?}", reader.rest().chars().take(20).collect::<String>()))?;
    reader.skip();
    ensure!(reader.rest().is_empty(), "more behind the value: {:?}", reader.rest());
    Ok(value)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Passes over spaces and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest().trim_start();
            self.at = self.text.len() - rest.len();
            if !rest.starts_with("//") {
                return;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    fn take(&mut self, mark: char) -> bool {
        self.skip();
        let there = self.rest().starts_with(mark);
        self.at += if there { mark.len_utf8() } else { 0 };
        there
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        ensure!(self.take(mark), "no {mark:?}");
        Ok(())
    }

    /// The items up to `end`, a comma behind each but maybe the last.
    fn items<T>(&mut self, end: char, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(item(self)?);
            if !self.take(',') {
                self.expect(end)?;
                break;
            }
        }
        Ok(items)
    }

    fn value(&mut self) -> Result<Value> {
        self.skip();
        match self.rest().chars().next().context("the end")? {
            '"' => Ok(Value::Text(self.string()?)),
            '[' => {
                self.expect('[')?;
                Ok(Value::List(self.items(']', Self::value)?))
            }
            '{' => {
                self.expect('{')?;
                let entry = |reader: &mut Self| {
                    reader.skip();
                    let key = reader.string()?;
                    reader.expect(':')?;
                    Ok((key, reader.value()?))
                };
                Ok(Value::Fields(self.items('}', entry)?))
            }
            '(' => {
                self.expect('(')?;
                self.fields()
            }
            first if first.is_ascii_digit() => Ok(Value::Number(self.word().parse()?)),
            _ => self.name(),
        }
    }

    fn name(&mut self) -> Result<Value> {
        let name = self.word();
        match name {
            "" => bail!("no value"),
            "true" | "false" => Ok(Value::Bool(name == "true")),
            _ if !self.take('(') => Ok(Value::Name(name.to_owned(), Vec::new())),
            _ if self.is_field() => self.fields(),
            _ => Ok(Value::Name(name.to_owned(), self.items(')', Self::value)?)),
        }
    }

    fn fields(&mut self) -> Result<Value> {
        let field = |reader: &mut Self| {
            reader.skip();
            let name = reader.word().to_owned();
            reader.expect(':').with_context(|| format!("behind {name:?}"))?;
            Ok((name, reader.value()?))
        };
        Ok(Value::Fields(self.items(')', field)?))
    }

    /// Whether a name and a colon follow.
    fn is_field(&mut self) -> bool {
        self.skip();
        let before = self.at;
        let is = !self.word().is_empty() && self.take(':');
        self.at = before;
        is
    }

    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn string(&mut self) -> Result<String> {
        ensure!(self.rest().starts_with('"'), "no text");
        self.at += 1;
        let mut text = String::new();
        loop {
            let char = self.char()?;
            match char {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                _ => text.push(char),
            }
        }
    }

    fn escaped(&mut self) -> Result<char> {
        Ok(match self.char()? {
            'r' => '\r',
            'n' => '\n',
            't' => '\t',
            '0' => '\0',
            'x' => {
                let digits: String = [self.char()?, self.char()?].iter().collect();
                char::from(u8::from_str_radix(&digits, 16)?)
            }
            char @ ('"' | '\\' | '\'') => char,
            char => bail!("what is \\{char}?"),
        })
    }

    fn char(&mut self) -> Result<char> {
        let char = self.rest().chars().next().context("a text has no end")?;
        self.at += char.len_utf8();
        Ok(char)
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, parse};

    #[test]
    fn everything_that_scripts_hold_is_read() {
        let text = "( // a comment\n a: [Plain, Other(\"X,\"),],\n b: \"\\x1b[\\r\\n\\\"//\", c: Cert(d: true),\n e: {\"f\": \"\"}, g: 12)";
        let value = parse(text).unwrap();
        let other = Value::Name("Other".into(), vec![Value::Text("X,".into())]);
        assert_eq!(value.field("a").unwrap().list().unwrap(), [Value::Name("Plain".into(), vec![]), other]);
        assert_eq!(value.field("b").unwrap().text().unwrap(), "\u{1b}[\r\n\"//");
        assert!(value.field("c").unwrap().field("d").unwrap().bool().unwrap());
        assert_eq!(value.field("e").unwrap().field("f").unwrap().text().unwrap(), "");
        assert_eq!(value.field("g"), Some(&Value::Number(12)));
        for bad in ["", "(", "(a)", "(a: )", "(a: \"x)", "[1 2]", "() x", "\"\\q\""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
