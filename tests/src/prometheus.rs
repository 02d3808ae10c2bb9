//! Reading what Prometheus would read, more strictly than it does (text exposition format 0.0.4).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

/// A scrape: every sample by its name and labels, as written: `sessions_open{listener="smtp"}`.
#[derive(Debug, Default)]
pub struct Scrape {
    samples: BTreeMap<String, f64>,
    /// Kind and help of each family.
    pub families: BTreeMap<String, (String, String)>,
}

impl Scrape {
    /// Reads a text; anything not to the letter of the format, or of Prometheus' naming conventions, is an error.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.ends_with('\n'), "the last line has no end");
        let mut scrape = Self::default();
        let (mut help, mut family, mut closed) = (None, None::<String>, BTreeSet::new());
        for (at, line) in text.lines().enumerate() {
            let wrong = || format!("line {}: {line}", at + 1);
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').with_context(wrong)?;
                ensure!(is_name(name) && !text.is_empty(), wrong());
                closed.extend(family.take());
                ensure!(!closed.contains(name), "{name} is torn apart");
                help = Some((name.to_owned(), text.to_owned()));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').with_context(wrong)?;
                let (helped, text) = help.take().with_context(wrong)?;
                ensure!(helped == name && ["counter", "gauge", "histogram"].contains(&kind), wrong());
                ensure!((kind == "counter") == name.ends_with("_total"), "{name} is a {kind}");
                scrape.families.insert(name.into(), (kind.into(), text));
                family = Some(name.into());
            } else {
                scrape.sample(line, family.as_deref().with_context(wrong)?).with_context(wrong)?;
            }
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    fn sample(&mut self, line: &str, family: &str) -> Result<()> {
        let (series, value) = line.rsplit_once(' ').context("no value")?;
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').context("labels have no end")?),
            None => (series, ""),
        };
        let suffix = name.strip_prefix(family).context("it belongs to another family")?;
        let histogram = self.families[family].0 == "histogram";
        let allowed: &[&str] = if histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        ensure!(allowed.contains(&suffix), "no such sample of this family");
        check_labels(labels)?;
        let value: f64 = value.parse().context("no number")?;
        ensure!(value.is_finite() && (value >= 0.0), "counts and sizes are not negative");
        ensure!(self.samples.insert(series.into(), value).is_none(), "twice");
        Ok(())
    }

    fn check_histograms(&self) -> Result<()> {
        for name in self.families.iter().filter(|(_, (kind, _))| kind == "histogram").map(|(name, _)| name) {
            let prefix = format!("{name}_bucket{{le=\"");
            let mut buckets = Vec::new();
            for (series, count) in self.samples.iter().filter(|(series, _)| series.starts_with(&prefix)) {
                let bound = series[prefix.len()..].trim_end_matches("\"}").replace("+Inf", "inf");
                buckets.push((bound.parse::<f64>()?, *count));
            }
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            ensure!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name} does not add up");
            let last = buckets.last().with_context(|| format!("{name} has no buckets"))?;
            ensure!(
                last.0.is_infinite() && last.1 == self.value(&format!("{name}_count"))?,
                "{name} ends wrong"
            );
            self.value(&format!("{name}_sum"))?;
        }
        Ok(())
    }

    /// The value of a series.
    pub fn value(&self, series: &str) -> Result<f64> {
        self.samples.get(series).copied().with_context(|| format!("there is no {series}"))
    }

    /// Every series, as written.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }

    /// By how much a series grew since `before`.
    pub fn growth(&self, before: &Self, series: &str) -> Result<f64> {
        Ok(self.value(series)? - before.value(series)?)
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn check_labels(mut rest: &str) -> Result<()> {
    while !rest.is_empty() {
        let (name, text) = rest.split_once("=\"").context("a label without value")?;
        ensure!(is_name(name), "{name:?} names no label");
        let mut escaped = false;
        let end = text.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let (end, _) = end.context("a label's value has no end")?;
        rest = match &text[end + 1..] {
            "" => "",
            more => more.strip_prefix(',').context("no comma between labels")?,
        };
    }
    Ok(())
}

/// What a GET over plain HTTP answers: the status, and the body.
pub fn get(address: std::net::SocketAddr, path: &str) -> Result<(u16, String)> {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// Sends a request as it stands and reads the answer to its end.
pub fn request(address: std::net::SocketAddr, request: &str) -> Result<(u16, String)> {
    let mut wire = crate::Wire::connect(address, false)?;
    wire.send(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match wire.read(&mut buffer)? {
            0 => break,
            n => answer.extend_from_slice(&buffer[..n]),
        }
    }
    let answer = String::from_utf8(answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no answer: {answer:?}") };
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
