//! Values that settings are made of.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Serialize};

/// Sizes in bytes and spans of time in milliseconds, with what they are called; the largest first.
const SIZES: [(u64, &str); 4] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
const PERIODS: [(u64, &str); 5] =
    [(24 * 3600 * 1000, "d"), (3600 * 1000, "h"), (60 * 1000, "min"), (1000, "s"), (1, "ms")];

/// A number with the largest of the units that makes it whole.
fn with_unit(number: u64, units: &[(u64, &str)]) -> String {
    let fits = units.iter().find(|(unit, _)| number >= *unit && number.is_multiple_of(*unit));
    fits.map_or_else(|| number.to_string(), |(unit, name)| format!("{} {name}", number / unit))
}

/// Addresses to listen on: one string or a list of them; empty means off. `:25` stands for `0.0.0.0:25`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenAddresses(pub Vec<SocketAddr>);

impl<'de> Deserialize<'de> for ListenAddresses {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an address like \"0.0.0.0:25\" or a list of them")]
        enum Raw {
            One(String),
            Many(Vec<String>),
        }
        let texts = match Raw::deserialize(deserializer)? {
            Raw::One(text) => {
                text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
            }
            Raw::Many(texts) => texts,
        };
        texts
            .iter()
            .map(|text| parse_address(text).map_err(D::Error::custom))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Serialize for ListenAddresses {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let parsed = match text.strip_prefix(':') {
        Some(port) => port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| format!("{text:?} is not an address and port like 0.0.0.0:25 or [::]:25"))
}

/// A size in bytes: a number, or text with a unit: `"200 MiB"`, `"64 KiB"`, `"1 GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a size like \"200 MiB\"")]
        enum Raw {
            Number(u64),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(bytes) => Ok(Self(bytes)),
            Raw::Text(text) => parse_size(&text).map(Self).map_err(D::Error::custom),
        }
    }
}

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text).map(Self)
    }
}

impl std::fmt::Display for ByteSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&with_unit(self.0, &SIZES))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size like \"200 MiB\", \"64 KiB\" or a number of bytes");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

/// A span of time: text with a unit: `"500 ms"`, `"30 s"`, `"5 min"`, `"2 h"`, `"7 d"`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_period(&text).map(Self).map_err(D::Error::custom)
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&with_unit(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &PERIODS))
    }
}

impl Serialize for Period {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn parse_period(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span of time like \"30 s\", \"5 min\" or \"2 h\"");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor_ms = match text[digits.len()..].trim() {
        "ms" => 1,
        "s" => 1000,
        "min" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return Err(wrong()),
    };
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    number.and_then(|number| number.checked_mul(factor_ms)).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_spelling() {
        assert_eq!(parse_address(":465").unwrap(), "0.0.0.0:465".parse().unwrap());
        assert_eq!(parse_address("[::1]:25").unwrap(), "[::1]:25".parse().unwrap());
        assert!(parse_address("smtp").is_err());
        assert!(parse_address(":99999").is_err());
    }

    #[test]
    fn spans_of_time_carry_their_unit() {
        assert_eq!(parse_period("500 ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_period("5min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_period("1 d"), parse_period("24 h"));
        for wrong in ["", "5", "0 s", "-1 s", "1.5 h", "5 minutes", "99999999999999999999 s"] {
            assert!(parse_period(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for text in ["200 MiB", "64 KiB", "1 GiB", "7 B", "1025 B"] {
            assert_eq!(parse_size(text).map(ByteSize).unwrap().to_string(), text);
        }
        assert_eq!(ByteSize(0).to_string(), "0");
        for text in ["1500 ms", "90 s", "5 min", "36 h", "2 d"] {
            assert_eq!(parse_period(text).map(Period).unwrap().to_string(), text);
        }
    }

    #[test]
    fn sizes_carry_their_unit() {
        assert_eq!(parse_size("200 MiB"), Ok(200 << 20));
        assert_eq!(parse_size("7"), Ok(7));
        for wrong in ["", "MiB", "1 MB", "1.5 GiB", "99999999999 GiB", "-1"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
