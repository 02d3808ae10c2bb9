//! TLS as an outsider finds it, at every door that has it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use postern_tests::foreign;
use postern_tests::program::{Kind, Program};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore};

/// Each door, what sslscan calls its way to TLS, and what a client says to get there.
const DOORS: [(&str, &str, &[&str]); 6] = [
    ("smtp", "--starttls-smtp", &["EHLO client.example.org", "STARTTLS"]),
    ("smtps", "", &[]),
    ("submission", "--starttls-smtp", &["EHLO client.example.org", "STARTTLS"]),
    ("pop3", "--starttls-pop3", &["STLS"]),
    ("pop3s", "", &[]),
    ("console", "", &[]),
];

/// The value of an attribute in a line of XML as sslscan writes it.
fn attribute<'l>(line: &'l str, name: &str) -> Result<&'l str> {
    let (_, rest) =
        line.split_once(&format!(" {name}=\"")).with_context(|| format!("no {name} in {line}"))?;
    Ok(rest.split('"').next().unwrap_or_default())
}

/// The score of the SSL Server Rating Guide (Qualys SSL Labs, 2009q): protocols 30 %, key exchange 30 %, ciphers 40 %;
/// 80 and more is an A for servers without the faults that cap it, which the test asks for one by one.
fn score(xml: &str) -> Result<f64> {
    let mut strengths = (u32::MAX, 0);
    let mut exchange = f64::MAX;
    for line in xml.lines().filter(|line| line.contains("<cipher ")) {
        let bits: u32 = attribute(line, "bits")?.parse()?;
        strengths = (strengths.0.min(bits), strengths.1.max(bits));
        let curve: u32 = attribute(line, "ecdhebits")?.parse()?;
        // A curve of 253 bits and more is as strong as RSA of 3072 and more.
        exchange = exchange.min(if curve >= 253 { 90.0 } else { 40.0 });
    }
    let of_cipher = |bits| {
        if bits >= 256 {
            100.0
        } else if bits >= 128 {
            80.0
        } else {
            20.0
        }
    };
    Ok(0.3 * 100.0 + 0.3 * exchange + 0.4 * (of_cipher(strengths.0) + of_cipher(strengths.1)) / 2.0)
}

fn check_scan(xml: &str) -> Result<()> {
    let lines = |tag: &str| xml.lines().filter(move |line| line.contains(tag)).collect::<Vec<_>>();
    let protocols = lines("<protocol ");
    ensure!(protocols.len() == 6, "SSL 2 and 3, TLS 1.0 to 1.3");
    for line in protocols {
        let wanted = ["1.2", "1.3"].contains(&attribute(line, "version")?);
        ensure!((attribute(line, "enabled")? == "1") == wanted, "{line}");
    }
    let ciphers = lines("<cipher ");
    ensure!(ciphers.len() == 6, "three suites of TLS 1.3, three of TLS 1.2 with an ECDSA certificate");
    for line in ciphers {
        let name = attribute(line, "cipher")?;
        let forward_secret = name.starts_with("ECDHE-") || name.starts_with("TLS_");
        ensure!(forward_secret && (name.contains("GCM") || name.contains("POLY1305")), "{line}");
        ensure!(["strong", "acceptable"].contains(&attribute(line, "strength")?), "{line}");
    }
    ensure!(lines("<compression ").iter().all(|line| line.contains("supported=\"0\"")), "no compression");
    let renegotiation = lines("<renegotiation ");
    ensure!(renegotiation.len() == 1 && renegotiation[0].contains("supported=\"0\""), "{renegotiation:?}");
    ensure!(lines("<heartbleed ").iter().all(|line| line.contains("vulnerable=\"0\"")), "no heartbleed");
    let score = score(xml)?;
    ensure!(score >= 80.0, "score {score}");
    Ok(())
}

/// Goal: every door offers TLS 1.2 and 1.3 only, with forward secrecy and authenticated ciphers only; an A.
/// Method: sslscan, an outsider, at all doors at once.
#[test]
fn a_scanner_finds_nothing_weak_at_any_door() -> Result<()> {
    if !foreign::has("sslscan") {
        return Ok(());
    }
    let gateway = Program::started(Kind::Gateway, "")?;
    let mut scans = Vec::new();
    for (door, option, _) in DOORS {
        let address = gateway.address(door)?;
        let mut command = Command::new("sslscan");
        command.args(["--xml=-", "--no-colour"]).args(Some(option).filter(|option| !option.is_empty()));
        scans.push((door, command.arg(address.to_string()).stdout(std::process::Stdio::piped()).spawn()?));
    }
    for (door, scan) in scans {
        let output = scan.wait_with_output()?;
        let xml = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{door}: {}\n{xml}", output.status);
        check_scan(&xml).with_context(|| format!("{door}:\n{xml}"))?;
    }
    Ok(())
}

/// Connects, goes as far as TLS can begin, and shakes hands offering these groups; the one that was agreed on.
fn agreed_group(
    gateway: &Program,
    (door, _, dialogue): (&str, &str, &[&str]),
    groups: Vec<&'static dyn SupportedKxGroup>,
) -> Result<NamedGroup> {
    let mut stream = TcpStream::connect(gateway.address(door)?)?;
    if !dialogue.is_empty() {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut answer = || -> Result<()> {
            let mut line = String::new();
            while !line.starts_with("+OK") && line.as_bytes().get(3) != Some(&b' ') {
                line.clear();
                ensure!(reader.read_line(&mut line)? > 0, "closed");
            }
            Ok(())
        };
        answer()?;
        for line in dialogue {
            stream.write_all(format!("{line}\r\n").as_bytes())?;
            answer()?;
        }
    }
    let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(gateway.data_dir().join("tls/self-signed.crt.pem"))?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    while client.is_handshaking() {
        client.complete_io(&mut stream)?;
    }
    Ok(client.negotiated_key_exchange_group().context("no group")?.name())
}

/// Goal: what is recorded today stays closed to quantum computers, whenever the client can do its half; whoever cannot
/// is served as well as it can be. Method: a client that knows nothing but X25519MLKEM768; one that prefers another group
/// and offers a share for that one only is asked again; old ones.
#[test]
fn the_post_quantum_key_exchange_is_offered_at_every_door() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    for door in DOORS {
        let agreed = |groups| agreed_group(&gateway, door, groups).with_context(|| door.0.to_owned());
        assert_eq!(agreed(vec![kx_group::X25519MLKEM768])?, NamedGroup::X25519MLKEM768);
        assert_eq!(agreed(aws_lc_rs::default_provider().kx_groups)?, NamedGroup::X25519MLKEM768);
        assert_eq!(agreed(vec![kx_group::X25519])?, NamedGroup::X25519);
        assert_eq!(agreed(vec![kx_group::SECP384R1])?, NamedGroup::secp384r1);
    }
    Ok(())
}
