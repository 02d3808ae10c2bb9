//! What may follow MAIL FROM and RCPT TO.
//!
//! | parameter | source |
//! |---|---|
//! | SIZE | RFC 1870 |
//! | BODY=7BIT, BODY=8BITMIME | RFC 6152 |
//! | SMTPUTF8 | RFC 6531 |
//! | RET, ENVID, NOTIFY, ORCPT | RFC 3461 |
//! | AUTH | RFC 4954 §5 |
//! | BODY=BINARYMIME | no: POP3 could not carry it |

use std::fmt;

use super::reply::Reply;

/// The longest ENVID (RFC 3461 §4.4) and ORCPT (§4.2).
const ENVID_OCTETS_MAX: usize = 100;
const ORCPT_OCTETS_MAX: usize = 500;
const AUTH_OCTETS_MAX: usize = 500;

/// What may follow MAIL FROM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParameters {
    /// SIZE: the octets announced.
    pub size: Option<u64>,
    /// BODY.
    pub body: Option<BodyType>,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET: what a delivery report should hold.
    pub ret: Option<Ret>,
    /// ENVID, still as xtext.
    pub envid: Option<String>,
    /// AUTH: who submitted it, still as xtext; `<>` when nobody knows.
    pub auth: Option<String>,
}

/// The value of BODY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyType {
    /// `7BIT`.
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// The value of RET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// `FULL`.
    Full,
    /// `HDRS`.
    Headers,
}

/// What may follow RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptParameters {
    /// NOTIFY, in upper case.
    pub notify: Option<String>,
    /// ORCPT: address type and xtext.
    pub orcpt: Option<String>,
}

impl MailParameters {
    /// Whether it asks for something of delivery reports (RFC 3461).
    pub fn wants_reports(&self) -> bool {
        self.ret.is_some() || self.envid.is_some()
    }

    pub(super) fn read(text: &str) -> Result<Self, Reply> {
        let mut found = Self::default();
        for (name, value) in parameters(text)? {
            let known = match (name.as_str(), value) {
                ("SIZE", Some(value)) if value.len() <= 20 && value.bytes().all(|b| b.is_ascii_digit()) => {
                    // Twenty digits can be more than 64 bits hold; then it is too much in any case.
                    found.size = Some(value.parse().unwrap_or(u64::MAX));
                    true
                }
                ("BODY", Some(value)) => {
                    found.body = BodyType::read(value);
                    found.body.is_some()
                }
                ("SMTPUTF8", None) => {
                    found.smtputf8 = true;
                    true
                }
                ("RET", Some(value)) => once(&mut found.ret, Ret::read(value)),
                ("ENVID", Some(value)) => once(&mut found.envid, xtext_up_to(ENVID_OCTETS_MAX, value)),
                ("AUTH", Some(value)) => once(&mut found.auth, xtext_up_to(AUTH_OCTETS_MAX, value)),
                ("SIZE" | "SMTPUTF8" | "BODY" | "RET" | "ENVID" | "AUTH", _) => false,
                _ => return Err(unknown()),
            };
            if !known {
                return Err(bad_value());
            }
        }
        Ok(found)
    }
}

impl RcptParameters {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn read(text: &str) -> Result<Self, Reply> {
        let mut found = Self::default();
        for (name, value) in parameters(text)? {
            let known = match (name.as_str(), value) {
                ("NOTIFY", Some(value)) => once(&mut found.notify, notify(value)),
                ("ORCPT", Some(value)) => {
                    let typed = value.split_once(';').is_some_and(|(kind, _)| is_atom(kind));
                    once(&mut found.orcpt, text_up_to(ORCPT_OCTETS_MAX, value).filter(|_| typed))
                }
                ("NOTIFY" | "ORCPT", None) => false,
                _ => return Err(unknown()),
            };
            if !known {
                return Err(bad_value());
            }
        }
        Ok(found)
    }
}

