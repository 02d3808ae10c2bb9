//! Files, imports, self-signed ones.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::RealDisk;
use postern_shared::tls::server::{Identity, self_signed_files};
use postern_tests::console::Browser;
use postern_tests::program::{Kind, Program};
use postern_tests::prometheus::{Scrape, get};
use postern_tests::upstream::Authority;
use rustls::HandshakeKind;

use super::doors::{DOORS, Session, client};
use super::{eventually, fingerprint, shown};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/certificates").join(name)
}

/// PEM files `crt` and `key` in `dir`, replaced one after the other; the fingerprint.
fn put(dir: &Path) -> Result<String> {
    let source = tempfile::tempdir()?;
    let names = ["localhost".to_owned()];
    let made = Identity::self_signed(&RealDisk, source.path(), &names, SystemClock::new().wall())?;
    let (certificate, key) = self_signed_files(source.path());
    std::fs::copy(certificate, dir.join("crt"))?;
    std::fs::copy(key, dir.join("key"))?;
    Ok(format!("sha256:{}", made.fingerprint()))
}

/// A gateway with the files in `dir`.
fn with_files(dir: &Path) -> Result<Program> {
    let mut gateway = with_files_in(dir)?;
    gateway.start()?;
    Ok(gateway)
}

/// The same, not started yet.
fn with_files_in(dir: &Path) -> Result<Program> {
    let (certificate, key) = (dir.join("crt"), dir.join("key"));
    let more = format!(
        "metrics = \"127.0.0.1:0\"\n[tls]\nmode = \"files\"\ncertificate = {certificate:?}\nkey = {key:?}\n"
    );
    Program::new(Kind::Gateway, &more)
}

fn hang_up(gateway: &Program) -> Result<()> {
    gateway.signal("HUP")
}

fn expiry(gateway: &Program) -> Result<f64> {
    let (_, body) = get(gateway.address("metrics")?, "/metrics")?;
    Scrape::parse(&body)?.value("postern_gateway_certificate_expiry_timestamp_seconds")
}

/// Goal: one certificate at every listener; when it is replaced, no session ends, and the next handshake shows the new one
/// wherever, whatever tickets the client has.
#[test]
fn a_swap_is_seen_at_every_listener_and_cuts_no_session() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let first = put(dir.path())?;
    let gateway = with_files(dir.path())?;
    let clients: Vec<_> = DOORS.iter().map(|_| client()).collect::<Result<_>>()?;
    let mut open = Vec::new();
    for (door, client) in DOORS.into_iter().zip(&clients) {
        let session = Session::open(&gateway, door, client)?;
        assert_eq!((session.fingerprint.as_str(), session.kind == HandshakeKind::Resumed), (&*first, false));
        open.push(session);
        let session = Session::open(&gateway, door, client)?;
        assert_eq!(
            (session.kind, session.fingerprint.as_str()),
            (HandshakeKind::Resumed, &*first),
            "{}",
            door.0
        );
        open.push(session);
    }
    let expires = expiry(&gateway)?;
    // Dates are in whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = put(dir.path())?;
    hang_up(&gateway)?;
    eventually("the swap", || Ok(fingerprint(&shown(&gateway)?) == second))?;
    for (door, client) in DOORS.into_iter().zip(&clients) {
        let session = Session::open(&gateway, door, client)?;
        assert_eq!(session.fingerprint, second, "{}", door.0);
        assert_ne!(session.kind, HandshakeKind::Resumed, "{}", door.0);
        session.goes_on()?;
    }
    for session in open {
        session.goes_on()?;
    }
    assert!(expiry(&gateway)? > expires, "the metric follows");
    Ok(())
}

