use std::io::{Cursor, Write as _};
use std::time::Duration;

use postern_shared::disk::{Disk as _, RealDisk};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::text::{Text, read};
use super::*;
use crate::archive::{AttachmentText, DocumentReader as _, NotRead};

/// The text of a document, and why it is not all.
fn text_of(name: &str, octets: &[u8]) -> (String, String) {
    let mut text = Text::default();
    read(name, octets, &mut text);
    text.finish()
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, octets) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(octets).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn ooxml(files: &[(&str, &str)]) -> Vec<u8> {
    let mut all: Vec<(&str, &[u8])> = vec![("[Content_Types].xml", b"<Types/>")];
    all.extend(files.iter().map(|(name, xml)| (*name, xml.as_bytes())));
    zipped(&all)
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn word_documents_are_read() {
    let docx = ooxml(&[
        (
            "word/document.xml",
            "<w:document><w:body><w:p><w:r><w:t>Annual re</w:t></w:r><w:r><w:t>port &amp; more&#33;</w:t></w:r></w:p>\
          <w:p><w:r><w:t>second</w:t><w:tab/><w:t>line</w:t></w:r></w:p></w:body></w:document>",
        ),
        (
            "word/footnotes.xml",
            "<w:footnotes><w:footnote><w:p><w:t>a note</w:t></w:p></w:footnote></w:footnotes>",
        ),
        ("word/styles.xml", "<w:styles><w:t>Heading</w:t></w:styles>"),
        ("docProps/core.xml", "<cp><dc:title>The title</dc:title><cp:revision>7</cp:revision></cp>"),
    ]);
    let (text, why) = text_of("report.docx", &docx);
    let mut found = words(&text);
    found.sort_unstable();
    assert_eq!(found, ["&", "Annual", "The", "a", "line", "more!", "note", "report", "second", "title"]);
    assert_eq!(why, "");
}

#[test]
fn sheets_and_slides_are_read() {
    let xlsx = ooxml(&[
        (
            "xl/sharedStrings.xml",
            "<sst><si><t>Turnover</t></si><si><r><t>Rich</t></r><r><t>text</t></r></si></sst>",
        ),
        (
            "xl/worksheets/sheet1.xml",
            "<worksheet><sheetData><row><c t=\"s\"><v>0</v></c><c><v>1234.5</v></c>\
          <c t=\"inlineStr\"><is><t>inline</t></is></c></row></sheetData></worksheet>",
        ),
    ]);
    assert_eq!(words(&text_of("a.xlsx", &xlsx).0), ["Turnover", "Richtext", "1234.5", "inline"]);
    let slide = |text: &str| format!("<p:sld><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:sld>");
    let (ten, two, notes) = (slide("ten"), slide("two"), slide("notes"));
    let pptx = ooxml(&[
        ("ppt/slides/slide10.xml", &ten),
        ("ppt/slides/slide2.xml", &two),
        ("ppt/notesSlides/notesSlide1.xml", &notes),
    ]);
    assert_eq!(words(&text_of("a.pptx", &pptx).0), ["two", "ten", "notes"]);
}

#[test]
fn open_documents_are_read() {
    let odt = zipped(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("content.xml", b"<office:document-content><office:automatic-styles><style>no</style></office:automatic-styles><office:body>\
          <text:h>Head</text:h><text:p>one<text:s/>two <text:span>th</text:span>ree<text:line-break/>four</text:p>\
          <table:table-cell><text:p>cell</text:p></table:table-cell></office:body></office:document-content>"),
    ]);
    assert_eq!(words(&text_of("a.odt", &odt).0), ["Head", "one", "two", "three", "four", "cell"]);
}

