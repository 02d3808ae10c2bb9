use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::{Disk, Fault, FaultyDisk, RealDisk, Step, write_atomic};
use secrecy::{ExposeSecret, SecretString};

use super::totp::Secret;
use super::*;

struct Stage {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    disk: Arc<dyn Disk>,
}

impl Stage {
    fn new() -> Self {
        Self::on(Arc::new(RealDisk))
    }

    fn on(disk: Arc<dyn Disk>) -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
        Self { dir: tempfile::tempdir().unwrap(), clock, disk }
    }

    fn open(&self) -> Administrators {
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock) as Arc<dyn Clock>);
        Administrators::open(disk, clock, &self.dir.path().join("console"), Argon2Cost::TESTS_ONLY)
    }

    fn tokens(&self) -> Tokens {
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock) as Arc<dyn Clock>);
        Tokens::open(disk, clock, &self.dir.path().join("console"))
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("console/administrators.json")
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn first(administrators: &Administrators) -> SecretString {
    administrators.first_sign_in("admin", &secret("admin"), Place::Here).unwrap().unwrap().1
}

/// Goal: the first password works once, also when many try it at the same moment, and never by the usual way in.
#[test]
fn the_first_password_works_once() {
    let stage = Stage::new();
    let administrators = stage.open();
    assert!(administrators.is_first());
    assert!(administrators.check_password("admin", &secret("admin")).is_none(), "only at the first sign-in");
    assert!(administrators.first_sign_in("admin", &secret("Admin"), Place::Here).unwrap().is_none());
    assert!(administrators.first_sign_in("root", &secret("admin"), Place::Here).unwrap().is_none());
    let passwords: Vec<SecretString> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| administrators.first_sign_in("admin", &secret("admin"), Place::Here)))
            .collect();
        tries
            .into_iter()
            .filter_map(|one| one.join().unwrap().ok().flatten())
            .map(|(_, password)| password)
            .collect()
    });
    let [password] = &passwords[..] else { panic!("{} had success", passwords.len()) };
    assert!(administrators.check_password("Admin", password).is_some());
    let again = stage.open();
    assert!(!again.is_first() && again.check_password("admin", password).is_some());
    assert!(matches!(
        again.first_sign_in("admin", &secret("admin"), Place::Here),
        Err(AccountError::NotFirst)
    ));
    assert!(again.check_password("admin", &secret("admin")).is_none());
}

/// Goal: a first sign-in whose password cannot be stored has not happened.
#[test]
fn a_first_sign_in_that_is_not_stored_can_be_repeated() {
    let fault = Fault::nth(Step::Sync, 0, std::io::ErrorKind::StorageFull);
    let stage = Stage::on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault)));
    let administrators = stage.open();
    assert!(matches!(
        administrators.first_sign_in("admin", &secret("admin"), Place::Here),
        Err(AccountError::Io { .. })
    ));
    assert!(administrators.is_first() && stage.open().is_first());
    first(&administrators);
}

#[test]
fn somebody_always_may_do_everything() {
    let stage = Stage::new();
    let administrators = stage.open();
    first(&administrators);
    let last = |result: Result<Account, AccountError>| {
        assert!(matches!(result, Err(AccountError::LastAdministrator(name)) if name == "admin"));
    };
    last(administrators.remove("admin"));
    last(administrators.set_role("admin", Role::Viewer));
    administrators.create("anna", Role::Administrator).unwrap();
    assert_eq!(administrators.remove("ADMIN").unwrap().name, "admin");
    assert_eq!(stage.open().list().unwrap().len(), 1);
    for bad in ["", "a b", "-a", "ä", &"a".repeat(65), "a/b"] {
        assert!(matches!(administrators.create(bad, Role::Viewer), Err(AccountError::BadName(_))), "{bad:?}");
    }
    assert!(matches!(administrators.create("Anna", Role::Viewer), Err(AccountError::Taken(_))));
}

/// Goal: whatever changes what somebody may do ends the sessions.
#[test]
fn changes_end_sessions() {
    let stage = Stage::new();
    let administrators = stage.open();
    first(&administrators);
    let (account, password) = administrators.create("anna", Role::Operator).unwrap();
    assert!(account.password_is_given);
    let chosen = secret("wir gehen heute schwimmen");
    let changed = administrators.change_password("anna", &password, &chosen).unwrap();
    assert!(changed.generation != account.generation && !changed.password_is_given);
    assert!(matches!(
        administrators.change_password("anna", &password, &chosen),
        Err(AccountError::WrongPassword)
    ));
    let same = administrators.change_password("anna", &chosen, &chosen);
    assert!(matches!(same, Err(AccountError::BadPassword(BadPassword::Same))));
    let demoted = administrators.set_role("anna", Role::Viewer).unwrap();
    assert_ne!(demoted.generation, changed.generation);
    let (reset, new) = administrators.reset_password("anna", false).unwrap();
    assert_ne!(reset.generation, demoted.generation);
    assert!(administrators.check_password("anna", &chosen).is_none());
    assert!(administrators.check_password("anna", &new).is_some());
}