/// Goal: browsers are told to come by HTTPS only while they accept the certificate, from the answer after a swap on; a page
/// that is open goes on.
/// Method: an authority that the gateway's machine trusts, by `SSL_CERT_FILE`.
#[test]
fn strict_transport_follows_the_certificate() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let own = put(dir.path())?;
    let authority = Authority::new()?;
    let mut gateway = with_files_in(dir.path())?;
    gateway.set("SSL_CERT_FILE", &authority.certificate().to_string_lossy());
    gateway.start()?;
    let browser = Browser::new(gateway.address("console")?);
    let is_told = || -> Result<bool> {
        let page = browser.clone().request("GET", "/api/v1/sign-in", None)?;
        Ok(page.headers.iter().any(|line| line == "strict-transport-security: max-age=31536000"))
    };
    assert!(!is_told()?, "told with a certificate that they refuse, it would keep them out");
    let open = Session::open(&gateway, DOORS[5], &client()?)?;
    assert_eq!(open.fingerprint, own);

    let issued = authority.identity()?;
    let trusted = format!("sha256:{}", issued.fingerprint()?);
    std::fs::copy(&issued.certificate, dir.path().join("crt"))?;
    std::fs::copy(&issued.key, dir.path().join("key"))?;
    hang_up(&gateway)?;
    eventually("the swap", || Ok(fingerprint(&shown(&gateway)?) == trusted))?;
    assert_eq!(Session::open(&gateway, DOORS[5], &client()?)?.fingerprint, trusted);
    assert!(is_told()?);
    open.goes_on()?;

    let own = put(dir.path())?;
    hang_up(&gateway)?;
    eventually("the swap back", || Ok(fingerprint(&shown(&gateway)?) == own))?;
    assert!(!is_told()?);
    Ok(())
}

/// Goal: files are watched without being told; a broken one is named, replaces nothing, and is forgotten when it is mended.
#[test]
fn a_broken_file_keeps_the_old_certificate_and_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let first = put(dir.path())?;
    let gateway = with_files(dir.path())?;
    std::fs::write(dir.path().join("crt"), "half a certificate")?;
    eventually("the complaint", || Ok(shown(&gateway)?["trouble"].is_string()))?;
    assert_eq!(fingerprint(&shown(&gateway)?), first);
    assert_eq!(Session::open(&gateway, DOORS[4], &client()?)?.fingerprint, first);
    assert!(gateway.log().contains("the old one is served on"), "{}", gateway.log());
    let text = String::from_utf8(gateway.run(&["doctor"])?.stdout)?;
    assert!(text.contains("warn  certificate: what the files hold now cannot be used"), "{text}");
    assert!(text.contains("ok    certificate at the ports: ") && text.contains("pop3, pop3s"), "{text}");
    assert!(text.contains("console"), "{text}");

    let second = put(dir.path())?;
    eventually("the swap", || Ok(fingerprint(&shown(&gateway)?) == second))?;
    assert!(shown(&gateway)?["trouble"].is_null());
    Ok(())
}

/// Goal: key and chain come out of a PKCS#12 file and are served, first after a restart into the mode, then at once.
#[test]
fn an_import_is_stored_and_then_served() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let password = dir.path().join("password");
    std::fs::write(&password, "secret\n")?;
    let mut gateway = Program::started(Kind::Gateway, "")?;
    let import = |gateway: &Program, name: &str| {
        let (file, password) = (fixture(name), password.to_string_lossy().into_owned());
        gateway.json(&["certificate", "import", &file.to_string_lossy(), "--password-file", &password])
    };
    let before = fingerprint(&shown(&gateway)?);
    let answer = import(&gateway, "rc2-40.p12")?;
    assert_eq!(answer["served"], false);
    assert!(answer["next"].as_str().is_some_and(|next| next.contains("mode = \"imported\"")), "{answer}");
    assert_eq!(answer["chain"].as_array().map(Vec::len), Some(2), "{answer}");
    assert_eq!(fingerprint(&shown(&gateway)?), before, "nothing is switched behind the operator's back");
    let stored = gateway.data_dir().join("tls/imported.pem");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&stored)?.permissions());
    assert_eq!(mode & 0o777, 0o600);

    ensure!(gateway.stop()?.success());
    let config = std::fs::read_to_string(gateway.config_file())?;
    std::fs::write(gateway.config_file(), format!("{config}[tls]\nmode = \"imported\"\n"))?;
    gateway.json(&["check-config"])?;
    gateway.start()?;
    assert_eq!(Session::open(&gateway, DOORS[1], &client()?)?.fingerprint, fingerprint(&answer));
    let look = shown(&gateway)?;
    assert_eq!((look["mode"].as_str(), look["served"].as_bool()), (Some("imported"), Some(true)));
    let names = look["names"].as_array().context("names")?;
    assert_eq!(names, &["gateway.example.com", "localhost"]);

    // Another one, as PEM, while it is served.
    let other = tempfile::tempdir()?;
    let second = put(other.path())?;
    let (certificate, key) = (other.path().join("crt"), other.path().join("key"));
    let answer = gateway.json(&[
        "certificate",
        "import",
        &certificate.to_string_lossy(),
        "--key",
        &key.to_string_lossy(),
    ])?;
    assert_eq!((answer["served"].as_bool(), fingerprint(&answer) == second), (Some(true), true));
    assert_eq!(Session::open(&gateway, DOORS[0], &client()?)?.fingerprint, second);
    Ok(())
}