#[test]
fn rich_text_is_read() {
    let rtf =
        br"{\rtf1\ansi\ansicpg1251{\fonttbl{\f0 Times;}}{\info{\author Nobody}}{\*\generator Riched20}\uc1
\pard Gr\u246\'3f\u223 ?e {\b bold}\par \'ce\'f2\'f7\'b8\'f2\tab x{\pict 0102}\u-10179?\u-8704?
{\field{\*\fldinst HYPERLINK x}{\fldrslt shown}}\{brace\}\bin3 {{{}";
    let (text, why) = text_of("a.rtf", rtf);
    assert_eq!(words(&text), ["Größe", "bold", "Отчёт", "x😀shown{brace}"]);
    assert_eq!(why, "");
}

#[test]
fn encodings_of_text_are_told_apart() {
    assert_eq!(text_of("a.txt", "Größe".as_bytes()).0, "Größe");
    assert_eq!(text_of("a.csv", b"Gr\xf6\xdfe;1").0, "Größe;1");
    let utf16: Vec<u8> = "Größe".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(text_of("a.txt", &utf16).0, "Größe");
    assert_eq!(text_of("a.txt", &[b"\xff\xfe", &utf16[..]].concat()).0, "Größe");
    let html =
        b"<html><head><meta charset=windows-1251></head><body><p>\xce\xf2\xf7\xb8\xf2</p></body></html>";
    assert_eq!(text_of("a.html", html).0.trim(), "Отчёт");
}

#[test]
fn archives_and_messages_are_looked_into() {
    let mail = b"Subject: inner\r\nFrom: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\nbody of it\r\n--b\r\nContent-Type: application/rtf\r\nContent-Disposition: attachment; filename=\"x.rtf\"\r\n\r\n\
        {\\rtf1 attached to it}\r\n--b--\r\n";
    let inner = zipped(&[("deep.txt", b"deep text"), ("picture.png", b"\x89PNG")]);
    let zip = zipped(&[
        ("mail.eml", mail),
        ("inner.zip", &inner),
        ("old.doc", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"),
    ]);
    let (text, why) = text_of("a.zip", &zip);
    for wanted in ["mail.eml", "inner", "body of it", "attached to it", "deep text", "picture.png"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(why, "old.doc: the old binary Office formats are not read");
}

/// Goal: whatever a document claims or repeats, reading it ends, with a bounded result and the reason.
#[test]
fn bombs_cost_their_bounds() {
    let zeros = vec![0; 200 * 1024 * 1024];
    let big = zipped(&[("big.txt", &zeros), ("after.txt", b"after")]);
    drop(zeros);
    assert!(big.len() < 1024 * 1024);
    let (text, why) = text_of("a.zip", &big);
    assert!(text.contains("after") && why.contains("more comes out of it"), "{why}");

    let mut nested = zipped(&[("core.txt", b"core")]);
    for _ in 0..10 {
        nested = zipped(&[("more.zip", &nested)]);
    }
    let (text, why) = text_of("a.zip", &nested);
    assert!(!text.contains("core.txt") && why.contains("documents within documents"), "{why}");

    let laughs = format!(
        "<!DOCTYPE lolz [<!ENTITY lol \"lol\">{}]><w:document><w:p><w:t>&lol9;&lol9; end</w:t></w:p></w:document>",
        (1..10)
            .map(|n| format!("<!ENTITY lol{n} \"{}\">", format!("&lol{};", n - 1).repeat(10)))
            .collect::<String>()
    );
    let (text, _) = text_of("a.docx", &ooxml(&[("word/document.xml", &laughs)]));
    assert_eq!(text.trim(), "end");

    let deep = format!("{}<w:t>x</w:t>", "<w:p>".repeat(500_000));
    assert_eq!(text_of("a.docx", &ooxml(&[("word/document.xml", &deep)])).0.trim(), "x");
    let long = format!("<w:t>{}</w:t>", "long text ".repeat(500_000));
    let (text, why) = text_of("a.docx", &ooxml(&[("word/document.xml", &long)]));
    assert!(text.len() <= 1 << 20 && why.contains("first 1 MB"), "{why}");

    assert!(text_of("a.rtf", "{\\rtf1 ".repeat(20_000).as_bytes()).1.contains("nested"));
    assert_eq!(text_of("a.rtf", b"{\\rtf1 a\\bin99999999999 b}").0, "a");
    let files: Vec<(String, Vec<u8>)> = (0..1100).map(|n| (format!("{n}.txt"), b"x".to_vec())).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, octets)| (name.as_str(), &octets[..])).collect();
    assert!(text_of("a.zip", &zipped(&files)).1.contains("of 1100 files"));
}

/// Goal: nothing that a stranger bends makes reading fall over.
#[test]
fn bent_documents_are_survived() {
    let docx = ooxml(&[("word/document.xml", "<w:document><w:p><w:t>some words</w:t></w:p></w:document>")]);
    let rtf = br"{\rtf1\ansi\ansicpg932 \'82\'a0 \u8364? {\*\x y}\par}".to_vec();
    for (name, whole) in [("a.docx", docx), ("a.rtf", rtf)] {
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x55;
            text_of(name, &bent);
            text_of(name, &whole[..at]);
        }
    }
}

#[test]
fn what_is_no_document_says_so() {
    for (name, octets, why) in [
        ("a.pdf", &b"hello"[..], "no PDF"),
        ("a.docx", b"hello", "no Office document"),
        ("a.docx", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "encrypted"),
        ("a.xls", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "old binary"),
        ("a.rar", b"Rar!", "archives of this kind"),
        ("a.zip", b"PK\x03\x04rest", "broken zip"),
        ("a.pdf", b"%PDF-1.7 nothing", "password"),
    ] {
        let (text, told) = text_of(name, octets);
        assert!(text.is_empty() && told.contains(why), "{name}: {told}");
    }
    assert_eq!(Format::of("photo.jpg", "image/jpeg", b"\xff\xd8"), Ok(None));
    assert_eq!(Format::of("noname", "", b"%PDF-1.4"), Ok(Some(Format::Pdf)));
}

#[test]
fn questions_are_answered_one_after_the_other() {
    let mut asked = Vec::new();
    frames::ask(&mut asked, "a.txt", b"one").unwrap();
    frames::ask(&mut asked, "b.rtf", b"nothing").unwrap();
    let mut answers = Vec::new();
    worker::answer_all(&asked[..], &mut answers).unwrap();
    let mut answers = &answers[..];
    assert_eq!(frames::answered(&mut answers).unwrap(), ("one".to_owned(), String::new()));
    assert!(frames::answered(&mut answers).unwrap().1.contains("no RTF"));
    assert!(
        worker::answer_all(&b"\x00\x00\x00\x01a\xff\xff\xff\xff"[..], Vec::new()).is_err(),
        "a length that lies"
    );
}

const ONE: Limits = Limits { deadline: Duration::from_secs(20), workers: 1, workers_in_all: 1 };

/// Goal: a worker that hangs or dies costs its document and nothing else, once.
#[test]
fn workers_that_hang_or_die_are_replaced() {
    let limits = Limits { deadline: Duration::from_millis(300), ..ONE };
    let read = |workers: &Workers, name| workers.read(name, name.as_bytes(), &|| false);
    let before = |read: Result<AttachmentText, NotRead>| matches!(read, Ok(AttachmentText::Missing(why)) if why.contains("before"));
    let hanging = Workers::new("/bin/sleep".into(), &["1000"], limits);
    assert!(matches!(read(&hanging, "a.pdf"), Err(NotRead::Broken(why)) if why.contains("longer")));
    assert!(before(read(&hanging, "a.pdf")));
    let dying = Workers::new("/bin/true".into(), &[], limits);
    assert!(matches!(read(&dying, "a.pdf"), Err(NotRead::Broken(why)) if why.contains("memory")));
    assert!(before(read(&dying, "a.pdf")));
    let missing = Workers::new("/nowhere/at/all".into(), &[], limits);
    for _ in 0..2 {
        assert!(matches!(read(&missing, "a.pdf"), Err(NotRead::NotNow(why)) if why.contains("started")));
    }
}

/// Goal: a document is tried twice before it is called poisonous: its first worker may have died of something else.
#[test]
fn one_death_is_no_proof() {
    let dir = tempfile::tempdir().unwrap();
    let died = dir.path().join("died");
    // Answers "ok" in its second life: an answer is two pieces, each behind its length.
    let script = format!(
        "if test -e {0}; then printf '\\0\\0\\0\\2ok\\0\\0\\0\\0' >&0; cat >/dev/null; fi; : > {0}",
        died.display()
    );
    let limits = ONE;
    let workers = Workers::new("/bin/sh".into(), &["-c", &script], limits);
    assert_eq!(workers.read("a.txt", b"x", &|| false), Ok(AttachmentText::Text("ok".into())));
}

/// Goal: whoever is to end does not wait for a document, nor for a worker that another document has.
#[test]
fn nobody_waits_for_a_document_when_all_ends() {
    let limits = Limits { deadline: Duration::from_secs(1000), ..ONE };
    let hanging = Workers::new("/bin/sleep".into(), &["1000"], limits);
    let ended = std::sync::atomic::AtomicBool::new(false);
    let is_ended = || ended.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        let both = ["a.pdf", "b.pdf"].map(|name| {
            let (hanging, is_ended) = (&hanging, &is_ended);
            scope.spawn(move || hanging.read(name, b"x", is_ended))
        });
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        for one in both {
            assert_eq!(one.join().unwrap(), Err(NotRead::Ended));
        }
    });
}

