//! What Exchange servers say.

use postern_archiver::sources::ews::auth::ntlm::{Challenge, Circumstances, authenticate};
use postern_archiver::sources::ews::soap::xml::{Reader, Token, XmlError, escaped};
use postern_archiver::sources::ews::soap::{BadAnswer, Decoder, Event};
use postern_shared::clock::UnixMillis;
use postern_shared::proto::sasl::PlainCredentials;

use super::octets::pieces;

const PASSWORD: &str = "kept-secret";

const BEFORE: &str = "<s:Envelope xmlns:s='x'><s:Header><t:ServerVersionInfo MajorVersion='15' MinorVersion='2'/>\
    </s:Header><s:Body><m:R><m:ResponseMessages>";
const AFTER: &str = "</m:ResponseMessages></m:R></s:Body></s:Envelope>";

pub(super) fn answer_seeds() -> Vec<Vec<u8>> {
    [
        "<m:GetItemResponseMessage ResponseClass='Success'><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Message>\
         <t:MimeContent>U3ViamVjdDogeA0KDQp5</t:MimeContent><t:ItemId Id='A&amp;1'/><t:Size>9</t:Size><t:Categories><t:String>r\
         </t:String></t:Categories><t:ExtendedProperty><t:ExtendedFieldURI PropertyTag='0xe07'/><t:Value>9</t:Value>\
         </t:ExtendedProperty></t:Message></m:Items></m:GetItemResponseMessage>",
        "<m:SyncFolderItemsResponseMessage ResponseClass='Success'><m:SyncState>H4sI</m:SyncState><m:IncludesLastItemInRange>true\
         </m:IncludesLastItemInRange><m:Changes><t:Create><t:Message><t:ItemId Id='1'/></t:Message></t:Create><t:Delete>\
         <t:ItemId Id='3'/></t:Delete><t:ReadFlagChange><t:ItemId Id='4'/><t:IsRead>true</t:IsRead></t:ReadFlagChange>\
         </m:Changes></m:SyncFolderItemsResponseMessage>",
        "<m:FindFolderResponseMessage ResponseClass='Success'><m:RootFolder IndexedPagingOffset='4'><t:Folders><t:Folder>\
         <t:FolderId Id='f'/><t:DisplayName><![CDATA[a]]b]]></t:DisplayName></t:Folder></t:Folders></m:RootFolder>\
         </m:FindFolderResponseMessage><m:X ResponseClass='Error'><m:MessageText>&#x1F;</m:MessageText></m:X>",
        "</m:ResponseMessages></m:R><s:Fault><faultcode>a:ErrorServerBusy</faultcode><detail><t:MessageXml>\
         <t:Value Name='BackOffMilliseconds'>5</t:Value></t:MessageXml></detail></s:Fault><m:R><m:ResponseMessages>",
    ]
    .map(|text| [&[3], BEFORE.as_bytes(), text.as_bytes(), AFTER.as_bytes()].concat())
    .to_vec()
}

type Told = Result<(Vec<Event>, Vec<u8>), BadAnswer>;

fn read(input: &[&[u8]]) -> Told {
    let mut decoder = Decoder::default();
    let (mut events, mut content) = (Vec::new(), Vec::new());
    let mut within = false;
    for piece in input {
        let mut rest = *piece;
        loop {
            let (used, event) = decoder.receive(rest)?;
            rest = &rest[used..];
            match event {
                None => break,
                Some(Event::Content) => {
                    assert!(within && !decoder.content().is_empty());
                    content.extend_from_slice(decoder.content());
                }
                Some(event) => {
                    match &event {
                        Event::ContentBegins => assert!(!std::mem::replace(&mut within, true)),
                        Event::ContentEnds(_) => assert!(std::mem::take(&mut within)),
                        Event::Answer(answer) | Event::Fault(answer) => {
                            assert!(!answer.text.chars().chain(answer.code.chars()).any(char::is_control));
                        }
                        _ => {}
                    }
                    events.push(event);
                }
            }
        }
        assert!(rest.is_empty(), "all of it is used");
    }
    decoder.finish()?;
    Ok((events, content))
}

/// The same events and contents, or the same error, at any piece border; contents begin and end in turn, nothing that goes
/// into a log holds a control character; what is written as XML is what is read of it again.
pub(super) fn answer(data: &[u8]) {
    let rest = data.get(1..).unwrap_or_default();
    match (read(&[rest]), read(&pieces(data))) {
        // Garbled content is not handed on further, and how much was depends on borders.
        (Ok((whole, one)), Ok((cut, other))) => {
            assert_eq!(whole, cut, "at any border");
            assert!(one == other || whole.contains(&Event::ContentEnds(false)));
        }
        (whole, cut) => assert_eq!(whole.err(), cut.err(), "at any border"),
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let written = format!("<a b=\"{}\"/>", escaped(text));
    let mut reader = Reader::default();
    match reader.next(written.as_bytes()) {
        Ok((_, Some(Token::Start))) => {
            let read = reader.attribute("b").unwrap_or_default();
            assert_eq!(read.chars().count(), text.chars().count());
        }
        other => assert_eq!(other, Err(XmlError::LongTag)),
    }
}

pub(super) fn ntlm_seeds() -> Vec<Vec<u8>> {
    let mut message =
        b"NTLMSSP\0\x02\0\0\0\0\0\0\0\0\0\0\0\x05\x82\x89\xa2\x01\x02\x03\x04\x05\x06\x07\x08".to_vec();
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[24, 0, 24, 0, 48, 0, 0, 0]);
    message
        .extend_from_slice(&[2, 0, 4, 0, b'D', 0, b'M', 0, 7, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]);
    vec![message]
}

/// A challenge is read or refused; the answer to one is bounded, and holds the password in no form that could be read.
pub(super) fn ntlm(data: &[u8]) {
    let Ok(challenge) = Challenge::parse(data) else { return };
    let credentials = PlainCredentials { user: "CORP\\anna".into(), password: PASSWORD.to_owned().into() };
    let with = Circumstances {
        nonce: [7; 8],
        now: UnixMillis(1_767_323_045_000),
        service: "HTTP/mail".into(),
        certificate_hash: Some(vec![9; 32]),
    };
    let Ok(message) = authenticate(&challenge, &credentials, &with) else { return };
    assert!(message.len() <= data.len() + 300);
    let wide: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let holds = |what: &[u8]| message.windows(what.len()).any(|window| window == what);
    assert!(!holds(PASSWORD.as_bytes()) && !holds(&wide) || data.len() > 100);
    assert_eq!(authenticate(&challenge, &credentials, &with).as_ref(), Ok(&message));
}
