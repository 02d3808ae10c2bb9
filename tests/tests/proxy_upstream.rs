//! The proxy's way to its servers: `proxy test` against real Dovecot and Postfix, and EAST's hostile servers against the
//! dialer.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use postern_gateway::proxy::Host;
use postern_gateway::proxy::targets::{Target, TlsMode};
use postern_gateway::proxy::upstream::{Dialer, Identity, UpstreamError};
use postern_gateway::settings::Settings;
use postern_shared::disk::RealDisk;
use postern_shared::proto::sasl::{Credentials, PlainCredentials};
use postern_shared::tls::client::Trust;
use postern_tests::east::{Certificate, Conversation, HostileServer, Protocol, Script, scripts};
use postern_tests::foreign::has;
use postern_tests::program::{Kind, Program};
use postern_tests::upstream::{Authority, Dovecot, Submission};
use serde_json::Value;
use tokio::task::JoinSet;

const USER: &str = "anna@mail.test";
const PASSWORD: &str = "correct horse";

/// Each step and its verdict.
type Steps = Vec<(String, String)>;

/// A gateway with a mailbox, no daemon running.
struct Gateway {
    program: Program,
    mailbox: String,
}

impl Gateway {
    fn new(more: &str) -> Result<Self> {
        let program = Program::new(Kind::Gateway, more)?;
        let created = program.json(&["mailbox", "create", "--name", "journal"])?;
        let mailbox = created["id"].as_str().context("an id")?.to_owned();
        Ok(Self { program, mailbox })
    }

    /// `proxy test` of `server` as the client would write it: its steps, and whether it says that all is well.
    fn test(&self, server: &str, password: &str, options: &[&str]) -> Result<(Steps, bool, String)> {
        let user = format!("{USER}%{server}%{}", self.mailbox);
        let file = self.program.data_dir().join("password");
        std::fs::write(&file, password)?;
        let file = file.to_string_lossy().into_owned();
        let arguments = [&["proxy", "test", &user, "--json", "--password-file", &file], options].concat();
        let output = self.program.command(&arguments)?.stdin(Stdio::null()).output()?;
        let text = String::from_utf8(output.stdout)?;
        let shown: Vec<Value> = serde_json::from_str(&text)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let word = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let steps = shown.iter().map(|step| (word(step, "check"), word(step, "verdict"))).collect();
        let code = output.status.code().context("an exit code")?;
        ensure!(code == 0 || code == 1, "exit code {code}");
        Ok((steps, code == 0, text))
    }
}

fn all(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let there = has(program);
        if !there {
            println!("skipped: {program} is not installed");
        }
        there
    })
}

fn trusting(authority: &Authority) -> String {
    format!("[proxy]\nallow_private_targets = true\ntrust = \"file:{}\"\n", authority.certificate().display())
}

const ALL_STEPS: [&str; 8] = ["user name", "mailbox", "policy", "DNS", "TCP", "TLS", "capabilities", "login"];

fn is_whole(steps: &[(String, String)]) -> bool {
    steps.iter().map(|(check, _)| check.as_str()).eq(ALL_STEPS)
        && steps.iter().all(|(_, verdict)| verdict == "ok")
}