/// Goal: whoever has many documents takes no more than their share of the workers; another one's are read meanwhile.
#[test]
fn documents_of_one_leave_workers_for_others() {
    let limits = Limits { deadline: Duration::from_secs(1000), workers: 2, workers_in_all: 3 };
    // Hangs, unless it is another one's question that it is asked.
    let script = "head -c 13 | grep -q good && printf '\\0\\0\\0\\2ok\\0\\0\\0\\0' >&0; exec sleep 1000";
    let greedy = Workers::new("/bin/sh".into(), &["-c", script], limits);
    let other = greedy.shared();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let is_ended = || ended.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        let hang: Vec<_> = (0..5)
            .map(|_| {
                let (greedy, is_ended) = (&greedy, &is_ended);
                scope.spawn(move || greedy.read("evil", b"x", is_ended))
            })
            .collect();
        assert_eq!(other.read("good", b"x", &|| false), Ok(AttachmentText::Text("ok".into())));
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        for one in hang {
            assert_eq!(one.join().unwrap(), Err(NotRead::Ended));
        }
    });
}

/// Goal: a worker ends when nobody asks for a while, and the next document finds another one.
#[test]
fn who_has_nothing_to_do_ends() {
    struct Silent;
    impl std::io::Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::WouldBlock.into())
        }
    }
    assert!(super::worker::answer_all(Silent, Vec::new()).is_ok());
    let dir = tempfile::tempdir().unwrap();
    let lives = dir.path().join("lives");
    // Answers once and ends.
    let script = format!(
        "echo >> {}; head -c 13 >/dev/null; printf '\\0\\0\\0\\2ok\\0\\0\\0\\0' >&0",
        lives.display()
    );
    let workers = Workers::new("/bin/sh".into(), &["-c", &script], ONE);
    for n in 1..4 {
        assert_eq!(workers.read("good", b"x", &|| false), Ok(AttachmentText::Text("ok".into())));
        assert_eq!(RealDisk.read(&lives, 100).unwrap().len(), n);
    }
}
