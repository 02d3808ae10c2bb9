//! OAuth bindings on the command line: shows links and codes, waits for the person, hands the sealed result on.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use postern_shared::clock::SystemClock;
use postern_shared::crypto::password::generate;
use postern_shared::disk::{Disk, RealDisk};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::{answer, command, output};
use crate::command::{Command, oauth};
use crate::proxy::oauth::consent::{Flow, Prompt, consent};
use crate::proxy::oauth::{Deadlines, Link, Provider, account_in};
use crate::settings::Settings;

const PASSWORD_BYTES_MAX: u64 = 1024;
/// A chosen password is tried against the file by whoever steals it; 64 MiB a guess are no help against "secret".
const PASSWORD_CHARS_MIN: usize = 16;

/// What to do with OAuth bindings.
#[derive(Debug, Subcommand)]
pub enum OauthAction {
    /// Bind an account to a proxy password: a person consents at the provider, and the mail client gets the password,
    /// which is shown once. Binding again replaces both.
    Bind {
        /// The mail client's user name, remote_user%server%mailbox or remote_user%server.
        user: String,
        /// Which [[proxy.provider]] of the configuration.
        #[arg(long, value_name = "NAME")]
        provider: String,
        /// Show a code to be typed in at the provider, on any machine [default where the provider has that].
        #[arg(long, conflicts_with = "browser")]
        device: bool,
        /// Show a link to be opened in a browser; when that runs on another machine, paste the address it ends at.
        #[arg(long)]
        browser: bool,
        /// A file with the proxy password to be, at least 16 characters; one is generated without it.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List all bindings.
    List,
    /// End an account's binding: its proxy password opens nothing any more. Every password of the account is refused from then
    /// on, so that clients which still have the proxy password do not show it to the mail server.
    Revoke {
        /// The mail client's user name, with or without the mailbox.
        user: String,
        /// Pass the account's passwords on to the mail server again; for when no client has the proxy password any more.
        #[arg(long)]
        forget: bool,
    },
}

pub(super) fn run(settings: &Settings, action: OauthAction, json: bool) -> Result<()> {
    match action {
        OauthAction::Bind { user, provider, device, browser, password_file } => {
            let flow = match (device, browser) {
                (true, _) => Some(Flow::Device),
                (_, true) => Some(Flow::Browser),
                (false, false) => None,
            };
            bind(settings, &user, &provider, flow, password_file.as_deref(), json)
        }
        OauthAction::List => command(settings, &Command::Oauth(oauth::Command::List), json, output::bindings),
        OauthAction::Revoke { user, forget } => {
            let revoke = Command::Oauth(oauth::Command::Revoke { login: user, forget });
            command(settings, &revoke, json, output::revoked)
        }
    }
}

fn bind(
    settings: &Settings,
    user: &str,
    provider: &str,
    flow: Option<Flow>,
    password_file: Option<&Path>,
    json: bool,
) -> Result<()> {
    // Whatever can be wrong is told before a person is sent to the provider.
    let account = account_in(user, settings.proxy.divider)?;
    let provider = provider_named(settings, provider)?;
    let (password, generated) = match password_file {
        Some(file) => (password_in(file)?, false),
        None => (generate(), true),
    };
    answer(settings, &Command::Oauth(oauth::Command::List))?;
    let flow = flow.unwrap_or(if provider.prefers_device { Flow::Device } else { Flow::Browser });
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let link = Link::new(provider.clone(), disk, clock, Deadlines::default());
    let mut pasted = pasted_lines(flow);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start a runtime")?;
    let mut tell = show;
    let sealed = consent(&link, &account, flow, password.clone(), &mut tell, &mut pasted);
    let binding = Box::new(runtime.block_on(sealed)?);
    let mut bound = answer(settings, &Command::Oauth(oauth::Command::Bind { binding }))?;
    if generated {
        bound["password"] = password.expose_secret().into();
    }
    println!("{}", if json { bound.to_string() } else { output::bound(&bound) });
    Ok(())
}

fn provider_named<'s>(settings: &'s Settings, name: &str) -> Result<&'s Provider> {
    let providers = &settings.oauth_providers;
    if let Some(provider) = providers.iter().find(|provider| provider.name == name) {
        return Ok(provider);
    }
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    match names.as_slice() {
        [] => bail!("the configuration has no [[proxy.provider]]; config/gateway.toml shows one"),
        names => bail!("no [[proxy.provider]] is called {name:?}; there are: {}", names.join(", ")),
    }
}

fn password_in(file: &Path) -> Result<SecretString> {
    let bytes = RealDisk.read(file, PASSWORD_BYTES_MAX).map(Zeroizing::new);
    let bytes = bytes.with_context(|| format!("cannot read {}", file.display()))?;
    let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is not text", file.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    ensure!(
        text.chars().count() >= PASSWORD_CHARS_MIN,
        "the password in {} has fewer than {PASSWORD_CHARS_MIN} characters",
        file.display()
    );
    ensure!(
        !text.chars().any(char::is_control),
        "the password in {} holds control characters, which no mail client can send",
        file.display()
    );
    Ok(SecretString::from(text))
}

/// Lines from standard input. The thread ends with the process: nothing can take a read from a terminal back.
fn pasted_lines(flow: Flow) -> mpsc::Receiver<SecretString> {
    let (send, lines) = mpsc::channel(1);
    if flow == Flow::Browser {
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if !line.trim().is_empty() && send.blocking_send(SecretString::from(line)).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

fn show(prompt: Prompt) {
    match prompt {
        Prompt::Code { link, complete_link, code, life } => {
            eprintln!("Open    {link}\nCode    {code}");
            if let Some(complete) = complete_link {
                eprintln!("or open {complete}");
            }
            eprintln!(
                "and consent as the owner of the account. The code is good for {} minutes.",
                life.as_secs() / 60
            );
        }
        Prompt::Link { link, comes_back } => {
            eprintln!("Open    {link}");
            eprintln!("and consent as the owner of the account.");
            if comes_back {
                eprintln!(
                    "When the browser runs on another machine, it ends at an address that it cannot open:"
                );
            }
            eprintln!("Paste the address it ends at here.");
        }
        Prompt::NotThat => {
            eprintln!(
                "That is not the address. It holds code= and state=, as the browser's address bar shows it."
            );
        }
    }
}

/// Where a person takes consent back.
pub(super) fn consent_words(value: &Value) -> String {
    let place = value["consent_page"].as_str().unwrap_or("the account's settings there");
    let client = value["client_id"].as_str().map(|client| format!(" (application {client})"));
    format!("at {place}{}", client.unwrap_or_default())
}
