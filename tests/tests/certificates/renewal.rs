//! Renewal in time, with a clock that is moved by hand and a real authority.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use postern_gateway::acme::Renewer;
use postern_gateway::app::Core;
use postern_gateway::certificate::{Keeper, Origin};
use postern_gateway::settings::Settings;
use postern_shared::clock::{Clock, ManualClock, SystemClock, UnixMillis};
use postern_shared::data_dir::Holder;
use postern_shared::disk::RealDisk;
use postern_tests::foreign::{free_port, has};
use postern_tests::pebble::Pebble;
use rustls::{ServerConnection, StreamOwned};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A gateway's core without its listeners, and an authority.
struct House {
    /// Instead of Pebble's own, which has the same certificate.
    directory_url: Option<String>,
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    pebble: Pebble,
    http01: u16,
}

impl House {
    fn new(validity_seconds: u64) -> Result<Self> {
        let http01 = free_port()?;
        // Behind the authority's, which dates certificates by whole seconds.
        let clock = Arc::new(ManualClock::at(UnixMillis(SystemClock::new().wall().0 - 30_000)));
        Ok(Self {
            directory_url: None,
            dir: tempfile::tempdir()?,
            clock,
            pebble: Pebble::start(http01, validity_seconds, &[])?,
            http01,
        })
    }

    /// As the daemon opens it.
    fn open(&self) -> Result<(Arc<Core>, Renewer)> {
        self.open_for("mail.example.test")
    }

    fn open_for(&self, host_name: &str) -> Result<(Arc<Core>, Renewer)> {
        let config = self.dir.path().join("gateway.toml");
        let text = format!(
            "host_name = {host_name:?}\ndata_dir = {:?}\n[listen]\nhttp01 = \"127.0.0.1:{}\"\n\
             [tls]\nmode = \"acme\"\n[acme]\naccept_terms = true\ndirectory_url = {:?}\ntrust = {:?}\n",
            self.dir.path().join("data"),
            self.http01,
            self.directory_url.clone().unwrap_or_else(|| self.pebble.directory_url()),
            self.pebble.trust(),
        );
        std::fs::write(&config, text)?;
        let settings = Settings::load(&RealDisk, Some(&config), [])?;
        let (disk, clock) = (Arc::new(RealDisk), Arc::<ManualClock>::clone(&self.clock));
        let core = Arc::new(Core::open(disk, clock, settings, Holder::Command)?);
        let keeper = Keeper::open(&core.settings(), Arc::clone(&core.disk), Arc::clone(&core.clock))?;
        core.keeper.set(Arc::new(keeper)).ok().context("it has one")?;
        let renewer = Renewer::listening(Arc::clone(&core))?;
        Ok((core, renewer))
    }
}

fn keeper(core: &Core) -> Result<&Arc<Keeper>> {
    core.keeper.get().context("no keeper")
}

fn state(core: &Core) -> Result<serde_json::Value> {
    Ok(serde_json::from_slice(&std::fs::read(core.settings().data_dir.join("tls/acme-state.json"))?)?)
}

/// Goal: nothing is asked before its time; then it is renewed; while the authority is away, waits grow, a restart shortens
/// none, and the old certificate is served; when it is back and knows us no more, another account is opened.
#[tokio::test]
async fn it_is_renewed_in_time_and_patiently() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let mut house = House::new(100 * 24 * 3600)?;
    let (core, renewer) = house.open()?;
    assert_eq!(keeper(&core)?.origin(), Origin::StandIn);
    let due = renewer.step().await;
    assert_eq!(keeper(&core)?.origin(), Origin::StandIn, "our clock lags behind: its time has not come yet");
    assert_eq!((&state(&core)?["failures"], renewer.step().await), (&0.into(), due), "and yet it is there");
    house.clock.advance(Duration::from_secs(60));
    keeper(&core)?.look(false);
    assert_eq!(keeper(&core)?.origin(), Origin::Acme);
    let first = keeper(&core)?.identity();
    let expires = first.expires().context("expires")?;
    assert_eq!(due, UnixMillis(expires.0 - 30 * 24 * 3600 * 1000));

    house.clock.advance(due.since(house.clock.wall()) - DAY);
    assert_eq!(renewer.step().await, due, "a day too early");
    assert_eq!(keeper(&core)?.identity().fingerprint(), first.fingerprint());
    house.pebble.stop()?;
    house.clock.advance(DAY);
    let again = renewer.step().await;
    let waited = |from: UnixMillis, to: UnixMillis| to.since(from).as_secs() / 60;
    assert!((15..=17).contains(&waited(house.clock.wall(), again)), "{again}");
    assert_eq!(renewer.step().await, again, "not before");
    assert_eq!(keeper(&core)?.identity().fingerprint(), first.fingerprint(), "served on");
    renewer.close().await;
    drop(core);

    let (core, renewer) = house.open()?;
    assert_eq!(renewer.step().await, again, "a restart does not shorten it");
    assert_eq!(state(&core)?["failures"], 1);
    house.clock.advance(again.since(house.clock.wall()));
    let again = renewer.step().await;
    assert!((30..=33).contains(&waited(house.clock.wall(), again)), "{again}");
    assert_eq!(state(&core)?["failures"], 2);

    house.pebble.go_on()?;
    house.clock.advance(again.since(house.clock.wall()));
    renewer.step().await;
    let second = keeper(&core)?.identity();
    assert_ne!(second.fingerprint(), first.fingerprint(), "{}", state(&core)?);
    assert_eq!(
        (&state(&core)?["failures"], &state(&core)?["last_error"]),
        (&0.into(), &serde_json::Value::Null)
    );
    let root = house.pebble.root()?;
    second
        .verify_with(root.as_bytes(), "mail.example.test", SystemClock::new().wall())
        .map_err(anyhow::Error::msg)?;
    Ok(())
}

