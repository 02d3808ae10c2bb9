//! Autodiscover's plain XML (MS-OXDSCLI §2.2.3, §2.2.4): a request, and what an answer comes to. Values only.

use super::super::soap::answer::printable;
use super::super::soap::xml::{Reader, Token, XmlError, escaped};

const REQUEST: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006";
const RESPONSE: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";
/// URLs of one answer.
const URLS_MAX: usize = 16;

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pox {
    /// Here is EWS; the first is for clients within the network.
    Urls(Vec<String>),
    /// The mailbox has another address.
    OtherAddress(String),
    /// Somebody else knows.
    OtherUrl(String),
    /// It does not know.
    Error(String),
}

/// The request for a mailbox.
pub(crate) fn request(mailbox: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"{REQUEST}\"><Request><EMailAddress>{}\
         </EMailAddress><AcceptableResponseSchema>{RESPONSE}</AcceptableResponseSchema></Request></Autodiscover>",
        escaped(mailbox)
    )
}

/// Reads an answer.
pub(crate) fn answer(body: &[u8]) -> Result<Pox, XmlError> {
    let mut reader = Reader::default();
    let (mut rest, mut text) = (body, Vec::new());
    let (mut internal, mut external) = (Vec::new(), Vec::new());
    let (mut kind, mut address, mut url, mut error) = (String::new(), None, None, None);
    loop {
        let (used, token) = reader.next(rest)?;
        rest = rest.get(used..).unwrap_or_default();
        match token {
            None => break,
            Some(Token::Start) => {
                text.clear();
                if reader.name() == "Protocol" {
                    kind = reader.attribute("Type").unwrap_or_default().to_owned();
                }
            }
            Some(Token::Text) => text.extend_from_slice(reader.text()),
            Some(Token::End) => {
                let said = printable(&String::from_utf8_lossy(&std::mem::take(&mut text)));
                match (reader.name(), reader.above(1)) {
                    ("Type", "Protocol") => kind = said,
                    ("EwsUrl", "Protocol") if !said.is_empty() => match kind.as_str() {
                        "EXCH" => internal.push(said),
                        _ => external.push(said),
                    },
                    ("RedirectAddr", _) => address = Some(said),
                    ("RedirectUrl", _) => url = Some(said),
                    ("Message", "Error") => error = Some(said),
                    _ => {}
                }
            }
        }
    }
    if !reader.is_whole() {
        return Err(XmlError::NoXml);
    }
    internal.extend(external);
    internal.truncate(URLS_MAX);
    Ok(match (address, url, error) {
        _ if !internal.is_empty() => Pox::Urls(internal),
        (Some(address), ..) => Pox::OtherAddress(address),
        (_, Some(url), _) => Pox::OtherUrl(url),
        (.., Some(error)) => Pox::Error(error),
        _ => Pox::Error("its answer names no EWS".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(inner: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><Autodiscover xmlns=\"a\"><Response xmlns=\"{RESPONSE}\"><Account>{inner}</Account>\
             </Response></Autodiscover>"
        )
    }

    #[test]
    fn answers_come_to_something() {
        let exchange = "<Action>settings</Action>\
            <Protocol><Type>EXPR</Type><EwsUrl>https://out/EWS</EwsUrl></Protocol>\
            <Protocol><Type>EXCH</Type><EwsUrl>https://in/EWS</EwsUrl></Protocol>\
            <Protocol Type=\"mapiHttp\"><MailStore><InternalUrl>x</InternalUrl></MailStore></Protocol>";
        let read = |inner: &str| answer(account(inner).as_bytes()).unwrap();
        assert_eq!(read(exchange), Pox::Urls(vec!["https://in/EWS".into(), "https://out/EWS".into()]));
        let address = "<Action>redirectAddr</Action><RedirectAddr>a@b.example</RedirectAddr>";
        assert_eq!(read(address), Pox::OtherAddress("a@b.example".into()));
        let url = "<Action>redirectUrl</Action><RedirectUrl>https://x/</RedirectUrl>";
        assert_eq!(read(url), Pox::OtherUrl("https://x/".into()));
        assert_eq!(read(""), Pox::Error("its answer names no EWS".into()));
        let error = "<Autodiscover><Response><Error Time=\"1\" Id=\"2\"><ErrorCode>500</ErrorCode>\
            <Message>The e-mail address cannot be found.</Message></Error></Response></Autodiscover>";
        assert_eq!(answer(error.as_bytes()), Ok(Pox::Error("The e-mail address cannot be found.".into())));
        assert!(answer(b"<html><br></html>").is_err());
        assert!(answer(b"<Autodiscover>").is_err());
        assert!(request("<a>&b@example.com").contains("&lt;a&gt;&amp;b@example.com"));
    }
}
