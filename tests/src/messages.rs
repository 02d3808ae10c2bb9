//! Messages for the demo and the tests, written here from the grammar of MS-XJRNL and RFC 5322.

use std::fmt::Write as _;

/// A plain message, CRLF lines.
pub fn plain(number: usize, from: &str, to: &str, subject: &str, body: &str) -> Vec<u8> {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{number}@example.com>\r\n\
         Date: Mon, 05 Jan 2026 10:00:{:02} +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n",
        number % 60
    )
    .into_bytes()
}

/// A message with lone dots, things that look like IMAP, and octets beyond ASCII.
pub fn awkward(number: usize) -> Vec<u8> {
    let body = format!(
        ".\r\n..\r\n* {number} FETCH (BODY[] {{5}}\r\n)\r\np1 OK\r\nGrüße {}",
        "x".repeat(500 + number)
    );
    plain(number, "anna@mail.test", "bob@mail.test", "awkward", &body)
}

/// A plain message of exactly `bytes` octets (at least 400), different for each `number`.
pub fn sized(number: usize, bytes: usize) -> Vec<u8> {
    let mut message = plain(number, "sender@example.org", "journal@example.com", "load", "");
    let mut line = 0;
    while message.len() + 80 < bytes {
        let text = format!("{number:08} {line:08} ");
        message.extend_from_slice(text.as_bytes());
        message.extend(std::iter::repeat_n(b'x', 78 - text.len()));
        message.extend_from_slice(b"\r\n");
        line += 1;
    }
    while message.len() + 2 < bytes {
        message.push(b'y');
    }
    message.extend_from_slice(b"\r\n");
    message
}

/// An Exchange journal report around `original`; `recipients` are its recipient lines, "To: a@example.com".
pub fn journal_report(sender: &str, recipients: &[&str], subject: &str, original: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "From: <{sender}>\r\nTo: <journal@example.com>\r\nSubject: {subject}\r\n\
         Sender: <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.onmicrosoft.com>\r\n\
         Message-ID: <b7f1c9aa-0000-4000-8000-000000000001@journal.report.generator>\r\n\
         Date: Mon, 05 Jan 2026 10:00:01 +0000\r\nX-MS-Journal-Report:\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"_report_1_\"\r\n\r\n\
         --_report_1_\r\nContent-Type: text/plain; charset=\"us-ascii\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Sender: {sender}\r\nSubject: {subject}\r\nMessage-Id: <original-1@example.com>\r\n"
    );
    for recipient in recipients {
        // Writing to a String cannot fail.
        let _ = write!(head, "{recipient}\r\n");
    }
    head.push_str("\r\n--_report_1_\r\nContent-Type: message/rfc822\r\n\r\n");
    [head.as_bytes(), original, b"\r\n--_report_1_--\r\n"].concat()
}
