//! Answers at any piece border, and the official ones.

use std::fmt::Write as _;
use std::path::Path;

use postern_shared::clock::UnixMillis;

use super::*;

const BEFORE: &str = "<s:Envelope xmlns:s=\"x\"><s:Header><h:ServerVersionInfo MajorVersion=\"15\" MinorVersion=\"2\" \
    MajorBuildNumber=\"1748\"/></s:Header><s:Body><m:GetItemResponse><m:ResponseMessages>";
const AFTER: &str = "</m:ResponseMessages></m:GetItemResponse></s:Body></s:Envelope>";

/// All events, contents put together.
fn read(document: &[u8], width: usize) -> Result<(Vec<Event>, Vec<Vec<u8>>), BadAnswer> {
    let mut decoder = Decoder::default();
    let (mut events, mut contents) = (Vec::new(), Vec::new());
    for piece in document.chunks(width) {
        let mut rest = piece;
        loop {
            let (used, event) = decoder.receive(rest)?;
            rest = &rest[used..];
            match event {
                None => break,
                Some(Event::ContentBegins) => contents.push(Vec::new()),
                Some(Event::Content) => contents.last_mut().unwrap().extend_from_slice(decoder.content()),
                Some(event) => events.push(event),
            }
        }
        assert!(rest.is_empty());
    }
    decoder.finish()?;
    Ok((events, contents))
}

#[test]
fn items_come_with_content_flags_and_dates() {
    let document = format!(
        "{BEFORE}<m:GetItemResponseMessage ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode><m:Items>\
         <t:Message><t:MimeContent CharacterSet=\"UTF-8\">U3ViamVj\r\ndDogeA0KDQp5</t:MimeContent><t:ItemId Id=\"A&amp;1\" \
         ChangeKey=\"C\"/><t:ItemClass>IPM.Note</t:ItemClass><t:DateTimeReceived>2026-01-02T03:04:05Z</t:DateTimeReceived>\
         <t:Size>99</t:Size><t:Categories><t:String>Red</t:String><t:String>a&lt;b</t:String></t:Categories>\
         <t:ExtendedProperty><t:ExtendedFieldURI PropertyTag=\"0xe07\" PropertyType=\"Integer\"/><t:Value>1</t:Value>\
         </t:ExtendedProperty><t:ExtendedProperty><t:ExtendedFieldURI PropertyTag=\"0x1090\" PropertyType=\"Integer\"/>\
         <t:Value>2</t:Value></t:ExtendedProperty></t:Message></m:Items></m:GetItemResponseMessage>\
         <m:GetItemResponseMessage ResponseClass=\"Error\"><m:MessageText>Too busy.</m:MessageText>\
         <m:ResponseCode>ErrorServerBusy</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey><m:MessageXml>\
         <t:Value Name=\"BackOffMilliseconds\">1500</t:Value></m:MessageXml><m:Items/></m:GetItemResponseMessage>{AFTER}"
    );
    for width in [1, 7, 64, 10_000] {
        let (events, contents) = read(document.as_bytes(), width).unwrap();
        assert_eq!(contents, [b"Subject: x\r\n\r\ny".to_vec()]);
        let [
            Event::Version(version),
            Event::ContentEnds(true),
            Event::Item(Change::Create, item),
            first,
            second,
        ] = events.as_slice()
        else {
            panic!("{events:?}");
        };
        assert_eq!((version.major, version.minor, version.build), (15, 2, 1748));
        assert_eq!((item.id.as_str(), item.class.as_str(), item.octets), ("A&1", "IPM.Note", 99));
        assert_eq!(item.received, Some(UnixMillis(1_767_323_045_000)));
        assert_eq!(item.categories, ["Red", "a<b"]);
        assert!(item.flags.read && item.flags.flagged && !item.flags.draft);
        assert!(matches!(first, Event::Answer(answer) if !answer.is_error()));
        let Event::Answer(busy) = second else { panic!("{second:?}") };
        assert_eq!((busy.code.as_str(), busy.text.as_str()), ("ErrorServerBusy", "Too busy."));
        assert_eq!(busy.back_off.map(|pause| pause.as_millis()), Some(1500));
    }
}

#[test]
fn changes_are_told_apart() {
    let document = format!(
        "{BEFORE}<m:SyncFolderItemsResponseMessage ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode>\
         <m:SyncState>H4sI</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes>\
         <t:Create><t:Message><t:ItemId Id=\"1\"/></t:Message></t:Create>\
         <t:Update><t:Contact><t:ItemId Id=\"2\"/></t:Contact></t:Update>\
         <t:Delete><t:ItemId Id=\"3\"/></t:Delete>\
         <t:ReadFlagChange><t:ItemId Id=\"4\"/><t:IsRead>true</t:IsRead></t:ReadFlagChange></m:Changes>\
         </m:SyncFolderItemsResponseMessage>{AFTER}"
    );
    let (events, _) = read(document.as_bytes(), 9).unwrap();
    let mut told = String::new();
    for event in &events {
        if let Event::Item(change, item) = event {
            let _ = write!(told, "{change:?} {} {};", item.id, item.flags.read);
        }
    }
    assert_eq!(told, "Create 1 false;Update 2 false;Delete 3 false;ReadFlag 4 true;");
    let Some(Event::Answer(answer)) = events.last() else { panic!("{events:?}") };
    assert_eq!((answer.sync_state.as_deref(), answer.last), (Some("H4sI"), Some(false)));
}

