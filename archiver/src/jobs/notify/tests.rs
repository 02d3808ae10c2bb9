use std::path::Path;
use std::time::Duration;

use postern_shared::clock::UnixMillis;
use postern_shared::disk::{RealDisk, write_atomic};
use postern_shared::id::MessageIds;
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::message::Text;
use super::notices::{Mail, Notices, Troubles};
use super::settings::{MailTls, NotificationSettings, RawNotifications};

const GATHER: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3600);
const FAILED: Option<(&str, &str)> = Some(("failed", "the source said no"));

fn notices() -> Notices {
    Notices::new(GATHER, DAY, Troubles::new())
}

fn jobs(troubles: &Troubles) -> Vec<&str> {
    troubles.keys().map(String::as_str).collect()
}

/// What is told at `now`, sent.
fn told(notices: &mut Notices, now: UnixMillis) -> Option<Mail> {
    let mail = notices.poll(now)?;
    notices.sent(&mail, now);
    Some(mail)
}

/// Goal: one mail for each change of state, what comes together in one, what repeats once a day.
#[test]
fn each_change_is_told_once_and_what_lasts_daily() {
    let (mut notices, start) = (notices(), UnixMillis(1_000_000));
    notices.ended("main/good", None, start);
    assert_eq!((notices.poll(start), notices.wake()), (None, None));
    notices.ended("main/a", FAILED, start);
    let ripe = start.plus(GATHER);
    assert_eq!((notices.poll(start), notices.wake()), (None, Some(ripe)));
    notices.ended("main/b", Some(("timed out", "slow")), start.plus(GATHER / 2));
    let mail = told(&mut notices, ripe).unwrap();
    assert_eq!((jobs(&mail.new), mail.new["main/b"].how.as_str()), (vec!["main/a", "main/b"], "timed out"));
    assert_eq!(notices.wake(), None, "nothing new happened");
    // Four times a day for three days, and one of them again and again.
    let mut mails = Vec::new();
    for n in 1..=12 {
        let now = ripe.plus(DAY / 4 * n);
        notices.ended("main/a", FAILED, now);
        mails.extend(told(&mut notices, now));
    }
    assert_eq!(mails.len(), 3, "{mails:?}");
    assert!(mails.iter().all(|mail| jobs(&mail.repeated) == ["main/a"] && mail.repeated["main/a"].runs == 4));
    let now = ripe.plus(DAY * 4);
    notices.ended("main/a", None, now);
    notices.ended("main/b", None, now);
    notices.ended("main/b", None, now.plus(GATHER / 2));
    let mail = told(&mut notices, now.plus(GATHER)).unwrap();
    assert_eq!((jobs(&mail.recovered), mail.new.len()), (vec!["main/a", "main/b"], 0));
    assert!(notices.troubles().is_empty());
}

#[test]
fn what_changes_while_a_mail_is_on_its_way_is_told_next() {
    let (mut notices, now) = (notices(), UnixMillis(1));
    notices.ended("main/a", FAILED, now);
    let now = now.plus(GATHER);
    let mail = notices.poll(now).unwrap();
    notices.ended("main/a", None, now);
    notices.sent(&mail, now);
    let mail = notices.poll(now.plus(GATHER)).unwrap();
    assert_eq!(jobs(&mail.recovered), ["main/a"]);
    notices.ended("main/a", FAILED, now.plus(GATHER));
    notices.sent(&mail, now.plus(GATHER));
    let mail = told(&mut notices, now.plus(GATHER * 2)).unwrap();
    assert_eq!(jobs(&mail.new), ["main/a"]);
    // A short recovery that nobody heard of was none.
    notices.ended("main/a", None, now.plus(DAY));
    notices.ended("main/a", FAILED, now.plus(DAY));
    assert!(told(&mut notices, now.plus(DAY).plus(GATHER)).is_none());
}

