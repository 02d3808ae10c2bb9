//! Certificates from an authority (Pebble): the good way, and each bad one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::{free_port, has};
use postern_tests::pebble::Pebble;
use postern_tests::program::{Kind, Program};
use serde_json::Value;

use super::doors::{DOORS, Session, client};
use super::{eventually, fingerprint, shown};

pub(super) const QUARTER: u64 = 90 * 24 * 3600;

/// The configuration of a gateway that asks `production` after `staging`, its challenges at `http01`.
pub(super) fn config(mode: &str, http01: u16, production: &Pebble, staging: Option<&Pebble>) -> String {
    let authority = authority(production, staging);
    format!("http01 = \"127.0.0.1:{http01}\"\n[tls]\nmode = \"{mode}\"\n{authority}")
}

fn authority(production: &Pebble, staging: Option<&Pebble>) -> String {
    // Each Pebble has a certificate of its own; both are known.
    let bundle = production.trust().with_file_name("trust.pem");
    let all: String = [Some(production), staging]
        .into_iter()
        .flatten()
        .map(|pebble| std::fs::read_to_string(pebble.trust()).unwrap_or_default())
        .collect();
    std::fs::write(&bundle, all).expect("a bundle of authorities");
    format!(
        "[acme]\naccept_terms = true\ncontact = \"admin@example.com\"\ndirectory_url = {:?}\nstaging_url = {:?}\n\
         names = [\"mail.example.test\", \"mx.example.test\"]\ntrust = {bundle:?}\n",
        production.directory_url(),
        staging.map(Pebble::directory_url).unwrap_or_default(),
    )
}

fn is_issued(gateway: &Program) -> Result<bool> {
    Ok(shown(gateway)?["source"] == "acme")
}

/// The lines that an attempt told.
fn steps(answer: &Value) -> Result<String> {
    let steps = answer["steps"].as_array().context("steps")?;
    Ok(steps.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"))
}

/// Goal: from first start to a certificate without a hand: rehearsed, issued, served everywhere without cutting anybody,
/// kept over a restart; an account is opened once.
#[test]
fn a_certificate_is_rehearsed_issued_served_and_kept() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let http01 = free_port()?;
    let (production, staging) = (Pebble::start(http01, QUARTER, &[])?, Pebble::start(http01, QUARTER, &[])?);
    let mut gateway = Program::new(Kind::Gateway, &config("acme", http01, &production, Some(&staging)))?;
    gateway.start()?;
    let session = Session::open(&gateway, DOORS[0], &client()?)?;
    eventually("the certificate", || is_issued(&gateway))?;
    session.goes_on()?;
    let first = shown(&gateway)?;
    for door in DOORS {
        assert_eq!(Session::open(&gateway, door, &client()?)?.fingerprint, fingerprint(&first), "{}", door.0);
    }
    assert_eq!(first["names"].as_array().context("names")?, &["mail.example.test", "mx.example.test"]);
    assert_eq!((first["chain_in_order"].as_bool(), first["days_left"].as_u64()), (Some(true), Some(89)));
    let log = gateway.log();
    let at = |words: &str| log.find(words).with_context(|| format!("{words} is not in the log"));
    assert!(
        at("the rehearsal went well")? < at(&format!("certificate from {}", production.directory_url()))?
    );
    assert!(!log.contains("PRIVATE KEY"));
    for file in std::fs::read_dir(gateway.data_dir().join("tls"))? {
        let mode = std::os::unix::fs::PermissionsExt::mode(&file?.metadata()?.permissions());
        assert_eq!(mode & 0o077, 0);
    }
    assert!(!gateway.data_dir().join("tls/acme-order.json").exists(), "no order is under way");

    ensure!(gateway.stop()?.success());
    let asked = production.log().matches("new-order").count() + production.log().matches("order-plz").count();
    gateway.start()?;
    assert_eq!(fingerprint(&shown(&gateway)?), fingerprint(&first), "served from the start");
    // By now it would have asked: the next command waits for its turn.
    let answer = gateway.json(&["certificate", "acme"])?;
    let told = steps(&answer)?;
    assert!(told.contains("account: https://") && !told.contains("account: opened"), "{told}");
    for words in
        ["order: https://", "mail.example.test: http://mail.example.test/.well-known", "finalise", "until 20"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(answer["served"], true);
    assert_ne!(fingerprint(&answer), fingerprint(&first));
    assert_eq!(Session::open(&gateway, DOORS[4], &client()?)?.fingerprint, fingerprint(&answer));
    let asked_then =
        production.log().matches("new-order").count() + production.log().matches("order-plz").count();
    ensure!(asked > 0 && asked_then == 2 * asked, "one order each: {asked}, then {asked_then}");
    Ok(())
}

/// Goal: the command works without a daemon and before the mode is switched, and says what is left to do.
#[test]
fn a_certificate_can_be_had_before_the_mode_is_switched() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let http01 = free_port()?;
    let pebble = Pebble::start(http01, QUARTER, &[])?;
    let mut gateway = Program::new(Kind::Gateway, &config("self-signed", http01, &pebble, Some(&pebble)))?;
    let rehearsed = gateway.json(&["certificate", "acme", "--staging-only"])?;
    assert_eq!((rehearsed["issued"].as_bool(), rehearsed["rehearsed"].as_bool()), (Some(false), Some(true)));
    assert!(!gateway.data_dir().join("tls/acme.pem").exists());
    gateway.start()?;
    let output = gateway.run(&["certificate", "acme"])?;
    let (out, told) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    assert!(out.contains("mode = \"acme\""), "{out}");
    assert!(told.contains("account: https://") && told.contains("finalise"), "{told}");
    assert_eq!(shown(&gateway)?["source"], "self-signed");
    assert!(TcpStream::connect(("127.0.0.1", http01)).is_err(), "the port is closed again");
    ensure!(gateway.stop()?.success());
    let text = std::fs::read_to_string(gateway.config_file())?;
    std::fs::write(gateway.config_file(), text.replace("mode = \"self-signed\"", "mode = \"acme\""))?;
    gateway.start()?;
    assert_eq!(shown(&gateway)?["source"], "acme");
    let text = String::from_utf8(gateway.run(&["doctor"])?.stdout)?;
    assert!(
        text.contains("warn  certificate at the ports") && text.contains("not for host_name localhost"),
        "{text}"
    );
    assert!(text.contains("challenges: http://mail.example.test"), "{text}");
    assert!(text.contains("http01 127.0.0.1:"), "{text}");
    Ok(())
}

