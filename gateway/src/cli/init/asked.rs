//! The questions on a terminal: each with its default, asked again until the answer is good.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::answers::{self, Answers, Certificate, Checked, kind};
use super::look;
use super::{CertificateArg, InitArgs};

const DATA_DIR: &str = "/var/lib/postern/gateway";
const LINE_OCTETS_MAX: u64 = 4096;

/// Whoever answers.
struct Operator<'o> {
    input: &'o mut dyn BufRead,
    output: &'o mut dyn Write,
}

/// Asks for what no flag says.
pub(super) fn ask(
    flags: &InitArgs,
    machine: &str,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<Answers> {
    let mut operator = Operator { input, output };
    operator.say("A few questions. Enter takes what stands in brackets.\n")?;
    let suggested = if machine.contains('.') { machine } else { "" };
    let domain = operator.answer(
        flags.domain.as_deref(),
        "The domain of the mailbox addresses (mbx-…@domain), which needs no other mail",
        suggested,
        answers::domain,
    )?;
    let host_name = operator.answer(
        flags.host_name.as_deref(),
        "The name of this machine for senders, archivers and browsers",
        &domain,
        answers::host_name,
    )?;
    let certificate = operator.certificate(flags)?;
    let level = flags.log_level.map(|level| format!("{level:?}").to_lowercase());
    let log_level = operator.answer(
        level.as_deref(),
        "How much to log: error, warn, info, debug or trace",
        "info",
        answers::log_level,
    )?;
    let dir = flags.data_dir.as_ref().map(|dir| dir.display().to_string());
    let data_dir =
        operator.answer(dir.as_deref(), "Where to store mailboxes and mail", DATA_DIR, answers::data_dir)?;
    let data_dir = Some(data_dir).filter(|dir| dir != Path::new(DATA_DIR));
    Ok(Answers { domain, host_name, certificate, log_level, data_dir })
}

impl Operator<'_> {
    fn certificate(&mut self, flags: &InitArgs) -> Result<Certificate> {
        let said = flags.certificate.is_some() || kind(flags) != CertificateArg::SelfSigned;
        let kind = if said {
            kind(flags)
        } else {
            let question = "The certificate: self-signed, files (PEM files of your own) or lets-encrypt";
            self.answer(None, question, "self-signed", |text| {
                <CertificateArg as clap::ValueEnum>::from_str(text, true)
                    .map(|kind| (kind, None))
                    .map_err(|_| format!("{text:?} is none of: self-signed, files, lets-encrypt"))
            })?
        };
        match kind {
            CertificateArg::SelfSigned => Ok(Certificate::SelfSigned),
            CertificateArg::Files => self.files(flags),
            CertificateArg::LetsEncrypt => self.lets_encrypt(flags),
        }
    }

    fn files(&mut self, flags: &InitArgs) -> Result<Certificate> {
        let mut said = flags.certificate_file.clone().zip(flags.key_file.clone());
        loop {
            let (certificate, key) = match said.take() {
                Some(both) => both,
                None => {
                    let path = |text: &str| match text {
                        "" => Err("a path is needed".to_owned()),
                        text => Ok((PathBuf::from(text), None)),
                    };
                    let certificate =
                        self.answer(None, "The certificate with its chain (PEM file)", "", path)?;
                    (certificate, self.answer(None, "Its private key (PEM file)", "", path)?)
                }
            };
            match answers::files(&certificate, &key) {
                Ok((files, note)) => {
                    self.note(note)?;
                    return Ok(files);
                }
                Err(message) => self.say(&format!("  {message}\n"))?,
            }
        }
    }

    fn lets_encrypt(&mut self, flags: &InitArgs) -> Result<Certificate> {
        self.note(look::challenge_port())?;
        let question = format!("Do you agree to Let's Encrypt's terms of service ({})", look::TERMS);
        let agreed = flags.accept_terms
            || self.answer(None, &question, "no", |text| match text {
                "yes" | "y" => Ok((true, None)),
                "no" | "n" => Ok((false, None)),
                other => Err(format!("{other:?} is neither yes nor no")),
            })?;
        if !agreed {
            self.say(
                "  Then a self-signed certificate is made; [tls] in the configuration changes it later.\n",
            )?;
            return Ok(Certificate::SelfSigned);
        }
        let question = "An e-mail address to which it may write (none: just Enter)";
        let contact = self.answer(flags.contact.as_deref(), question, "", answers::contact)?;
        Ok(Certificate::LetsEncrypt { contact })
    }

    /// A good answer: that of the flag, else asked for again and again.
    fn answer<T>(
        &mut self,
        flag: Option<&str>,
        question: &str,
        default: &str,
        check: impl Fn(&str) -> Checked<T>,
    ) -> Result<T> {
        let mut said = flag.map(str::to_owned);
        loop {
            let text = match said.take() {
                Some(text) => text,
                None => self.line(question, default)?,
            };
            match check(&text) {
                Ok((value, note)) => {
                    self.note(note)?;
                    return Ok(value);
                }
                Err(message) => self.say(&format!("  {message}\n"))?,
            }
        }
    }

    fn line(&mut self, question: &str, default: &str) -> Result<String> {
        let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        self.say(&format!("{question}{shown}: "))?;
        let mut line = String::new();
        let read = std::io::Read::take(&mut *self.input, LINE_OCTETS_MAX).read_line(&mut line);
        if read.context("cannot read the answer")? == 0 {
            bail!("nobody answers; nothing was written (--yes and flags go without questions, see --help)");
        }
        let line = line.trim();
        Ok(if line.is_empty() { default.to_owned() } else { line.to_owned() })
    }

    fn note(&mut self, note: Option<String>) -> Result<()> {
        note.map_or(Ok(()), |note| self.say(&format!("  note: {note}\n")))
    }

    fn say(&mut self, text: &str) -> Result<()> {
        self.output.write_all(text.as_bytes())?;
        Ok(self.output.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(flags: &InitArgs, typed: &str) -> (Result<Answers>, String) {
        let mut output = Vec::new();
        let answers = ask(flags, "gateway.example.com", &mut typed.as_bytes(), &mut output);
        (answers, String::from_utf8(output).unwrap())
    }

    #[test]
    fn enter_takes_the_default() {
        let (answers, said) = asked(&InitArgs::default(), "\nlocalhost\n\n\n\n");
        let answers = answers.unwrap();
        assert_eq!(
            (answers.domain.as_str(), answers.host_name.as_str()),
            ("gateway.example.com", "localhost")
        );
        assert_eq!((answers.certificate, answers.data_dir), (Certificate::SelfSigned, None));
        assert!(said.contains("[gateway.example.com]") && said.contains("[self-signed]"), "{said}");
    }

    #[test]
    fn a_bad_answer_is_told_and_asked_again() {
        let typed = "bad domain\nmail.example.org\nlocalhost\npaper\nself-signed\nloud\ndebug\nhere\n/srv/postern-none\n";
        let (answers, said) = asked(&InitArgs::default(), typed);
        let answers = answers.unwrap();
        assert_eq!(answers.domain, "mail.example.org");
        assert_eq!(answers.log_level, postern_shared::telemetry::Level::Debug);
        assert_eq!(answers.data_dir.as_deref(), Some(Path::new("/srv/postern-none")));
        for told in
            ["is not a domain name", "\"paper\" is none of", "\"loud\" is no log level", "must begin with /"]
        {
            assert!(said.contains(told), "{told}: {said}");
        }
    }

    #[test]
    fn without_the_terms_there_is_no_lets_encrypt() {
        let typed = |terms: &str| format!("\nlocalhost\nlets-encrypt\n{terms}\n\n");
        let (answers, said) = asked(&InitArgs::default(), &typed("perhaps\nno\n"));
        assert_eq!(answers.unwrap().certificate, Certificate::SelfSigned);
        assert!(said.contains("neither yes nor no"), "{said}");
        let (answers, _) = asked(&InitArgs::default(), &typed("yes\nnobody\nme@example.com\n"));
        assert_eq!(
            answers.unwrap().certificate,
            Certificate::LetsEncrypt { contact: Some("me@example.com".into()) }
        );
    }

    #[test]
    fn what_a_flag_says_is_not_asked_and_an_end_is_an_error() {
        let flags = InitArgs {
            domain: Some("a.example.com".into()),
            host_name: Some("localhost".into()),
            certificate: Some(CertificateArg::SelfSigned),
            ..InitArgs::default()
        };
        let (answers, said) = asked(&flags, "\n\n");
        assert_eq!(answers.unwrap().domain, "a.example.com");
        assert!(!said.contains("domain of the mailbox"), "{said}");
        let (answers, _) = asked(&flags, "info\n");
        assert!(answers.unwrap_err().to_string().contains("nothing was written"));
    }
}
