//! A notice as a message (RFC 5322, 2045), marked as automatic (RFC 3834).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_shared::clock::UnixMillis;
use postern_shared::id::MessageId;

use super::notices::{Mail, Trouble, Troubles};
use super::settings::NotificationSettings;

/// Jobs that are told one by one; the rest is counted.
const JOBS_MAX: usize = 200;
const BASE64_LINE: usize = 76;

/// Subject and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// One line of ASCII.
    pub subject: String,
    /// Lines that end in LF.
    pub body: String,
}

impl Text {
    /// What a mail tells.
    pub fn of(mail: &Mail) -> Self {
        let failing = mail.new.len() + mail.repeated.len();
        let one = |jobs: &Troubles| jobs.keys().next().cloned().unwrap_or_default();
        let subject = match (mail.new.len(), mail.repeated.len(), mail.recovered.len()) {
            (1, 0, 0) => format!("job {} fails", one(&mail.new)),
            (0, 1, 0) => format!("job {} still fails", one(&mail.repeated)),
            (0, 0, 1) => format!("job {} succeeds again", one(&mail.recovered)),
            (0, 0, again) => format!("{again} jobs succeed again"),
            (0, _, _) => format!("{failing} jobs still fail"),
            _ => format!("{failing} jobs fail"),
        };
        let mut body = String::new();
        section(&mut body, "Failing now:", &mail.new, failure);
        section(&mut body, "Still failing:", &mail.repeated, failure);
        section(&mut body, "Succeeding again:", &mail.recovered, |job, trouble| {
            let when = trouble.recovered.unwrap_or(trouble.last);
            format!("{job}\n    since {when}; it had failed since {}\n", trouble.since)
        });
        body += "See: postern-archiver result list --instance INSTANCE --job JOB\n";
        Self { subject, body }
    }

    /// The mail that shows that mail goes through.
    pub fn test() -> Self {
        let body = "Mail about failing jobs goes here. This one was asked for with: postern-archiver notifications test\n";
        Self { subject: "test of notifications".into(), body: body.into() }
    }

    /// The whole message, lines ending in CRLF. No line begins with a dot.
    pub fn message(&self, settings: &NotificationSettings, id: MessageId, now: UnixMillis) -> Vec<u8> {
        let domain = settings.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let mut text = format!(
            "Date: {}\r\nFrom: Postern <{}>\r\nTo: {}\r\nSubject: [postern] {}\r\nMessage-ID: <{id}@{domain}>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
            now.rfc5322(),
            settings.from,
            settings.to.join(",\r\n "),
            self.subject,
        );
        let encoded = STANDARD.encode(self.body.replace('\n', "\r\n"));
        for line in encoded.as_bytes().chunks(BASE64_LINE) {
            text += &String::from_utf8_lossy(line);
            text += "\r\n";
        }
        text.into_bytes()
    }
}

fn failure(job: &str, trouble: &Trouble) -> String {
    let runs = if trouble.runs == 1 { "1 run".into() } else { format!("{} runs", trouble.runs) };
    format!(
        "{job}\n    {} at {}; {runs}, since {}\n    {}\n",
        trouble.how, trouble.last, trouble.since, trouble.error
    )
}

fn section(body: &mut String, title: &str, jobs: &Troubles, tell: impl Fn(&str, &Trouble) -> String) {
    if jobs.is_empty() {
        return;
    }
    let _ = writeln!(body, "{title}\n");
    for (job, trouble) in jobs.iter().take(JOBS_MAX) {
        *body += &tell(job, trouble);
    }
    if jobs.len() > JOBS_MAX {
        let _ = writeln!(body, "and {} more", jobs.len() - JOBS_MAX);
    }
    body.push('\n');
}