/// Goal: every way into TLS, at servers that others have written, in both protocols.
#[test]
fn real_servers_take_the_login() -> Result<()> {
    if !all(&["dovecot", "postfix"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let dovecot = Dovecot::with(&identity).user(USER, PASSWORD).start()?;
    let postfix = Submission::start(&identity, &dovecot, "")?;
    let targets = |port: u16, tls: &str| {
        format!("[[proxy.target]]\nhost = \"127.0.0.0/8\"\nport = {port}\ntls = \"{tls}\"\n")
    };
    let more = [
        trusting(&authority),
        targets(dovecot.pop3.port(), "starttls"),
        targets(dovecot.pop3s.port(), "implicit"),
        targets(postfix.submission.port(), "starttls"),
        targets(postfix.smtps.port(), "implicit"),
    ];
    let gateway = Gateway::new(&more.concat())?;
    for (address, option) in [
        (dovecot.pop3, "--pop3"),
        (dovecot.pop3s, "--pop3"),
        (postfix.submission, "--smtp"),
        (postfix.smtps, "--smtp"),
    ] {
        let (steps, well, text) = gateway.test(&address.to_string(), PASSWORD, &[option])?;
        ensure!(well && is_whole(&steps), "{option} {address}: {text}\n{}\n{}", dovecot.log(), postfix.log());
        ensure!(text.contains("TLSv1.3") && text.contains("sha256:"), "{text}");
        let (steps, well, text) = gateway.test(&address.to_string(), "wrong", &[option])?;
        let (check, verdict) = steps.last().context("steps")?;
        ensure!(!well && check == "login" && verdict == "fail", "{text}");
        ensure!(!text.contains(PASSWORD) && !text.contains("wrong\""), "{text}");
        let (steps, well, text) = gateway.test(&address.to_string(), "", &[option])?;
        let (check, verdict) = steps.last().context("steps")?;
        ensure!(well && check == "login" && verdict == "warn", "no password, no login: {text}");
    }
    // By name and --port, with the machine's own resolver.
    let port = dovecot.pop3.port().to_string();
    let (steps, _, text) = gateway.test("localhost", PASSWORD, &["--pop3", "--port", &port])?;
    ensure!(steps.iter().any(|(check, verdict)| check == "DNS" && verdict == "ok"), "{text}");
    Ok(())
}

/// Goal: `proxy test` names the step that fails, and what to do.
#[test]
fn the_step_that_fails_is_named() -> Result<()> {
    if !all(&["dovecot"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let dovecot = Dovecot::with(&identity).user(USER, PASSWORD).start()?;
    let (clear, secure) = (dovecot.pop3.to_string(), dovecot.pop3s.to_string());
    let failed = |gateway: &Gateway, server: &str| -> Result<(String, String)> {
        let (steps, well, text) = gateway.test(server, PASSWORD, &["--pop3"])?;
        ensure!(!well, "{text}");
        let failed = steps.iter().find(|(_, verdict)| verdict == "fail").context("a step that fails")?;
        Ok((failed.0.clone(), text))
    };
    let plain = Gateway::new("")?;
    let (step, text) = failed(&plain, &secure)?;
    ensure!(step == "policy" && text.contains("allow_private_targets"), "{text}");
    let (step, text) = failed(&plain, "host.invalid")?;
    ensure!(step == "DNS", "{text}");

    let untrusting = Gateway::new("[proxy]\nallow = [\"127.0.0.1\"]\n")?;
    let (step, text) = failed(&untrusting, &secure)?;
    let pin = format!(
        "sha256:{}",
        identity.fingerprint()?.replace(':', "").to_lowercase().trim_start_matches("sha256")
    );
    ensure!(step == "TLS" && text.contains(&pin), "{pin} is not in {text}");
    // As the advice says.
    let pinned = format!(
        "[proxy]\nallow = [\"127.0.0.1\"]\n[[proxy.target]]\nhost = \"127.0.0.1\"\ntrust = \"{pin}\"\n"
    );
    let (steps, well, text) = Gateway::new(&pinned)?.test(&secure, PASSWORD, &["--pop3"])?;
    ensure!(well && is_whole(&steps), "{text}");

    let gateway = Gateway::new(&trusting(&authority))?;
    let free = postern_tests::foreign::free_port()?;
    let (step, text) = failed(&gateway, &format!("127.0.0.1:{free}"))?;
    ensure!(step == "TCP", "{text}");
    // Implicit TLS where STLS is spoken.
    let (step, text) = failed(&gateway, &clear)?;
    ensure!(step == "TLS", "{text}");
    gateway.program.json(&["mailbox", "edit", &gateway.mailbox, "--status", "suspended"])?;
    let (step, text) = failed(&gateway, &secure)?;
    ensure!(step == "mailbox" && text.contains("--status active"), "{text}");
    let lost = Gateway { mailbox: "mbx-0000000000000001".into(), ..gateway };
    let (step, text) = failed(&lost, &secure)?;
    ensure!(step == "mailbox", "{text}");
    Ok(())
}

/// A dialer that trusts the authority, and may go everywhere.
fn dialer(authority: &Authority) -> Result<Dialer> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("gateway.toml");
    std::fs::write(&path, trusting(authority) + "connect_deadline = \"5 s\"\nlogin_deadline = \"5 s\"\n")?;
    let settings = Settings::load(&RealDisk, Some(&path), Vec::new())?;
    Ok(Dialer::new(&settings.proxy, "gateway.example.com", Vec::new())?)
}

async fn play(
    script: Script,
    authority: &Authority,
    dialer: Dialer,
) -> Result<(Result<(), UpstreamError>, Conversation)> {
    let server = HostileServer::play(&script, authority)?;
    let plain = PlainCredentials { user: USER.into(), password: PASSWORD.into() };
    let identity = Some(Identity::new(Credentials::Password(plain), None)?);
    let target = Target {
        host: Host::Address(server.address.ip()),
        port: server.address.port(),
        tls: if script.implicit_tls { TlsMode::Implicit } else { TlsMode::StartTls },
        trust: Trust::Authorities(authority.certificate()),
    };
    let done = match script.protocol {
        Protocol::Smtp => dialer.smtp(&target, identity).await.map(drop),
        Protocol::Pop3 => dialer.pop3(&target, identity).await.map(drop),
        Protocol::Imap => panic!("the proxy does not speak IMAP"),
    };
    let start = Instant::now();
    loop {
        if let Some(conversation) = server.conversations().pop().filter(|conversation| conversation.over) {
            return Ok((done, conversation));
        }
        ensure!(start.elapsed() < Duration::from_secs(30), "{}: the conversation goes on", script.name);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Goal: whatever EAST's servers do, no credential leaves before verified TLS, nothing hangs, and no login is taken for one
/// on the word of somebody in clear.
#[test]
fn hostile_servers_get_no_credential() -> Result<()> {
    let Some(scripts) = scripts()? else { return Ok(()) };
    let authority: &'static Authority = Box::leak(Box::new(Authority::new()?));
    let dialer = dialer(authority)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (mut taken, count) = (0, scripts.len());
    runtime.block_on(async {
        let mut runs = JoinSet::new();
        for script in scripts {
            let dialer = dialer.clone();
            runs.spawn(async move { (script.clone(), play(script, authority, dialer).await) });
        }
        for (script, played) in runs.join_all().await {
            let (done, conversation) = played?;
            let clear = String::from_utf8_lossy(&conversation.clear).to_ascii_uppercase();
            let name = &script.name;
            for secret in ["AUTH ", "PASS", "USER"] {
                ensure!(!clear.contains(secret), "{name}: {secret} in clear: {clear}");
            }
            if script.certificate != Certificate::Good {
                ensure!(done.is_err() && conversation.under_tls.is_empty(), "{name}: {conversation:?}");
            }
            if done.is_ok() {
                ensure!(conversation.handshake == Some(Ok(())), "{name}: {conversation:?}");
                let injects = script.starttls_response.trim_end().contains('\n');
                ensure!(script.implicit_tls || !injects, "{name}: more than one answer to STARTTLS");
                taken += 1;
            }
        }
        Ok(())
    })?;
    println!("{count} scripts, {taken} of them harmless enough to log in");
    ensure!(count >= 100 && taken > 0, "{count} scripts, {taken} logins");
    Ok(())
}
