//! Accounts bound at a real provider, by the flows that people go through.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_gateway::login::{BackOff, LoginPool};
use postern_gateway::mailbox::Registry;
use postern_gateway::proxy::oauth::{AccessToken, Broker, BrokerError, Deadlines, PooledBroker, account_in};
use postern_gateway::proxy::{Entrance, Proxy};
use postern_gateway::settings::Settings;
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::RealDisk;
use postern_shared::proto::sasl::{Credentials, PlainCredentials};
use postern_tests::foreign::{free_port, has};
use postern_tests::messages;
use postern_tests::oauth_provider::{Client, Glewlwyd};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::upstream::{Authority, Dovecot};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

const USER: &str = "Anna@example.com%mail.example.net%mbx-000000000000000a";
const ACCOUNT: &str = "anna@example.com%mail.example.net";

/// `oauth bind`, waiting for a person.
struct Binding {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
}

impl Binding {
    fn begin(gateway: &Program, more: &[&str]) -> Result<Self> {
        Self::begin_for(gateway, USER, more)
    }

    fn begin_for(gateway: &Program, user: &str, more: &[&str]) -> Result<Self> {
        let arguments = [&["--json", "oauth", "bind", user, "--provider", "sso"], more].concat();
        let mut command = gateway.command(&arguments)?;
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn()?;
        let said = BufReader::new(child.stderr.take().context("no standard error")?);
        Ok(Self { child, said })
    }

    /// What stands behind `word` on the line that begins with it.
    fn line(&mut self, word: &str) -> Result<String> {
        let mut all = String::new();
        loop {
            let from = all.len();
            ensure!(self.said.read_line(&mut all)? > 0, "no {word:?} in:\n{all}");
            if let Some(rest) = all[from..].strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    fn paste(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.child.stdin.as_mut().context("no standard input")?, "{line}")?)
    }

