//! Autodiscover: from an address to the server, and no further than the login may go.

use anyhow::Result;
use postern_archiver::sources::Account as _;
use postern_archiver::sources::ews::{EwsAccount, Server, Settings};
use postern_tests::ews::{Exchange, Wants};

use crate::{ANNA, limits};

fn settings(exchange: &Exchange, hosts: &[&str]) -> Settings {
    let first = exchange.at("/autodiscover/autodiscover.xml").parse().ok();
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    Settings { server: Server::Autodiscover { first, hosts }, ..exchange.settings() }
}

/// At a domain that has no hosts (RFC 2606).
async fn connect(settings: &Settings) -> Result<EwsAccount, String> {
    let mut limits = limits();
    limits.connect = std::time::Duration::from_secs(5);
    EwsAccount::connect(settings, ANNA, limits).await.map_err(|error| error.to_string())
}

fn protocol(kind: &str, url: &str) -> String {
    format!("<Protocol><Type>{kind}</Type><EwsUrl>{url}</EwsUrl></Protocol>")
}

#[tokio::test]
async fn the_server_is_found_as_xml_and_as_json() -> Result<()> {
    for wants in [Wants::Basic, Wants::Ntlm(true)] {
        let exchange = Exchange::start(wants)?;
        let account = format!(
            "<AccountType>email</AccountType><Action>settings</Action>{}{}",
            protocol("EXPR", "https://elsewhere.invalid/EWS/Exchange.asmx"),
            protocol("EXCH", &exchange.url())
        );
        exchange.autodiscovers(Some(&account), None);
        let mut found = connect(&settings(&exchange, &[])).await.map_err(anyhow::Error::msg)?;
        assert_eq!(found.folders().await?.len(), 6);
        assert!(!exchange.brought()[0] && exchange.brought().len() > 1, "no login goes unasked");
        assert_eq!(exchange.asked("Autodiscover"), 1);
        exchange
            .autodiscovers(None, Some(&format!("{{\"Protocol\":\"EWS\",\"Url\":\"{}\"}}", exchange.url())));
        connect(&settings(&exchange, &[])).await.map_err(anyhow::Error::msg)?;
        assert_eq!(exchange.asked("Autodiscover"), 1, "JSON needs no login");
    }
    Ok(())
}

#[tokio::test]
async fn redirects_are_followed_where_the_login_may_go() -> Result<()> {
    let (one, other) = (Exchange::start(Wants::Basic)?, Exchange::start(Wants::Basic)?);
    let elsewhere = other.at("/autodiscover/autodiscover.xml").replace("127.0.0.1", "localhost");
    one.autodiscovers(
        Some(&format!("<Action>redirectUrl</Action><RedirectUrl>{elsewhere}</RedirectUrl>")),
        None,
    );
    other.autodiscovers(Some(&protocol("EXPR", &one.url())), None);
    // Two servers, one trust: any, for this is about names.
    let mut settings = settings(&one, &["localhost"]);
    settings.trust = postern_shared::tls::client::Trust::Any;
    connect(&settings).await.map_err(anyhow::Error::msg)?;
    assert_eq!((one.asked("Autodiscover"), other.asked("Autodiscover")), (1, 1));
    Ok(())
}

/// Goal: neither redirects nor answers lead the login out of the domain, to plain HTTP, round in circles, or to Exchange
/// Online; what was tried is told.
#[tokio::test]
async fn nothing_leads_the_login_astray() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let redirect = |url: &str| format!("<Action>redirectUrl</Action><RedirectUrl>{url}</RedirectUrl>");
    let itself = exchange.at("/autodiscover/autodiscover.xml");
    for (account, expected) in [
        (
            redirect("https://evil.invalid/autodiscover/autodiscover.xml"),
            "evil.invalid is not under the domain of the mailbox",
        ),
        (redirect("http://autodiscover.example.com/a"), "it is not https, so it is not asked"),
        (redirect(&itself), "it redirects to"),
        (
            protocol("EXCH", "https://evil.invalid/EWS/Exchange.asmx"),
            "list it in autodiscover_hosts if it is right",
        ),
        (
            protocol("EXCH", "http://autodiscover.example.com/EWS/Exchange.asmx"),
            "it names no EWS that could be used",
        ),
        ("<Action>settings</Action>".to_owned(), "its answer names no EWS"),
        (
            "<Action>redirectAddr</Action><RedirectAddr>a@evil.invalid</RedirectAddr>".to_owned(),
            "the mailbox is a@evil.invalid",
        ),
    ] {
        exchange.autodiscovers(Some(&account), None);
        let error = connect(&settings(&exchange, &[])).await.err().expect(&account);
        assert!(error.contains("Autodiscover does not find the server of anna@example.com"), "{error}");
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.contains("put its url into the profile"), "{error}");
    }
    exchange.autodiscovers(Some(&protocol("EXCH", "https://outlook.office365.com/EWS/Exchange.asmx")), None);
    let error = connect(&settings(&exchange, &["outlook.office365.com"])).await.err().expect("it is blocked");
    assert!(error.contains("blocks EWS since October 2026"), "{error}");
    Ok(())
}