impl BodyType {
    fn read(value: &str) -> Option<Self> {
        [Self::SevenBit, Self::EightBitMime].into_iter().find(|body| value.eq_ignore_ascii_case(body.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
        }
    }
}

impl Ret {
    fn read(value: &str) -> Option<Self> {
        [Self::Full, Self::Headers].into_iter().find(|ret| value.eq_ignore_ascii_case(ret.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

/// As they stand behind the path, a space before each.
impl fmt::Display for MailParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, body, smtputf8, ret, envid, auth } = self;
        size.iter().try_for_each(|size| write!(f, " SIZE={size}"))?;
        body.iter().try_for_each(|body| write!(f, " BODY={}", body.name()))?;
        smtputf8.then_some(()).iter().try_for_each(|()| f.write_str(" SMTPUTF8"))?;
        ret.iter().try_for_each(|ret| write!(f, " RET={}", ret.name()))?;
        envid.iter().try_for_each(|envid| write!(f, " ENVID={envid}"))?;
        auth.iter().try_for_each(|auth| write!(f, " AUTH={auth}"))
    }
}

/// As they stand behind the path, a space before each.
impl fmt::Display for RcptParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notify.iter().try_for_each(|notify| write!(f, " NOTIFY={notify}"))?;
        self.orcpt.iter().try_for_each(|orcpt| write!(f, " ORCPT={orcpt}"))
    }
}

/// Names in upper case, with their values.
fn parameters(text: &str) -> Result<impl Iterator<Item = (String, Option<&str>)>, Reply> {
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(Reply::new(501, "5.5.4", "A space is missing behind the address"));
    }
    Ok(text.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((name, value)) => (name.to_ascii_uppercase(), Some(value)),
        None => (word.to_ascii_uppercase(), None),
    }))
}

fn unknown() -> Reply {
    Reply::new(555, "5.5.4", "Unknown parameter")
}

fn bad_value() -> Reply {
    Reply::new(501, "5.5.4", "Bad parameter value")
}

/// Sets what has not been set; `false` when it has, or there is nothing to set.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let sets = place.is_none() && value.is_some();
    if sets {
        *place = value;
    }
    sets
}

/// RFC 3461 §4.4, RFC 4954 §5: ASCII, whatever else the message may hold.
fn xtext_up_to(octets: usize, value: &str) -> Option<String> {
    text_up_to(octets, value).filter(|text| text.is_ascii())
}

/// RFC 3461 §4 writes these in xtext, RFC 6533 in UTF-8 as well; nothing in them means anything here.
fn text_up_to(octets: usize, value: &str) -> Option<String> {
    let fine =
        (1..=octets).contains(&value.len()) && !value.chars().any(|c| c.is_control() || c.is_whitespace());
    fine.then(|| value.to_owned())
}

fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// RFC 3461 §4.1.
fn notify(value: &str) -> Option<String> {
    let value = value.to_ascii_uppercase();
    let events = ["SUCCESS", "FAILURE", "DELAY"];
    let fine = value == "NEVER" || (value.len() <= 30 && value.split(',').all(|word| events.contains(&word)));
    fine.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written() {
        for text in [
            "",
            " SIZE=12 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159 AUTH=<>",
            " BODY=7BIT AUTH=anna+2Bx@example.com",
        ] {
            assert_eq!(MailParameters::read(text).unwrap().to_string(), text);
        }
        for text in ["", " NOTIFY=NEVER", " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@Example.COM"] {
            assert_eq!(RcptParameters::read(text).unwrap().to_string(), text);
        }
        assert_eq!(
            RcptParameters::read(" notify=success,failure").unwrap().to_string(),
            " NOTIFY=SUCCESS,FAILURE"
        );
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            " SIZE",
            " SIZE=x",
            " BODY=BINARYMIME",
            " SMTPUTF8=1",
            " RET=ALL",
            " RET=FULL RET=HDRS",
            " ENVID=",
            " ENVID",
            " ENVID=é",
            " AUTH",
            " AUTH=é@example.com",
        ] {
            assert_eq!(MailParameters::read(text).unwrap_err().code, 501, "{text}");
        }
        for text in
            [" NOTIFY=NEVER,SUCCESS", " NOTIFY=", " NOTIFY", " ORCPT=bob@example.com", " ORCPT=a\tb;c"]
        {
            assert_eq!(RcptParameters::read(text).unwrap_err().code, 501, "{text}");
        }
        assert_eq!(MailParameters::read(" HOLDFOR=1").unwrap_err().code, 555);
        assert_eq!(RcptParameters::read(" RET=FULL").unwrap_err().code, 555);
        assert_eq!(RcptParameters::read("x").unwrap_err().code, 501);
    }
}