#[test]
fn one_time_passwords_and_recovery_codes_serve_once_also_after_a_restart() {
    let stage = Stage::new();
    let administrators = stage.open();
    first(&administrators);
    let device = Secret::generate();
    let code = |stage: &Stage| device.code(stage.clock.wall().0 / 30_000).to_string();
    let wrong = administrators.set_totp("admin", &device, "000000x");
    assert!(matches!(wrong, Err(AccountError::Factor(FactorError::WrongCode))));
    let (_, codes) = administrators.set_totp("admin", &device, &code(&stage)).unwrap();
    let totp = |administrators: &Administrators| {
        administrators.check_factor("admin", &Proof::Totp(secret(&code(&stage)))).is_ok()
    };
    assert!(!totp(&administrators), "used when it was set up");
    stage.clock.advance(Duration::from_secs(30));
    assert!(totp(&administrators) && !totp(&administrators));
    let stored = String::from_utf8(RealDisk.read(&stage.file(), 100_000).unwrap()).unwrap();
    assert!(!stored.contains(&hex::encode(device.bytes())) && !stored.contains(codes[0].expose_secret()));
    let recover = |administrators: &Administrators, code: &str| {
        administrators.check_factor("admin", &Proof::RecoveryCode(secret(code))).is_ok()
    };
    assert_eq!(codes.len(), 10);
    assert!(recover(&administrators, &codes[0].expose_secret().to_lowercase().replace('-', " ")));
    let again = stage.open();
    assert!(!totp(&again), "the code of this step has served");
    assert!(!recover(&again, codes[0].expose_secret()) && recover(&again, codes[1].expose_secret()));
    assert_eq!(again.account("admin").unwrap().recovery_codes, 8);
    let (account, _) = again.reset_password("admin", false).unwrap();
    assert!(account.totp, "a new password leaves the second factor");
    assert!(!again.reset_password("admin", true).unwrap().0.totp);
}

#[test]
fn a_damaged_file_lets_nobody_in_and_is_left_alone() {
    let stage = Stage::new();
    let password = first(&stage.open());
    write_atomic(&RealDisk, &stage.file(), b"{\"version\": 2, \"administrators\": []}").unwrap();
    let administrators = stage.open();
    assert!(!administrators.is_first() && administrators.check_password("admin", &password).is_none());
    let first = administrators.first_sign_in("admin", &secret("admin"), Place::Here);
    assert!(matches!(first, Err(AccountError::Damaged { .. })));
    let error = administrators.reset_password("admin", true).unwrap_err().to_string();
    assert!(error.contains("version 2") && error.contains("restore it from a backup"), "{error}");
}

#[test]
fn tokens_are_stored_as_hashes_expire_and_are_removed() {
    let stage = Stage::new();
    let tokens = stage.tokens();
    let expires = Some(stage.clock.wall().plus(Duration::from_secs(60)));
    let new = |name: &str, expires| NewToken {
        name: name.into(),
        owner: "anna".into(),
        scopes: vec![Scope::Read],
        expires,
    };
    let (shown, text) = tokens.create(new("nightly", expires)).unwrap();
    let (_, lasting) = tokens.create(new("lasting", None)).unwrap();
    assert_eq!(shown.last_used, None);
    let tokens = stage.tokens();
    assert_eq!(tokens.find(text.expose_secret()).unwrap().id, shown.id);
    assert!(tokens.list().unwrap()[0].last_used.is_some());
    assert!(tokens.find(&text.expose_secret().replace('a', "b").replace('0', "1")).is_none());
    let stored = RealDisk.read(&stage.dir.path().join("console/tokens.json"), 100_000).unwrap();
    assert!(!String::from_utf8(stored).unwrap().contains(&text.expose_secret()[8..]));
    stage.clock.advance(Duration::from_secs(60));
    assert!(tokens.find(text.expose_secret()).is_none() && tokens.find(lasting.expose_secret()).is_some());
    assert_eq!(tokens.remove(|token| token.owner == "anna").unwrap().len(), 2);
    assert!(stage.tokens().find(lasting.expose_secret()).is_none());
}

/// Goal: from another machine nobody is first who cannot show the setup code; a restart makes another one, and it is worth
/// nothing once somebody has signed in.
#[test]
fn the_first_sign_in_from_elsewhere_takes_the_setup_code() {
    let stage = Stage::new();
    let old = stage.open().setup_code().unwrap();
    let administrators = stage.open();
    let code = administrators.setup_code().unwrap();
    let wrong = [None, Some(&old)];
    for given in wrong {
        let refused = administrators.first_sign_in("admin", &secret("admin"), Place::Elsewhere(given));
        assert!(matches!(refused, Err(AccountError::SetupCode)), "{refused:?}");
    }
    let place = Place::Elsewhere(Some(&code));
    assert!(administrators.first_sign_in("admin", &secret("x"), place).unwrap().is_none());
    assert!(administrators.first_sign_in("admin", &secret("admin"), place).unwrap().is_some());
    assert!(matches!(administrators.setup_code(), Err(AccountError::NotFirst)));
    assert!(!read(&stage.dir.path().join("console")).contains(code.expose_secret()));
}

fn read(dir: &std::path::Path) -> String {
    let files = RealDisk.files(dir).unwrap();
    let octets = files.iter().flat_map(|file| RealDisk.read(file, 1 << 20).unwrap());
    String::from_utf8_lossy(&octets.collect::<Vec<u8>>()).into_owned()
}