#[test]
fn a_mail_that_cannot_be_sent_is_tried_again_ever_more_seldom() {
    let (mut notices, mut now) = (notices(), UnixMillis(1));
    notices.ended("main/a", FAILED, now);
    now = now.plus(GATHER);
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(notices.poll(now).is_some());
        notices.failed(now);
        let next = notices.wake().unwrap();
        assert_eq!(next.since(now), Duration::from_secs(60 * minutes));
        assert!(notices.poll(UnixMillis(next.0 - 1)).is_none());
        now = next;
    }
    // What happens meanwhile waits too, and is not lost.
    notices.ended("main/b", FAILED, now);
    let mail = told(&mut notices, now).unwrap();
    assert_eq!(jobs(&mail.new), ["main/a", "main/b"]);
}

proptest! {
    /// Goal: whatever happens, what was told last of a job is how it is, and no job is told more often than it changes, but
    /// for the daily mail.
    #[test]
    fn in_the_end_the_truth_is_told(events in prop::collection::vec((0_u8..4, 0_usize..3, 0_u64..40_000), 1..100)) {
        let (mut notices, mut now) = (notices(), UnixMillis(1));
        let mut truth = [false; 3];
        let mut heard = [false; 3];
        let names = ["a", "b", "c"];
        let hear = |heard: &mut [bool; 3], mail: &Mail| {
            for (at, name) in names.iter().enumerate() {
                let failing = mail.new.contains_key(*name) || mail.repeated.contains_key(*name);
                assert!(!(failing && mail.recovered.contains_key(*name)), "both at once");
                assert!(!(mail.new.contains_key(*name) && heard[at]), "new twice");
                heard[at] = (heard[at] || failing) && !mail.recovered.contains_key(*name);
            }
        };
        for (what, job, seconds) in events {
            match what {
                0 | 1 => {
                    truth[job] = what == 0;
                    notices.ended(names[job], if what == 0 { FAILED } else { None }, now);
                }
                2 => now = now.plus(Duration::from_secs(seconds)),
                _ => if let Some(mail) = notices.poll(now) {
                    notices.failed(now);
                    prop_assert!(!mail.new.is_empty() || !mail.repeated.is_empty() || !mail.recovered.is_empty());
                },
            }
            if seconds % 3 == 0 && let Some(mail) = told(&mut notices, now) {
                hear(&mut heard, &mail);
            }
        }
        for _ in 0..3 {
            now = now.plus(DAY);
            if let Some(mail) = told(&mut notices, now) {
                hear(&mut heard, &mail);
            }
        }
        prop_assert_eq!(heard, truth);
        prop_assert_eq!(notices.wake(), None);
    }
}

fn check(toml: &str, dir: &Path) -> Result<Option<NotificationSettings>, (&'static str, String)> {
    let raw: RawNotifications = toml::from_str(toml).map_err(|error| ("toml", error.to_string()))?;
    raw.check(&RealDisk, dir, |name| (name == "MAIL_SECRET").then(|| "from the environment".into()))
}

