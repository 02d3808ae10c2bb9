//! chasquid's dialogues ("chamuyero"), as far as its SMTP tests use the format:
//!
//! ```text
//! c tcp_connect ADDRESS | c close
//! c -> TEXT          sends a line
//! c ~> EXPRESSION    sends what a Python expression gives
//! c <- TEXT          the reply is this;  c <~ REGEX  it begins so;  c <... TEXT  it ends with this line
//! ```

use anyhow::{Context, Result, bail, ensure};
use postern_tests::Wire;
use postern_tests::program::{NewMailbox, Program};

use super::Difference;

pub(super) fn run(
    gateway: &Program,
    mailbox: &NewMailbox,
    script: &str,
    differs: &[Difference],
) -> Result<()> {
    // Theirs is written without brackets, which we want.
    let script = script.replace("user@testserver", &format!("<{}>", mailbox.address));
    let mut wire = None;
    for (number, line) in script.lines().enumerate() {
        let Some(step) = line.strip_prefix("c ") else {
            ensure!(line.is_empty() || line.starts_with('#'), "line {}: {line:?}", number + 1);
            continue;
        };
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        let place = || format!("line {}: {line}", number + 1);
        let connected = wire.as_mut().context("connect first");
        match verb {
            "tcp_connect" => wire = Some(Wire::connect(gateway.address("smtp")?, false)?),
            "close" => wire = None,
            "->" => connected?.send(format!("{rest}\r\n").as_bytes())?,
            "~>" => connected?.send(&Python(rest).value().with_context(place)?)?,
            "<-" | "<~" | "<..." => answers(connected?, rest, differs).with_context(place)?,
            _ => bail!("line {}: {line:?} is not understood", number + 1),
        }
    }
    Ok(())
}

fn answers(wire: &mut Wire, expected: &str, differs: &[Difference]) -> Result<()> {
    let mut last = wire.line()?;
    while last.as_bytes().get(3) == Some(&b'-') {
        last = wire.line()?;
    }
    match differs.iter().find(|Difference(theirs, ..)| *theirs == expected) {
        Some(Difference(_, ours, why)) => ensure!(last.starts_with(&ours.to_string()), "{last}; {why}"),
        None => ensure!(last.as_bytes().first() == expected.as_bytes().first(), "{last}"),
    }
    Ok(())
}

/// An expression of strings, `+`, `*` and brackets.
struct Python<'e>(&'e str);

impl Python<'_> {
    fn value(mut self) -> Result<Vec<u8>> {
        let value = self.sum()?;
        ensure!(self.0.is_empty(), "{:?} is left", self.0);
        Ok(value)
    }

    fn takes(&mut self, sign: char) -> bool {
        let rest = self.0.trim_start();
        let rest = rest.strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn sum(&mut self) -> Result<Vec<u8>> {
        let mut value = self.product()?;
        while self.takes('+') {
            value.extend(self.product()?);
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<Vec<u8>> {
        let mut value = self.factor()?;
        while self.takes('*') {
            let rest = self.0.trim_start();
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            value = value.repeat(rest[..digits].parse()?);
            self.0 = &rest[digits..];
        }
        Ok(value)
    }

    fn factor(&mut self) -> Result<Vec<u8>> {
        if self.takes('(') {
            let value = self.sum()?;
            ensure!(self.takes(')'), "a bracket is not closed");
            return Ok(value);
        }
        ensure!(self.takes('\''), "a string should begin at {:?}", self.0);
        let (text, rest) = self.0.split_once('\'').context("a string is not closed")?;
        self.0 = rest;
        Ok(super::unescaped(text))
    }
}