/// Goal: what a hostile server may put where nothing was asked for changes nothing that was told.
#[test]
fn what_lies_deeper_is_no_field() {
    let document = format!(
        "{BEFORE}<m:GetItemResponseMessage ResponseClass=\"Success\"><m:Items><t:Message><t:ItemId Id=\"1\"/><t:Attachments>\
         <t:ItemAttachment><t:Message><t:MimeContent>eA==</t:MimeContent><t:ItemId Id=\"evil\"/><t:Size>7</t:Size></t:Message>\
         </t:ItemAttachment></t:Attachments><t:Size>5</t:Size></t:Message></m:Items><m:ResponseCode>NoError</m:ResponseCode>\
         </m:GetItemResponseMessage>{AFTER}"
    );
    let (events, contents) = read(document.as_bytes(), 11).unwrap();
    assert!(contents.is_empty());
    assert!(matches!(&events[1], Event::Item(_, item) if item.id == "1" && item.octets == 5), "{events:?}");
}

#[test]
fn what_is_no_answer_is_refused() {
    assert_eq!(read(b"<html><body/></html>", 5).unwrap_err(), BadAnswer::NoEnvelope);
    assert_eq!(read(b"Service Unavailable", 5).unwrap_err(), BadAnswer::Xml(xml::XmlError::NoXml));
    assert_eq!(read(BEFORE.as_bytes(), 5).unwrap_err(), BadAnswer::Cut);
    let bad = format!(
        "{BEFORE}<m:GetItemResponseMessage ResponseClass=\"Success\"><m:Items><t:Message><t:MimeContent>!!</t:MimeContent>\
         </t:Message></m:Items></m:GetItemResponseMessage>{AFTER}"
    );
    let (events, _) = read(bad.as_bytes(), 5).unwrap();
    assert!(events.contains(&Event::ContentEnds(false)));
}

/// Goal: requests are well-formed, whatever stands in them.
#[test]
fn requests_hold_what_they_are_given() {
    let caller = Caller { impersonated: Some("a&b@example.com".into()), modern: true };
    let folder = Place::Id("<\"&>".into());
    let inbox = Place::Distinguished("inbox", Some("x<y@example.com".into()));
    let places = [folder.clone(), inbox];
    let ids = ["a\u{0}b", "]]>"];
    for request in [
        Request::GetFolder(&places),
        Request::SyncFolderHierarchy(&folder, Some("s&t")),
        Request::FindFolder(&places, 7, 100),
        Request::SyncFolderItems(&folder, None, 512),
        Request::FindItem(&folder, 0, 1000),
        Request::GetItem(&ids, true),
        Request::DeleteItem(&ids, Disposal::Hard),
    ] {
        let text = request.envelope(&caller);
        let (mut reader, mut rest) = (xml::Reader::default(), text.as_bytes());
        let mut names = Vec::new();
        while let (used, Some(token)) = reader.next(rest).unwrap_or_else(|error| panic!("{error}: {text}")) {
            rest = &rest[used..];
            if token == xml::Token::Start {
                names.push(reader.name().to_owned());
            }
        }
        assert!(reader.is_whole() && names.contains(&request.name().to_owned()), "{text}");
        assert!(text.contains("a&amp;b@example.com") && text.contains("Exchange2013"));
    }
}

/// Goal: the answers that Microsoft documents are read, with the counts that can be seen in them.
#[test]
#[expect(clippy::disallowed_methods, reason = "the corpus lies outside of everything that the program has")]
fn official_answers_are_read() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let corpus = std::env::var_os("POSTERN_CORPUS").map_or_else(beside, std::path::PathBuf::from);
    let Ok(files) = std::fs::read_dir(corpus.join("ews-fixtures-msdocs/valid")) else {
        eprintln!("SKIPPED: there are no official answers at {}", corpus.display());
        return;
    };
    let (mut answers, mut rows) = (0, 0);
    for file in files {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (whole, _) =
            read(text.as_bytes(), text.len()).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        for width in [1, 13] {
            assert_eq!(read(text.as_bytes(), width).unwrap().0, whole, "{path:?}");
        }
        let messages = text.matches("ResponseMessage ResponseClass=").count();
        let told = whole.iter().filter(|event| matches!(event, Event::Answer(_))).count();
        assert_eq!(told, messages, "{path:?}");
        let mut errors = 0;
        for event in &whole {
            match event {
                Event::Answer(answer) => {
                    assert!(!answer.code.is_empty(), "{path:?}");
                    errors += usize::from(answer.is_error());
                    answers += 1;
                }
                Event::Folder(_, folder) => {
                    assert!(!folder.id.is_empty(), "{path:?}");
                    rows += 1;
                }
                Event::Item(_, item) => {
                    assert!(!item.id.is_empty() || !text.contains("<t:ItemId"), "{path:?}");
                    rows += 1;
                }
                _ => {}
            }
        }
        assert_eq!(errors, text.matches("ResponseMessage ResponseClass=\"Error\"").count(), "{path:?}");
    }
    assert!(answers >= 50 && rows >= 10, "{answers} answers, {rows} rows");
}

/// Goal: a sync state that is too long is no state, rather than a part of one that the server would not know.
#[test]
fn a_state_that_is_too_long_is_refused() {
    let mut decoder = Decoder::default();
    let head = "<s:Envelope xmlns:s='x'><s:Body><m:SyncFolderItemsResponse><m:ResponseMessages>\
                <m:SyncFolderItemsResponseMessage ResponseClass='Success'><m:SyncState>";
    assert_eq!(decoder.receive(head.as_bytes()), Ok((head.len(), None)));
    let mebi = vec![b'A'; 1024 * 1024];
    for _ in 0..16 {
        assert_eq!(decoder.receive(&mebi), Ok((mebi.len(), None)));
    }
    assert_eq!(decoder.receive(b"A"), Err(BadAnswer::Long));
}