/// Goal: a life of days is renewed when a third of it is left, and another name brings it forward at once.
#[tokio::test]
async fn short_lives_and_other_names_are_seen_to() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let house = House::new(6 * 24 * 3600)?;
    let (core, renewer) = house.open()?;
    let due = renewer.step().await;
    house.clock.advance(Duration::from_secs(60));
    keeper(&core)?.look(false);
    let first = keeper(&core)?.identity();
    let left = first.expires().context("expires")?.since(due);
    assert!(left.abs_diff(2 * DAY) < Duration::from_secs(60), "{left:?}");
    renewer.close().await;
    drop(core);
    let (core, renewer) = house.open()?;
    assert_eq!(renewer.step().await, due);
    assert_eq!(keeper(&core)?.identity().fingerprint(), first.fingerprint());
    renewer.close().await;
    drop(core);

    let (core, renewer) = house.open_for("mx.example.test")?;
    renewer.step().await;
    house.clock.advance(Duration::from_secs(60));
    keeper(&core)?.look(false);
    assert_eq!(keeper(&core)?.identity().leaf().context("leaf")?.names, ["mx.example.test"]);
    Ok(())
}

/// Goal: a certificate that was issued and could not be stored is fetched again, not issued again.
/// Method: a directory stands where its file belongs.
#[tokio::test]
async fn a_disk_that_takes_no_certificate_costs_no_order() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let house = House::new(100 * 24 * 3600)?;
    let (core, renewer) = house.open()?;
    let tls = core.settings().data_dir.join("tls");
    std::fs::create_dir_all(tls.join("acme.pem/in-the-way"))?;
    let again = renewer.step().await;
    assert_eq!(state(&core)?["failures"], 1);
    let error = state(&core)?["last_error"].to_string();
    assert!(error.contains("cannot store the certificate in"), "{error}");
    let orders = house.pebble.log().matches("order-plz").count();
    assert!(tls.join("acme-order.json").exists() && orders > 0, "{}", house.pebble.log());
    std::fs::remove_dir_all(tls.join("acme.pem"))?;
    house.clock.advance(again.since(house.clock.wall()));
    renewer.step().await;
    assert_eq!(keeper(&core)?.origin(), Origin::Acme);
    assert_eq!(house.pebble.log().matches("order-plz").count(), orders, "the same order");
    assert!(!tls.join("acme-order.json").exists());
    Ok(())
}

/// Goal: an authority that wants a certificate to be renewed early gets its will (RFC 9773).
/// Method: Pebble's directory, shown by a server of our own that adds renewal information.
#[tokio::test]
async fn the_authority_may_ask_for_an_early_renewal() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let mut house = House::new(100 * 24 * 3600)?;
    let (start, end) = ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    house.directory_url = Some(with_renewal_info(&house.pebble, start, end)?);
    let (core, renewer) = house.open()?;
    renewer.step().await;
    house.clock.advance(Duration::from_secs(60));
    keeper(&core)?.look(false);
    let first = keeper(&core)?.identity();
    assert_eq!(keeper(&core)?.origin(), Origin::Acme, "{}", state(&core)?);
    // Its information is asked for with the next step, and the window is over.
    renewer.step().await;
    house.clock.advance(Duration::from_secs(60));
    keeper(&core)?.look(false);
    assert_ne!(keeper(&core)?.identity().fingerprint(), first.fingerprint(), "{}", state(&core)?);
    Ok(())
}

/// The URL of a directory like Pebble's, with renewal information for whatever is asked for.
fn with_renewal_info(pebble: &Pebble, start: &str, end: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://localhost:{}", listener.local_addr()?.port());
    let mut directory = pebble.directory()?;
    directory["renewalInfo"] = format!("{url}/ari").into();
    let info = serde_json::json!({ "suggestedWindow": { "start": start, "end": end } });
    let config = pebble.server_config()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Ok(connection) = ServerConnection::new(Arc::clone(&config)) else { return };
            let mut tls = StreamOwned::new(connection, stream);
            let mut request = [0; 4096];
            let Ok(n) = tls.read(&mut request) else { continue };
            let body =
                if request[..n].starts_with(b"GET /ari/") { info.to_string() } else { directory.to_string() };
            let head =
                format!("HTTP/1.1 200 OK\r\nRetry-After: 7200\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = tls.write_all((head + &body).as_bytes());
        }
    });
    Ok(format!("{url}/dir"))
}
