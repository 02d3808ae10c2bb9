//! What is wanted, each checked as soon as it is said.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use postern_shared::telemetry::Level;

use super::look;
use super::{CertificateArg, InitArgs};
use crate::settings::{checked_contact, checked_domain};

/// Everything that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) domain: String,
    pub(super) host_name: String,
    pub(super) certificate: Certificate,
    pub(super) log_level: Level,
    /// Nothing for the default.
    pub(super) data_dir: Option<PathBuf>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Certificate {
    SelfSigned,
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    /// The terms are accepted.
    LetsEncrypt {
        contact: Option<String>,
    },
}

/// A good answer, and what the operator should know of it.
pub(super) type Checked<T> = Result<(T, Option<String>), String>;

pub(super) fn domain(text: &str) -> Checked<String> {
    let domain = checked_domain("email_domain", text).map_err(|(_, message)| message)?;
    if !domain.contains('.') {
        return Err(format!(
            "{domain:?} is no full domain: senders elsewhere cannot find it; say it with its dots"
        ));
    }
    Ok((domain, None))
}

pub(super) fn host_name(text: &str) -> Checked<String> {
    let name = checked_domain("host_name", text).map_err(|(_, message)| message)?;
    let note = look::leads_here(&name);
    Ok((name, note))
}

pub(super) fn files(certificate: &Path, key: &Path) -> Checked<Certificate> {
    for path in [certificate, key] {
        if !path.is_absolute() {
            return Err(format!("{} must begin with /: the daemon starts elsewhere", path.display()));
        }
    }
    let note = look::at_certificate(certificate, key)?;
    Ok((Certificate::Files { certificate: certificate.into(), key: key.into() }, note))
}

pub(super) fn contact(text: &str) -> Checked<Option<String>> {
    if text.is_empty() {
        return Ok((None, None));
    }
    checked_contact(text).map_err(|(_, message)| message)?;
    Ok((Some(text.to_owned()), None))
}

pub(super) fn log_level(text: &str) -> Checked<Level> {
    text.parse()
        .map(|level| (level, None))
        .map_err(|error: postern_shared::telemetry::BadLevel| error.to_string())
}

pub(super) fn data_dir(text: &str) -> Checked<PathBuf> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(format!("{text:?} must begin with /: the daemon starts elsewhere"));
    }
    let note = look::at_data_dir(&path)?;
    Ok((path, note))
}

/// Without asking: what no flag says gets its default. With what the operator should know.
pub(super) fn from_flags(flags: &InitArgs, machine: &str) -> Result<(Answers, Vec<String>)> {
    let mut notes = Vec::new();
    let said = flags.domain.as_deref();
    let domain = taken("--domain", domain(said.unwrap_or(machine)), &mut notes)?;
    let name = flags.host_name.as_deref().unwrap_or(&domain);
    let host_name = taken("--host-name", host_name(name), &mut notes)?;
    let level = flags.log_level.unwrap_or_default();
    let dir = flags.data_dir.as_ref().map(|dir| data_dir(&dir.display().to_string()));
    let data_dir = dir.map(|dir| taken("--data-dir", dir, &mut notes)).transpose()?;
    let certificate = match kind(flags) {
        CertificateArg::SelfSigned => Certificate::SelfSigned,
        CertificateArg::Files => match (&flags.certificate_file, &flags.key_file) {
            (Some(certificate), Some(key)) => {
                taken("--certificate-file", files(certificate, key), &mut notes)?
            }
            _ => bail!("--certificate files wants --certificate-file and --key-file"),
        },
        CertificateArg::LetsEncrypt if !flags.accept_terms => {
            bail!("--certificate lets-encrypt wants --accept-terms: read {} first", look::TERMS)
        }
        CertificateArg::LetsEncrypt => {
            let contact = taken("--contact", contact(flags.contact.as_deref().unwrap_or("")), &mut notes)?;
            notes.extend(look::challenge_port());
            Certificate::LetsEncrypt { contact }
        }
    };
    Ok((Answers { domain, host_name, certificate, log_level: level, data_dir }, notes))
}

/// What the flags ask for.
pub(super) fn kind(flags: &InitArgs) -> CertificateArg {
    let implied = if flags.certificate_file.is_some() {
        CertificateArg::Files
    } else if flags.accept_terms || flags.contact.is_some() {
        CertificateArg::LetsEncrypt
    } else {
        CertificateArg::SelfSigned
    };
    flags.certificate.unwrap_or(implied)
}

fn taken<T>(flag: &str, checked: Checked<T>, notes: &mut Vec<String>) -> Result<T> {
    let (value, note) = checked.map_err(|message| anyhow!("{flag}: {message}"))?;
    notes.extend(note);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(change: impl FnOnce(&mut InitArgs)) -> Result<Answers, String> {
        let mut flags = InitArgs { host_name: Some("localhost".into()), ..InitArgs::default() };
        change(&mut flags);
        from_flags(&flags, "gateway.example.com")
            .map(|(answers, _)| answers)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let answers = flags(|_| ()).unwrap();
        assert_eq!((answers.domain.as_str(), answers.data_dir), ("gateway.example.com", None));
        assert_eq!((answers.certificate, answers.log_level), (Certificate::SelfSigned, Level::Info));
        let terms = flags(|flags| flags.accept_terms = true).unwrap();
        assert_eq!(terms.certificate, Certificate::LetsEncrypt { contact: None });
    }

    #[test]
    fn mistakes_name_their_flag() {
        let error = |change: fn(&mut InitArgs)| flags(change).unwrap_err();
        assert!(error(|flags| flags.domain = Some("gateway".into())).contains("--domain: \"gateway\""));
        assert!(error(|flags| flags.host_name = Some("a b".into())).contains("--host-name: \"a b\""));
        assert!(error(|flags| flags.data_dir = Some("data".into())).contains("--data-dir"));
        assert!(error(|flags| flags.certificate = Some(CertificateArg::Files)).contains("--key-file"));
        assert!(
            error(|flags| flags.certificate = Some(CertificateArg::LetsEncrypt)).contains("--accept-terms")
        );
        assert!(
            error(|flags| (flags.accept_terms, flags.contact) = (true, Some("me".into())))
                .contains("--contact")
        );
        let none = error(|flags| {
            flags.certificate_file = Some("/none.pem".into());
            flags.key_file = Some("/none.key".into());
        });
        assert!(none.contains("--certificate-file") && none.contains("/none.pem"), "{none}");
    }
}
