//! Scripts that other mail servers test themselves with, run against a gateway process: chasquid's dialogues with bad
//! endings, and James' SMTP scripts. They are read where the corpus has them, in their own formats.
//!
//! Texts are theirs, so a reply is compared by its code: with chasquid, whose codes are its own taste, by the first digit,
//! with James by all three. Where we differ on purpose, the table says what we answer and why; what does not apply is in the
//! table with its reason; and a script that is in neither fails the test.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod chasquid;
mod james;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use postern_tests::Security;
use postern_tests::foreign::corpus;
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};

/// What becomes of a script.
enum Fate {
    /// It runs.
    Runs {
        /// Messages in the mailbox afterwards.
        stored: u64,
        /// Replies where we differ.
        differs: &'static [Difference],
    },
    /// It does not apply, and why.
    Not(&'static str),
}

/// What the script expects, the code we give instead, and why.
struct Difference(&'static str, u16, &'static str);

/// It runs, and all replies are as it wants them.
const fn runs(stored: u64) -> Fate {
    Fate::Runs { stored, differs: &[] }
}

const NO_AUTH: Fate = Fate::Not("nobody logs in to deliver to a mailbox: there is no AUTH");
const MADE_WHOLE: &[Difference] = &[Difference(
    "521 5.5.2 Error reading DATA: invalid line ending",
    250,
    "a bare LF is content: it is made whole and counted, and the message kept as evidence",
)];

const CHASQUID: &[(&str, Fate)] = &[
    ("auth_multi_dialog", NO_AUTH),
    ("auth_not_tls", runs(0)),
    ("auth_too_many_failures", NO_AUTH),
    (
        "bad_data",
        Fate::Runs {
            stored: 1,
            differs: &[Difference(
                "554 5.6.0 Error parsing message",
                250,
                "what cannot be parsed is archived as it came, never refused",
            )],
        },
    ),
    ("bad_data_dot", Fate::Runs { stored: 1, differs: MADE_WHOLE }),
    ("bad_data_dot_2", Fate::Runs { stored: 1, differs: MADE_WHOLE }),
    ("bad_data_dot_on_message_too_big", runs(0)),
    (
        "bad_mail_from",
        Fate::Runs {
            stored: 0,
            differs: &[Difference(
                "501 5.1.8 Malformed sender domain (IDNA conversion failed)",
                250,
                "a sender is evidence, nothing is ever sent to it",
            )],
        },
    ),
    ("bad_rcpt_to", runs(0)),
    ("data_dot_stuffing", runs(1)),
    ("empty_helo", runs(0)),
    ("helo", runs(0)),
    ("line_too_long", runs(0)),
    ("message_too_big", runs(0)),
    ("sendmail", runs(1)),
    ("unknown_command", runs(0)),
    ("wrong_proto", runs(0)),
];

const JAMES: &[(&str, Fate)] = &[
    ("authplain", NO_AUTH),
    ("data_starts_with_starttls", runs(1)),
    ("data_with_starttls", runs(1)),
    ("helo", runs(1)),
    ("rcpt_with_starttls", runs(1)),
    ("starttls", runs(0)),
    ("starttls_session_fixation", NO_AUTH),
    (
        "starttls_with_injection",
        Fate::Runs {
            stored: 0,
            differs: &[Difference(
                "451 Unable to process request",
                220,
                "what is injected is dropped instead (RFC 3207 section 4.2)",
            )],
        },
    ),
];

/// The scripts in a folder, by name.
fn scripts(dir: &Path, extension: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_stem().context("no name")?.to_string_lossy().into_owned();
            found.insert(name, std::fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

/// Runs every script as the table has it; both must name the same scripts.
fn all(
    dir: &Path,
    extension: &str,
    table: &[(&str, Fate)],
    run: impl Fn(&Program, &NewMailbox, &str, &[Difference]) -> Result<()>,
) -> Result<()> {
    // As chasquid's own configuration has it.
    let gateway = Program::started(Kind::Gateway, "[limits]\nmax_message_size = \"1 MiB\"\n")?;
    let mut found = scripts(dir, extension)?;
    for (name, fate) in table {
        let script = found
            .remove(*name)
            .with_context(|| format!("{name} is in the table, not in {}", dir.display()))?;
        match fate {
            Fate::Not(reason) => println!("{name} does not apply: {reason}"),
            Fate::Runs { stored, differs } => {
                let mailbox = NewMailbox::create(&gateway, name)?;
                run(&gateway, &mailbox, &script, differs).with_context(|| (*name).to_owned())?;
                let shown = gateway.json(&["mailbox", "show", &mailbox.id])?;
                assert_eq!(shown["messages"], *stored, "{name}: messages stored");
                for Difference(expected, ours, why) in *differs {
                    println!("{name}: {expected:?} is {ours} here: {why}");
                }
                let verify = dir.join(format!("{name}.{extension}.verify"));
                if verify.exists() {
                    is_stored(&gateway, &mailbox, &std::fs::read_to_string(verify)?)?;
                }
            }
        }
    }
    if !found.is_empty() {
        bail!("neither run nor listed: {:?}", found.keys());
    }
    Ok(())
}

/// The mailbox's one message is `expected`, but for line ends and empty lines at the end.
fn is_stored(gateway: &Program, mailbox: &NewMailbox, expected: &str) -> Result<()> {
    let mut client =
        Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)?;
    let served = client.retrieve_all()?;
    let content = String::from_utf8_lossy(without_trace(&served[0])).replace("\r\n", "\n");
    assert_eq!(content.trim_end(), expected.trim_end());
    client.quit()
}

#[test]
fn chasquid_dialogues() -> Result<()> {
    let Some(corpus) = corpus() else { return Ok(()) };
    all(&corpus.join("attack-chasquid/test/t-12-minor_dialogs"), "cmy", CHASQUID, chasquid::run)
}

#[test]
fn james_scripts() -> Result<()> {
    let Some(corpus) = corpus() else { return Ok(()) };
    let dir = corpus.join("james-mpt/mpt/impl/smtp/core/src/main/resources/org/apache/james/smtp/scripts");
    all(&dir, "test", JAMES, james::run)
}

/// `\r` and `\n` written out, as both formats do.
fn unescaped(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").into_bytes()
}
