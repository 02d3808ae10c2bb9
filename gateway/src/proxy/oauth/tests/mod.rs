//! The broker against providers that answer what a test says.
//!
//! | file | what |
//! |---|---|
//! | `scripted` | a provider behind real TLS that answers from a script and keeps what it was asked |
//! | `logins` | passwords, caching, concurrency, changes |
//! | `rotation` | refresh tokens that the provider replaces, and disks that fail at that moment |
//! | `hostile` | answers that no provider should give |
//! | `accounts` | spellings, host names, revoking |
//! | `format` | the file |
//! | `ending` | the end of the process |

mod accounts;
mod ending;
mod format;
mod hostile;
mod logins;
mod rotation;
mod scripted;

use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{ManualClock, UnixMillis};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::proto::sasl::Mechanism;
use postern_shared::tls::client::Trust;
use secrecy::{ExposeSecret, SecretString};

use super::provider::{Credential, Endpoint, Provider, Redirect, SecretSource};
use super::{AccessToken, Account, Binding, Broker, BrokerError, Deadlines, account_in};
use scripted::Scripted;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const FIRST: &str = "refresh-token-of-the-consent";

fn password() -> SecretString {
    "bcdefgh-jkmnpqr-stuvwx-yz2345".into()
}

fn account() -> Account {
    account_in("Anna@example.com%Mail.example.net:993", '%').unwrap()
}

/// A broker with one binding, at a scripted provider.
struct World {
    provider: Scripted,
    settings: Provider,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
    broker: Arc<Broker>,
}

impl World {
    async fn new() -> Self {
        let provider = Scripted::start().await;
        let settings = settings_for(&provider);
        let (clock, dir) = (Arc::new(ManualClock::at(NOW)), tempfile::tempdir().unwrap());
        let broker = open(&settings, &clock, dir.path(), Arc::new(RealDisk));
        let world = Self { provider, settings, clock, dir, broker };
        world.bind(FIRST);
        world
    }

    /// A binding of another account, or under another password.
    fn binding_of(&self, account: &str, password: &SecretString) -> Binding {
        Binding::seal(account, &self.settings, &FIRST.into(), password, NOW, Argon2Cost::TESTS_ONLY).unwrap()
    }

    /// Puts a binding's file where the first version did.
    fn write(&self, binding: &Binding) {
        let digest = postern_shared::crypto::digest::sha256(binding.account.as_bytes()).to_string();
        let path = self.dir.path().join(format!("{}.json", &digest[..32]));
        postern_shared::disk::write_atomic(&RealDisk, &path, &binding.to_json().unwrap()).unwrap();
    }

    fn binding(&self, refresh_token: &str) -> Binding {
        let (key, token) = (super::account_key(&account()), refresh_token.into());
        Binding::seal(&key, &self.settings, &token, &password(), NOW, Argon2Cost::TESTS_ONLY).unwrap()
    }

    fn bind(&self, refresh_token: &str) {
        self.broker.store(self.binding(refresh_token)).unwrap();
    }

    /// The same data directory after a crash, on another disk.
    fn restarted(self, disk: Arc<dyn Disk>) -> Self {
        let broker = open(&self.settings, &self.clock, self.dir.path(), disk);
        Self { broker, ..self }
    }

    async fn login(&self) -> Result<AccessToken, BrokerError> {
        let open = self.broker.open(&account(), &password()).expect("the password is right");
        self.broker.access_token(open).await
    }

    async fn token(&self) -> String {
        self.login().await.unwrap().token.expose_secret().to_owned()
    }

    /// The refresh token as the file has it.
    fn on_disk(&self) -> String {
        let mut files = RealDisk.files(self.dir.path()).unwrap();
        // A temporary file may be on its way.
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        assert_eq!(files.len(), 1, "{files:?}");
        let binding = Binding::from_json(&RealDisk.read(&files[0], 99_999).unwrap()).unwrap();
        let key = binding.verify(&password()).unwrap();
        binding.unseal(&key).unwrap().expose_secret().to_owned()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn open(
    settings: &Provider,
    clock: &Arc<ManualClock>,
    dir: &std::path::Path,
    disk: Arc<dyn Disk>,
) -> Arc<Broker> {
    let deadlines = Deadlines { disk_again: Duration::from_secs(3600), ..Deadlines::default() };
    open_with(settings, clock, dir, disk, deadlines)
}

fn open_with(
    settings: &Provider,
    clock: &Arc<ManualClock>,
    dir: &std::path::Path,
    disk: Arc<dyn Disk>,
    deadlines: Deadlines,
) -> Arc<Broker> {
    let (clock, providers) = (Arc::clone(clock) as _, std::slice::from_ref(settings));
    Arc::new(Broker::load(disk, clock, dir, providers, deadlines, Argon2Cost::TESTS_ONLY).unwrap())
}

fn settings_for(provider: &Scripted) -> Provider {
    let endpoint = |path: &str| Endpoint::parse(&format!("https://{}{path}", provider.address)).unwrap();
    Provider {
        name: "scripted".into(),
        authorization_endpoint: Some(endpoint("/authorize")),
        token_endpoint: endpoint("/token?tenant=1"),
        device_endpoint: Some(endpoint("/device")),
        revocation_endpoint: None,
        scopes: vec!["mail".into(), "offline_access".into()],
        client_id: "gateway id".into(),
        credential: Credential::Secret { secret: SecretSource::Here("client:secret".into()), in_body: false },
        hosts: Vec::new(),
        mechanism: Mechanism::XOAuth2,
        trust: Trust::Pinned(provider.fingerprint),
        redirect: Redirect::parse("http://127.0.0.1/").unwrap(),
        consent_parameters: Vec::new(),
        consent_page: None,
        prefers_device: true,
    }
}