/// Goal: what cannot be imported is refused with what to do, and leaves nothing behind.
#[test]
fn a_bad_import_is_refused() -> Result<()> {
    let gateway = Program::new(Kind::Gateway, "")?;
    let dir = tempfile::tempdir()?;
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    std::fs::write(&right, "secret")?;
    std::fs::write(&wrong, "secrets")?;
    put(dir.path())?;
    let refused = |file: &Path, more: &[&str]| -> Result<String> {
        let file = file.to_string_lossy();
        let output = gateway.run(&[&["certificate", "import", &*file], more].concat())?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        Ok(String::from_utf8(output.stderr)?)
    };
    let (right, wrong) = (right.to_string_lossy().into_owned(), wrong.to_string_lossy().into_owned());
    let cases = [
        (fixture("aes256.p12"), vec!["--password-file", &*wrong], "the password is wrong"),
        (fixture("rc4.p12"), vec!["--password-file", &*right], "openssl pkcs12 -legacy"),
        (fixture("no-key.p12"), vec!["--password-file", &*right], "no private key"),
        (fixture("wrong-order.pem"), vec![], "cannot be used"),
        (fixture("root.pem"), vec![], "no private key"),
        (dir.path().join("crt"), vec!["--key", &*right], "no private key"),
        (dir.path().join("none"), vec![], "cannot read"),
    ];
    for (file, more, words) in cases {
        let said = refused(&file, &more)?;
        assert!(said.contains(words), "{}: {said}", file.display());
        assert!(!said.contains("secret"), "{said}");
    }
    assert!(!gateway.data_dir().join("tls/imported.pem").exists());
    Ok(())
}

/// Goal: a self-signed certificate that may be pinned is replaced only by force; then at once.
#[test]
fn a_self_signed_one_is_replaced_by_force_only() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let first = fingerprint(&shown(&gateway)?);
    let refused = gateway.run(&["certificate", "self-signed"])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    for name in ["<script>", "two words", "-x.example.com", ""] {
        let refused = gateway.run(&["certificate", "self-signed", "--force", &format!("--name={name}")])?;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("host names and addresses"), "{name}: {said}");
    }
    assert_eq!(fingerprint(&shown(&gateway)?), first);
    let names = ["--name", "mail.example.com", "--name", "192.0.2.1"];
    let answer = gateway.json(&[&["certificate", "self-signed", "--force"], &names[..]].concat())?;
    assert_eq!(answer["served"], true);
    assert_eq!(answer["names"].as_array().context("names")?, &["mail.example.com", "192.0.2.1"]);
    assert_ne!(fingerprint(&answer), first);
    for door in DOORS {
        assert_eq!(Session::open(&gateway, door, &client()?)?.fingerprint, fingerprint(&answer));
    }
    let text = String::from_utf8(gateway.run(&["certificate", "show"])?.stdout)?;
    for words in ["self-signed", "mail.example.com, 192.0.2.1", "not vouched for", &fingerprint(&answer)] {
        assert!(text.contains(words), "{words}: {text}");
    }
    Ok(())
}