    /// The answer, once it is there.
    fn done(self) -> Result<Value> {
        let output = self.child.wait_with_output()?;
        ensure!(output.status.success(), "oauth bind failed");
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// What the daemon would open, in a fresh process: nothing is cached.
fn broker(gateway: &Program) -> Result<(Settings, Arc<Broker>)> {
    let settings = Settings::load(&RealDisk, Some(Path::new(&gateway.config_file())), [])?;
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let (dir, providers) = (gateway.data_dir().join("oauth"), &settings.oauth_providers);
    let broker = Broker::load(disk, clock, &dir, providers, Deadlines::default(), Argon2Cost::DEFAULT)?;
    Ok((settings, Arc::new(broker)))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// What the proxy does at a login.
fn log_in(gateway: &Program, password: &str) -> Result<Option<Result<AccessToken, BrokerError>>> {
    let (_, broker) = broker(gateway)?;
    let open = broker.open(&account_in(USER, '%')?, &SecretString::from(password));
    let runtime = runtime()?;
    Ok(open.map(|open| runtime.block_on(broker.access_token(open))))
}

fn token(gateway: &Program, password: &str) -> Result<String> {
    let token = log_in(gateway, password)?.context("the password is refused")??;
    Ok(token.token.expose_secret().to_owned())
}

/// Goal: a code typed in at the provider, and the proxy password gives tokens that the provider knows as Anna's; one
/// refresh token after the other. Consent taken back is told with what to do.
#[test]
fn a_device_code_binds_an_account() -> Result<()> {
    if !Glewlwyd::is_installed() {
        return Ok(());
    }
    let provider = Glewlwyd::start(&[])?;
    let gateway = Program::new(Kind::Gateway, &provider.settings(Client::Secret, ""))?;
    let mut binding = Binding::begin(&gateway, &[])?;
    let code = binding.line("Code")?;
    let link = binding.line("or open")?;
    ensure!(link.contains(&code), "{link} has the code {code} in it");
    provider.consent(Client::Secret, &link)?;
    let bound = binding.done()?;
    ensure!(bound["account"] == ACCOUNT, "{bound}");
    let password = bound["password"].as_str().context("no password")?;

    ensure!(log_in(&gateway, "another password")?.is_none());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let token = token(&gateway, password)?;
        let known = provider.introspect(&token)?;
        ensure!(
            known["active"] == true && known["username"] == "anna" && known["scope"] == "mail",
            "{known}"
        );
        ensure!(!seen.contains(&token), "a token of its own for each");
        seen.push(token);
    }
    provider.take_back()?;
    let Some(Err(error)) = log_in(&gateway, password)? else { bail!("the consent was taken back") };
    ensure!(!error.is_temporary() && error.to_string().contains("oauth bind"), "{error}");
    Ok(())
}

/// Goal: a client that signs is known by its signature.
/// Method: by the browser, for Glewlwyd wants another audience at its device endpoint than RFC 7523 §3 suggests.
#[test]
fn a_client_may_prove_itself_by_its_key() -> Result<()> {
    if !Glewlwyd::is_installed() {
        return Ok(());
    }
    let redirect = "https://gateway.example.com/consent";
    let provider = Glewlwyd::start(&[redirect])?;
    let more = format!("redirect_uri = \"{redirect}\"");
    let gateway = Program::new(Kind::Gateway, &provider.settings(Client::Key, &more))?;
    let mut binding = Binding::begin(&gateway, &["--browser"])?;
    let location = provider.consent(Client::Key, &binding.line("Open")?)?;
    binding.paste(&location)?;
    let bound = binding.done()?;
    let token = token(&gateway, bound["password"].as_str().context("no password")?)?;
    // Its tokens are signed claims, and it tells of them only whom they were given to.
    let claims = token.split('.').nth(1).context("no claims")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    ensure!(claims["client_id"] == "signing" && claims["scope"] == "mail", "{claims}");
    Ok(())
}

/// Goal: a browser on the same machine comes back by itself; a chosen password is not shown.
#[test]
fn a_browser_comes_back_to_this_machine() -> Result<()> {
    if !Glewlwyd::is_installed() {
        return Ok(());
    }
    let redirect = format!("http://127.0.0.1:{}/done", free_port()?);
    let provider = Glewlwyd::start(&[&redirect])?;
    let settings = provider.settings(Client::Secret, &format!("redirect_uri = \"{redirect}\""));
    let gateway = Program::new(Kind::Gateway, &settings)?;
    let file = gateway.config_file().with_file_name("password");
    std::fs::write(&file, "a password of my own\n")?;
    let file = file.to_str().context("no text")?;
    let mut binding = Binding::begin(&gateway, &["--browser", "--password-file", file])?;
    let location = provider.consent(Client::Secret, &binding.line("Open")?)?;
    ensure!(location.starts_with(&redirect), "{location}");
    let get = |url: &str| -> Result<String> {
        let output = std::process::Command::new("curl").args(["-sS", "--max-time", "30", url]).output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    // Somebody else on this machine guesses, and disturbs nothing.
    ensure!(get(&format!("{redirect}?code=stolen&state=guessed"))?.contains("not the answer"));
    ensure!(get(&location)?.contains("Done here"));
    let bound = binding.done()?;
    ensure!(bound["account"] == ACCOUNT && bound["password"].is_null(), "{bound}");
    let known = provider.introspect(&token(&gateway, "a password of my own")?)?;
    ensure!(known["active"] == true, "{known}");
    Ok(())
}

/// Goal: the browser's last address may be pasted; binding again replaces, revoking forgets; all with a running daemon,
/// which tells nothing secret.
#[test]
fn an_address_may_be_pasted_and_bindings_are_listed_replaced_and_revoked() -> Result<()> {
    if !Glewlwyd::is_installed() {
        return Ok(());
    }
    let redirect = "https://gateway.example.com/consent";
    let provider = Glewlwyd::start(&[redirect])?;
    let hosts = "hosts = [\"mail.example.net\", \"smtp.example.net\"]";
    let settings = provider.settings(Client::Secret, &format!("redirect_uri = \"{redirect}\"\n{hosts}"));
    let gateway = Program::started(Kind::Gateway, &settings)?;
    ensure!(gateway.json(&["oauth", "list"])? == Value::Array(Vec::new()));
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let mut binding = Binding::begin(&gateway, &["--browser"])?;
        let location = provider.consent(Client::Secret, &binding.line("Open")?)?;
        binding.paste("https://gateway.example.com/consent?code=x&state=y")?;
        binding.line("That is not the address")?;
        binding.paste(&location)?;
        passwords.push(binding.done()?["password"].as_str().context("no password")?.to_owned());
    }
    ensure!(log_in(&gateway, &passwords[0])?.is_none(), "the first password was replaced");
    let token = token(&gateway, &passwords[1])?;
    ensure!(provider.introspect(&token)?["active"] == true);
    let sending = account_in("anna@example.com%SMTP.example.net:587", '%')?;
    let password = SecretString::from(passwords[1].as_str());
    ensure!(broker(&gateway)?.1.open(&sending, &password).is_some(), "one consent serves sending too");

    let list = gateway.json(&["oauth", "list"])?;
    ensure!(list.as_array().map(Vec::len) == Some(1) && list[0]["account"] == ACCOUNT, "{list}");
    ensure!(list[0]["provider"] == "sso" && list[0]["scopes"][0] == "mail", "{list}");
    let told = format!("{list}{}", gateway.log());
    for secret in passwords.iter().chain([&token]) {
        ensure!(!told.contains(secret.as_str()), "a secret in {told}");
    }
    ensure!(gateway.log().contains(ACCOUNT), "the log names the account");
    let revoked = gateway.run(&["oauth", "revoke", USER])?;
    ensure!(revoked.status.success());
    let words = String::from_utf8_lossy(&revoked.stderr);
    ensure!(words.contains("still stands at the provider"), "{words}");
    ensure!(words.contains("until it is bound again"), "{words}");
    let list = gateway.json(&["oauth", "list"])?;
    ensure!(list[0]["account"] == ACCOUNT && list[0]["revoked"].is_string() && list[1].is_null(), "{list}");
    let shown = gateway.run(&["oauth", "list"])?.stdout;
    ensure!(String::from_utf8_lossy(&shown).contains("revoked 2"), "{}", String::from_utf8_lossy(&shown));
    let again = gateway.json(&["oauth", "revoke", USER]).unwrap_err().to_string();
    ensure!(again.contains("was revoked") && again.contains("--forget"), "{again}");
    ensure!(broker(&gateway)?.1.is_bound(&sending), "no password goes to the server");
    let forgotten = gateway.json(&["oauth", "revoke", USER, "--forget"])?;
    ensure!(forgotten["forgotten"] == true, "{forgotten}");
    ensure!(gateway.json(&["oauth", "list"])? == Value::Array(Vec::new()));
    ensure!(!broker(&gateway)?.1.is_bound(&sending));
    let again = gateway.json(&["oauth", "revoke", USER]).unwrap_err().to_string();
    ensure!(again.contains("is not bound"), "{again}");
    Ok(())
}

/// Goal: a mail server that asks the provider about tokens lets in, by both mechanisms, who knows the proxy password.
/// Method: the proxy's gate, Dovecot with its oauth2 passdb, the provider; one message waits in Anna's maildrop.
#[test]
fn a_mail_server_takes_the_token_for_the_proxy_password() -> Result<()> {
    if !Glewlwyd::is_installed() || !has("dovecot") {
        return Ok(());
    }
    let provider = Glewlwyd::start(&[])?;
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let setup = Dovecot::with(&identity).user("anna", "which no client has").oauth2(provider.for_dovecot());
    let mut dovecot = setup.start()?;
    dovecot.deliver("anna", &[messages::plain(1, "bob@mail.test", "anna@mail.test", "hello", "hello")])?;
    let proxy = format!(
        "[proxy]\nallow_private_targets = true\ntrust = \"file:{}\"\n",
        authority.certificate().display()
    );
    for mechanism in ["xoauth2", "oauthbearer"] {
        let sso = provider.settings(Client::Secret, &format!("mechanism = \"{mechanism}\""));
        let gateway = Program::new(Kind::Gateway, &format!("{proxy}{sso}"))?;
        let mailbox = NewMailbox::create(&gateway, "journal")?;
        let user = format!("anna%localhost:{}%{}", dovecot.pop3s.port(), mailbox.id);
        let mut binding = Binding::begin_for(&gateway, &user, &["--device"])?;
        let link = binding.line("or open")?;
        provider.consent(Client::Secret, &link)?;
        let bound = binding.done()?;
        let password = bound["password"].as_str().context("no password")?;
        let stat = runtime()?.block_on(async {
            let gate = gate(&gateway)?;
            let client = IpAddr::from([192, 0, 2, 1]);
            let log_in = |password: &str| {
                let plain = PlainCredentials { user: user.clone(), password: password.into() };
                gate.log_in_pop3(Entrance::Pop3s, client, Credentials::Password(plain))
            };
            let refusal = log_in("which no client has").await.err().context("not the proxy password")?;
            ensure!(refusal.is_wrong_credentials(), "{refusal}");
            let mut link = log_in(password).await.map_err(|refusal| anyhow!("{refusal}"))?.server.link;
            link.send(b"STAT\r\n").await?;
            while !link.unread().ends_with(b"\r\n") {
                ensure!(link.fill(Duration::from_secs(30)).await?, "Dovecot went away");
            }
            Ok(String::from_utf8_lossy(link.unread()).into_owned())
        });
        let stat = stat.with_context(|| format!("{mechanism}\n{}\n{}", dovecot.log(), provider.log()))?;
        ensure!(stat.starts_with("+OK 1 "), "{stat}");

        // Trying the way does not give the proxy password away.
        let file = gateway.config_file().with_file_name("password");
        std::fs::write(&file, password)?;
        let file = file.to_str().context("no text")?;
        let walked = gateway.run(&["proxy", "test", &user, "--pop3", "--password-file", file])?;
        let told = String::from_utf8_lossy(&walked.stdout);
        ensure!(walked.status.success() && told.contains("the account is bound"), "{told}");
    }
    Ok(())
}

/// The proxy's gate as the daemon would open it.
fn gate(gateway: &Program) -> Result<Proxy> {
    let (settings, broker) = broker(gateway)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (dir, domain) = (gateway.data_dir().join("mailboxes"), &settings.email_domain);
    let registry = Registry::open(Arc::new(RealDisk), Arc::clone(&clock), &dir, domain, Argon2Cost::DEFAULT)?;
    let own = (settings.host_name.as_str(), Vec::new());
    let proxy = Proxy::new(&settings.proxy, BackOff::default(), own, Arc::new(registry), clock)?;
    Ok(proxy.with_tokens(Arc::new(PooledBroker::new(broker, Arc::new(LoginPool::new(1, 10))))))
}

/// Goal: what can be wrong is told before a person is sent anywhere, or in the provider's words.
#[test]
fn mistakes_are_told_in_words() -> Result<()> {
    if !Glewlwyd::is_installed() {
        return Ok(());
    }
    let provider = Glewlwyd::start(&[])?;
    let settings = provider.settings(Client::Secret, "").replace("shared-with", "wrong");
    let gateway = Program::new(Kind::Gateway, &settings)?;
    let short = gateway.config_file().with_file_name("password");
    std::fs::write(&short, "short\n")?;
    let short = short.to_str().context("no text")?;
    for (arguments, expected) in [
        (vec!["oauth", "bind", "anna", "--provider", "sso"], "a part is missing"),
        (vec!["oauth", "bind", USER, "--provider", "none"], "there are: sso"),
        (vec!["oauth", "bind", USER, "--provider", "sso", "--password-file", short], "fewer than 16"),
        (vec!["oauth", "bind", USER, "--provider", "sso", "--device"], "the provider refuses"),
        (vec!["oauth", "revoke", USER], "is not bound"),
    ] {
        let error = gateway.json(&arguments).unwrap_err().to_string();
        ensure!(error.contains(expected), "{arguments:?}: {error}");
    }
    let other_pin = format!("trust = \"sha256:{}\"", "0".repeat(64));
    let pinned = |line: &str| if line.starts_with("trust") { other_pin.clone() } else { line.to_owned() };
    let settings: Vec<String> = provider.settings(Client::Secret, "").lines().map(pinned).collect();
    let gateway = Program::new(Kind::Gateway, &settings.join("\n"))?;
    let error = gateway.json(&["oauth", "bind", USER, "--provider", "sso"]).unwrap_err().to_string();
    ensure!(error.contains("is not the pinned one"), "{error}");
    Ok(())
}