#[test]
fn settings_are_checked_and_hide_the_password() {
    let dir = tempfile::tempdir().unwrap();
    write_atomic(&RealDisk, &dir.path().join("secret"), b"from the file\r\n").unwrap();
    assert!(check("", dir.path()).unwrap().is_none());
    let base = "host = 'mail.example.com'\nfrom = 'a@example.com'\nto = 'b@example.com'\n";
    let settings = check(base, dir.path()).unwrap().unwrap();
    assert_eq!(
        (settings.port, settings.tls, settings.to.as_slice()),
        (587, MailTls::Starttls, &["b@example.com".to_owned()][..])
    );
    for (more, secret) in [
        ("password = 'plain'", "plain"),
        ("password_file = 'secret'", "from the file"),
        ("password_env = 'MAIL_SECRET'", "from the environment"),
    ] {
        let settings =
            check(&format!("{base}tls = 'implicit'\nusername = 'u'\n{more}"), dir.path()).unwrap().unwrap();
        assert_eq!(settings.credentials.as_ref().unwrap().password.expose_secret(), secret);
        assert_eq!(settings.port, 465);
        assert!(!format!("{settings:?}").contains(secret));
    }
    for (toml, key) in [
        ("from = 'a@example.com'", "host"),
        ("host = 'x'\nto = 'b@example.com'", "from"),
        ("host = 'x'\nfrom = 'a@example.com'", "to"),
        ("host = 'x'\nfrom = 'a@example.com'\nto = []", "to"),
        ("host = 'x y'", "toml"),
        ("host = 'x'\nfrom = 'a@example.com>\\r\\nDATA'", "toml"),
        ("host = 'x'\nfrom = 'nobody'", "toml"),
        ("host = 'x'\nfrom = 'é@example.com'", "toml"),
        ("hots = 'x'", "toml"),
        ("host = 'x'\ntls = 'ssl'", "toml"),
    ] {
        assert_eq!(check(toml, dir.path()).unwrap_err().0, key, "{toml}");
    }
    for (more, key) in [
        ("username = 'u'", "username"),
        ("password = 'p'", "username"),
        ("username = 'u'\npassword = 'p'\npassword_env = 'MAIL_SECRET'", "password"),
        ("username = 'u'\npassword_env = 'NO_SUCH'", "password_env"),
        ("username = 'u'\npassword_file = 'missing'", "password_file"),
        ("username = 'u'\npassword = 'p'\ntls = 'none'", "tls"),
    ] {
        assert_eq!(check(&format!("{base}{more}"), dir.path()).unwrap_err().0, key, "{more}");
    }
}

/// Goal: a parser that is not ours reads what we write, whatever the errors say.
#[test]
fn a_notice_is_a_proper_message() {
    let mut notices = notices();
    let odd = "no: „ä“ \r\n.\r\nQUIT \u{1b}[1m";
    notices.ended("main/profile:a", Some(("failed", odd)), UnixMillis(1_531_829_608_000));
    notices.ended("main/b", Some(("timed out", &"long ".repeat(500))), UnixMillis(1_531_829_608_000));
    let mail = notices.poll(UnixMillis(1_531_829_708_000)).unwrap();
    let text = Text::of(&mail);
    assert_eq!(text.subject, "2 jobs fail");
    let base = "host = 'x'\nfrom = 'archiver@example.com'\nto = ['a@example.com', 'b@example.com']";
    let settings = check(base, Path::new("")).unwrap().unwrap();
    let octets =
        text.message(&settings, MessageIds::default().next(UnixMillis(5)), UnixMillis(1_531_829_708_000));
    assert!(octets.ends_with(b"\r\n"));
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        assert!(
            line.is_ascii() && line.len() <= 80 && line[0] != b'.' && line.ends_with(b"\r\n"),
            "{line:?}"
        );
    }
    #[expect(clippy::disallowed_methods, reason = "our own mail, and its body")]
    let read = mail_parser::MessageParser::default().parse(&octets).unwrap();
    assert_eq!(read.subject(), Some("[postern] 2 jobs fail"));
    assert_eq!(read.to().unwrap().iter().count(), 2);
    assert_eq!(read.date().unwrap().to_timestamp(), 1_531_829_708);
    assert_eq!(read.header("Auto-Submitted").and_then(|value| value.as_text()), Some("auto-generated"));
    let body = read.body_text(0).unwrap();
    assert!(body.contains("main/profile:a") && body.contains("„ä“") && body.contains("timed out"), "{body}");
}

#[test]
fn subjects_say_what_there_is() {
    let mut notices = notices();
    let mut subjects = Vec::new();
    let mut now = UnixMillis(1);
    for (job, trouble) in [("main/a", FAILED), ("main/a", FAILED), ("main/a", None)] {
        notices.ended(job, trouble, now);
        now = now.plus(DAY);
        subjects.push(Text::of(&told(&mut notices, now).unwrap()).subject);
    }
    assert_eq!(subjects, ["job main/a fails", "job main/a still fails", "job main/a succeeds again"]);
}