/// Goal: what fails shows the authority's words and what to do, costs the production directory nothing, and is not tried
/// again at once, not even by a restart.
/// Method: nothing listens where the authority looks; then something else answers there.
#[test]
fn a_failed_validation_is_told_in_the_authoritys_words() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let (http01, elsewhere) = (free_port()?, free_port()?);
    let (production, staging) =
        (Pebble::start(http01, QUARTER, &[])?, Pebble::start(elsewhere, QUARTER, &[])?);
    let mut gateway = Program::new(Kind::Gateway, &config("acme", http01, &production, Some(&staging)))?;
    gateway.start()?;
    eventually("the failure", || Ok(shown(&gateway)?["acme"]["failures"] == 1))?;
    let look = shown(&gateway)?;
    let words = look["acme"]["last_error"].as_str().context("words")?;
    // Of both names at once; the first to fail may be the only one.
    assert!(words.contains(".example.test: the authority says: "), "{words}");
    assert!(words.contains("(connection) -> port 80 of this name"), "{words}");
    assert!(look["acme"]["not_before"].is_string() && look["source"] != "acme");
    assert!(
        !production.log().contains("new-acct") && !production.log().contains("sign-me-up"),
        "nothing was asked"
    );
    let text = String::from_utf8(gateway.run(&["doctor"])?.stdout)?;
    assert!(text.contains("warn  certificate: the authority has issued none"), "{text}");
    ensure!(gateway.stop()?.success());
    gateway.start()?;

    let wrong = TcpListener::bind(("127.0.0.1", elsewhere))?;
    std::thread::spawn(move || {
        for stream in wrong.incoming().map_while(Result::ok) {
            let _ = answer_wrongly(stream);
        }
    });
    let output = gateway.run(&["certificate", "acme"])?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("(unauthorized) -> something else answers on port 80"), "{said}");
    let look = shown(&gateway)?;
    assert_eq!(look["acme"]["failures"], 2, "one by itself, one by command, none by the restart");
    Ok(())
}

fn answer_wrongly(mut stream: TcpStream) -> Result<()> {
    let _ = stream.read(&mut [0; 4096])?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")?;
    Ok(())
}

/// Goal: an authority that refuses many nonces and validates slowly gets its time.
#[test]
fn bad_nonces_and_slow_validations_are_lived_with() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let http01 = free_port()?;
    let trouble =
        [("PEBBLE_WFE_NONCEREJECT", "30"), ("PEBBLE_VA_SLEEPTIME", "2"), ("PEBBLE_AUTHZREUSE", "100")];
    let pebble = Pebble::start(http01, QUARTER, &trouble)?;
    let gateway = Program::new(Kind::Gateway, &config("self-signed", http01, &pebble, None))?;
    assert_eq!(gateway.json(&["certificate", "acme"])?["issued"], true);
    let again = gateway.json(&["certificate", "acme"])?;
    assert_eq!(again["issued"], true);
    Ok(())
}

/// Goal: a restart in the midst of an order goes on with that order.
/// Method: the authority's look at the challenge is held until the daemon has been killed and is back.
#[test]
fn a_kill_amid_an_order_costs_no_order() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let gate = Gate::open()?;
    let pebble = Pebble::start(gate.port, QUARTER, &[])?;
    let http01 = free_port()?;
    let mut gateway = Program::new(Kind::Gateway, &config("acme", http01, &pebble, None))?;
    gateway.start()?;
    let under_way = gateway.data_dir().join("tls/acme-order.json");
    eventually("the order", || Ok(under_way.exists()))?;
    let order: Value = serde_json::from_slice(&std::fs::read(&under_way)?)?;
    gateway.kill()?;
    gateway.start()?;
    gate.lead_to(http01);
    eventually("the certificate", || is_issued(&gateway))?;
    let url = order["url"].as_str().context("url")?;
    assert!(gateway.log().contains(&format!("order: going on with {url}")), "{}", gateway.log());
    Ok(())
}

/// A port that holds connections until it is told where they lead.
struct Gate {
    port: u16,
    target: Arc<AtomicU16>,
}

impl Gate {
    fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, target) = (listener.local_addr()?.port(), Arc::new(AtomicU16::new(0)));
        let leads = Arc::clone(&target);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let leads = Arc::clone(&leads);
                std::thread::spawn(move || pass_on(stream, &leads));
            }
        });
        Ok(Self { port, target })
    }

    fn lead_to(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }
}

fn pass_on(mut near: TcpStream, leads: &AtomicU16) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let n = near.read(&mut request)?;
    while leads.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut far = TcpStream::connect(("127.0.0.1", leads.load(Ordering::SeqCst)))?;
    far.write_all(&request[..n])?;
    std::io::copy(&mut far, &mut near).map(drop)
}
