//! `postern-gateway init`, with flags and on a terminal.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use postern_tests::program::binary;

/// Runs the program without a terminal.
fn run(config: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary("postern-gateway")?);
    command.arg("--config").arg(config).args(arguments).stdin(Stdio::null());
    command.output().context("cannot run it")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same on a pseudo-terminal (script(1) of util-linux), with what is typed; what the terminal showed.
fn on_a_terminal(config: &Path, arguments: &str, typed: &str) -> Result<(bool, String)> {
    let program = binary("postern-gateway")?;
    let line = format!("{} --config {} init {arguments}", program.display(), config.display());
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("script(1) is part of util-linux")?;
    let mut stdin = script.stdin.take().context("no stdin")?;
    stdin.write_all(typed.as_bytes())?;
    // Kept open: an end would be typed as well.
    let output = script.wait_with_output()?;
    drop(stdin);
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Goal: flags alone make a machine ready, and nothing that is there is overwritten without being asked to.
#[test]
fn flags_make_a_configuration_that_is_accepted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (config, data) = (dir.path().join("etc/gateway.toml"), dir.path().join("data"));
    let flags =
        ["init", "--yes", "--domain", "mail.example.org", "--host-name", "localhost", "--log-level", "debug"];
    let flags = [&flags[..], &["--data-dir", data.to_str().context("path")?]].concat();
    let made = run(&config, &flags)?;
    ensure!(made.status.success(), "{}", told(&made));
    for step in
        ["systemctl enable --now", "https://localhost:8450", "firewall", "mail.example.org. MX 10 localhost"]
    {
        assert!(told(&made).contains(step), "{step}: {}", told(&made));
    }
    assert!(String::from_utf8_lossy(&made.stdout).contains("sha256:"), "it shows the certificate");
    assert_eq!(std::fs::metadata(&data)?.permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(&config)?.permissions().mode() & 0o777, 0o600);
    ensure!(run(&config, &["check-config"])?.status.success());
    let text = std::fs::read_to_string(&config)?;
    assert!(
        text.contains("\nemail_domain = \"mail.example.org\"") && text.contains("\nlog_level = \"debug\"")
    );

    let other = ["init", "--yes", "--domain", "other.example.org", "--host-name", "localhost"];
    let kept = run(&config, &other)?;
    assert!(kept.status.success() && told(&kept).contains("--force replaces it"), "{}", told(&kept));
    assert_eq!(std::fs::read_to_string(&config)?, text);
    let data = ["--force", "--data-dir", data.to_str().context("path")?];
    let forced = run(&config, &[&other[..], &data[..]].concat())?;
    ensure!(forced.status.success(), "{}", told(&forced));
    assert!(std::fs::read_to_string(&config)?.contains("other.example.org"));
    assert_eq!(std::fs::read_to_string(dir.path().join("etc/gateway.toml.bak"))?, text);
    Ok(())
}

/// Goal: what cannot be used is refused before anything is written.
#[test]
fn bad_flags_write_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("gateway.toml");
    for (flags, named) in [
        (&["--domain", "not a domain"][..], "--domain"),
        (&["--domain", "a.example.org", "--certificate", "files"], "--key-file"),
        (&["--domain", "a.example.org", "--certificate", "lets-encrypt"], "--accept-terms"),
        (&["--domain", "a.example.org", "--data-dir", "here"], "--data-dir"),
        (&["--domain", "a.example.org", "--certificate-file", "/n.pem", "--key-file", "/n.key"], "/n.pem"),
    ] {
        let refused = run(&config, &[&["init", "--yes", "--host-name", "localhost"], flags].concat())?;
        assert_eq!(refused.status.code(), Some(1), "{flags:?}");
        assert!(told(&refused).contains(named), "{flags:?}: {}", told(&refused));
        assert!(!config.exists(), "{flags:?}");
    }
    assert_eq!(run(&config, &["init", "--log-level", "loud"])?.status.code(), Some(2));
    let help = String::from_utf8(run(&config, &["init", "--help"])?.stdout)?;
    assert!(help.contains("--accept-terms") && help.contains("Examples:"), "{help}");
    Ok(())
}

/// Goal: on a terminal it asks, tells at once what is wrong with an answer, and asks again.
#[test]
fn a_terminal_is_asked() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (config, data) = (dir.path().join("gateway.toml"), dir.path().join("data"));
    let typed = format!("no domain\nmail.example.org\nlocalhost\nself-signed\nwarn\n{}\n", data.display());
    let (done, shown) = on_a_terminal(&config, "", &typed)?;
    ensure!(done, "{shown}");
    for said in ["Enter takes", "is not a domain name", "[self-signed]", "wrote ", "What to do next"] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    ensure!(run(&config, &["check-config"])?.status.success());
    let text = std::fs::read_to_string(&config)?;
    for line in ["email_domain = \"mail.example.org\"", "host_name = \"localhost\"", "log_level = \"warn\""] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    assert!(text.contains(&format!("\ndata_dir = {data:?}\n")) && data.join("tls").is_dir());

    let elsewhere = dir.path().join("other.toml");
    let (done, shown) = on_a_terminal(&elsewhere, "", "\u{4}")?;
    assert!(!done && shown.contains("nothing was written") && !elsewhere.exists(), "{shown}");
    Ok(())
}
