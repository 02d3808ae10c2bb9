//! The gate: what is refused before any server is asked, and what is learned from a server's answers.

use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_shared::clock::{Clock, ManualClock};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::RealDisk;
use postern_shared::id::MailboxId;
use postern_shared::proto::sasl::{Credentials, Mechanism, PlainCredentials};
use secrecy::{ExposeSecret, SecretString};

use super::turns::LOGINS_PER_NETWORK;
use super::upstream::tests::scripted::{Act, Scripted, Shown, dialer, in_time};
use super::*;
use crate::login::BackOff;
use crate::mailbox::{Edit, PolicyEdit, Registry, Status};
use crate::settings::{ProxySettings, Settings};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

struct Stage {
    _dir: tempfile::TempDir,
    registry: Arc<Registry>,
    clock: Arc<ManualClock>,
    proxy: Proxy,
    mailbox: MailboxId,
}

fn settings(text: &str) -> ProxySettings {
    let variables = text.lines().filter_map(|line| line.split_once(" = "));
    let variables = variables
        .map(|(key, value)| (format!("POSTERN_GATEWAY__PROXY__{}", key.to_uppercase()), value.to_owned()));
    Settings::load(&RealDisk, Some(Path::new("/dev/null")), variables).unwrap().proxy
}

impl Stage {
    /// A proxy to `server`, when there is one, with these settings.
    fn new(server: Option<&Scripted>, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let registry = Registry::open(
            Arc::new(RealDisk),
            Arc::clone(&clock) as _,
            dir.path(),
            "gw.example",
            Argon2Cost::TESTS_ONLY,
        );
        let registry = Arc::new(registry.unwrap());
        let (mailbox, _) = registry.create("journal", "", None).unwrap();
        let own = server.map(|server| format!("trust = {}\nallow_private_targets = true\n", server.trust()));
        let settings = settings(&format!("{}{text}", own.unwrap_or_default()));
        let dialer = server.map_or_else(|| dialer(""), |server| server.dialer("50 s"));
        let back_off = BackOff { free: 2, ..BackOff::default() };
        let proxy =
            Proxy::with_dialer(&settings, back_off, dialer, Arc::clone(&registry), Arc::clone(&clock) as _);
        Self { _dir: dir, registry, clock, proxy, mailbox: mailbox.id }
    }

    fn user(&self, server: &Scripted) -> String {
        format!("anna%localhost:{}%{}", server.address.port(), self.mailbox)
    }

    async fn log_in(&self, user: &str) -> Result<Admitted<Pop3Server>, LoginRefusal> {
        self.log_in_with(user, "geheim").await
    }

    async fn log_in_with(&self, user: &str, password: &str) -> Result<Admitted<Pop3Server>, LoginRefusal> {
        self.log_in_from(CLIENT, user, password).await
    }

    async fn log_in_from(
        &self,
        client: IpAddr,
        user: &str,
        password: &str,
    ) -> Result<Admitted<Pop3Server>, LoginRefusal> {
        let plain = PlainCredentials { user: user.into(), password: password.into() };
        in_time(self.proxy.log_in_pop3(Entrance::Pop3s, client, Credentials::Password(plain))).await
    }

    async fn refusal(&self, user: &str) -> String {
        self.log_in(user).await.unwrap_err().to_string()
    }
}

const TAKES_ALL: &[Act] = &[
    Act::Tls,
    Act::Say(b"+OK\r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\nSASL PLAIN XOAUTH2\r\n.\r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\n"),
    Act::Hear,
    Act::Say(b"-ERR\r\n"),
    Act::Stall,
];
const TAKES_TOKENS: &[Act] = &[
    Act::Tls,
    Act::Say(b"+OK\r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\nSASL XOAUTH2 OAUTHBEARER\r\n.\r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\n"),
    Act::Hear,
    Act::Say(b"-ERR\r\n"),
    Act::Stall,
];
const TAKES_NONE: &[Act] = &[
    Act::Tls,
    Act::Say(b"+OK\r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\nSASL PLAIN\r\n.\r\n"),
    Act::Hear,
    Act::Say(b"-ERR [AUTH] wrong\r\n"),
];
const REFUSES_TOKENS: &[Act] = &[
    Act::Tls,
    Act::Say(b"+OK\r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\nSASL OAUTHBEARER\r\n.\r\n"),
    Act::Hear,
    Act::Say(b"-ERR [AUTH] no licence\r\n"),
];
const BUSY: &[Act] = &[Act::Tls, Act::Say(b"-ERR [SYS/TEMP] slow down\r\n")];

#[tokio::test]
async fn what_needs_no_server_is_refused_here() {
    let stage = Stage::new(None, "");
    let id = stage.mailbox;
    for (user, expected) in [
        ("anna".to_owned(), "a part is missing"),
        (format!("anna%h%{id}x"), "must end in the id"),
        ("anna%h%mbx-0000000000000001".to_owned(), "there is no mailbox mbx-0000000000000001"),
        (format!("anna%10.0.0.1%{id}"), "it has a private address"),
        (format!("anna%[::1]%{id}"), "it has a loopback address"),
        (format!("anna%localhost%{id}"), "it has a loopback address"),
    ] {
        let refusal = stage.refusal(&user).await;
        assert!(refusal.contains(expected), "{user}: {refusal}");
    }
    let edit = Edit { status: Some(Status::Suspended), ..Edit::default() };
    stage.registry.edit(id, edit).unwrap();
    assert!(stage.refusal(&format!("anna%h.example%{id}")).await.contains("suspended"));
    let policy = PolicyEdit { networks: vec!["198.51.100.0/24".parse().unwrap()], ..PolicyEdit::default() };
    let edit = Edit { status: Some(Status::Active), policy, ..Edit::default() };
    stage.registry.edit(id, edit).unwrap();
    assert!(stage.refusal(&format!("anna%h.example%{id}")).await.contains("takes nothing from that network"));
    let off = Stage::new(None, "enabled = false");
    assert!(
        !off.proxy.is_on() && off.refusal(&format!("anna%h.example%{}", off.mailbox)).await.contains("off")
    );
    let other = Stage::new(None, "divider = #");
    assert_eq!(other.proxy.divider(), '#');
    assert!(other.refusal(&format!("anna#10.0.0.1#{}", other.mailbox)).await.contains("private"));
}

#[tokio::test]
async fn an_account_has_so_many_sessions() {
    let server = Scripted::start(Shown::Good, TAKES_ALL).await;
    let stage = Stage::new(Some(&server), "sessions_per_account = 1");
    let user = stage.user(&server);
    let first = stage.log_in(&user).await.unwrap();
    assert_eq!(
        (first.route.mailbox, first.route.account.to_string()),
        (stage.mailbox, "anna%localhost".into())
    );
    assert!(
        server.heard().contains("AUTH PLAIN AGFubmEAZ2VoZWlt"),
        "the account's own name: {}",
        server.heard()
    );
    assert!(stage.refusal(&user).await.contains("too many sessions"));
    drop(first);
    assert!(stage.log_in(&user).await.is_ok());
}

/// Goal: guessing at a server through the gateway is slowed down here.
#[tokio::test]
async fn wrong_credentials_wait_and_nothing_else_does() {
    let server = Scripted::start(Shown::Good, TAKES_NONE).await;
    let stage = Stage::new(Some(&server), "");
    let user = stage.user(&server);
    for _ in 0..10 {
        assert!(stage.log_in(&format!("{user}x")).await.is_err(), "a bad route costs nothing");
    }
    for _ in 0..2 {
        let refusal = stage.log_in(&user).await.unwrap_err();
        assert!(refusal.is_wrong_credentials() && refusal.smtp_reply().code == 535, "{refusal}");
    }
    let asked = server.heard().len();
    assert!(matches!(stage.log_in(&user).await.unwrap_err(), LoginRefusal::MustWait(_)));
    assert_eq!(server.heard().len(), asked, "the server is left alone");
    stage.clock.advance(Duration::from_secs(2));
    assert!(stage.log_in(&user).await.unwrap_err().is_wrong_credentials());
}

/// Goal: a server that says "not now" is left alone for a while, and its words are passed on meanwhile.
#[tokio::test]
async fn a_server_that_throttles_is_left_alone() {
    let server = Scripted::start(Shown::Good, BUSY).await;
    let stage = Stage::new(Some(&server), "");
    let user = stage.user(&server);
    for wait in [1, 2] {
        let refusal = stage.log_in(&user).await.unwrap_err();
        assert!(matches!(refusal, LoginRefusal::Upstream(_)) && !refusal.is_wrong_credentials(), "{refusal}");
        let refusal = stage.log_in(&user).await.unwrap_err();
        assert!(
            matches!(&refusal, LoginRefusal::Throttled { words, .. } if words.contains("slow down")),
            "{refusal}"
        );
        assert_eq!(refusal.smtp_reply().code, 454);
        let elsewhere =
            stage.log_in_from(STRANGER, &user.replace("anna", "eva"), "geheim").await.unwrap_err();
        assert!(matches!(elsewhere, LoginRefusal::Upstream(_)), "others ask for themselves: {elsewhere}");
        stage.clock.advance(Duration::from_secs(wait));
    }
    assert_eq!(stage.proxy.clone().settings().sessions_per_account, 20);
    assert!(stage.clock.moment() > postern_shared::clock::Moment::default());
}

/// Gives `t0ken` to whoever knows `proxy-password`, and the next one when the server refused it; never decides on `stall`.
#[derive(Debug, Default)]
struct OneBinding {
    refused: Mutex<Vec<String>>,
    stalled: AtomicUsize,
}

impl Tokens for OneBinding {
    fn is_bound(&self, account: &Account) -> bool {
        account.user == "anna"
    }

    fn name_of(&self, account: &Account) -> String {
        format!("{}%one provider", account.user)
    }

    fn token<'t>(
        &'t self,
        _: &'t Account,
        password: SecretString,
        admission: Admission,
    ) -> Pin<Box<dyn Future<Output = Result<Token, NoToken>> + Send + 't>> {
        Box::pin(async move {
            if (admission.must_wait)() {
                return Err(NoToken::MustWait);
            }
            match password.expose_secret() {
                "proxy-password" => {
                    let token = format!("t{}ken", self.refused.lock().unwrap().len());
                    Ok(Token { token: token.into(), mechanism: Mechanism::OAuthBearer })
                }
                "revoked" => Err(NoToken::Revoked("invalid_grant".into())),
                "stall" => {
                    self.stalled.fetch_add(1, Ordering::SeqCst);
                    std::future::pending().await
                }
                _ => Err(NoToken::WrongPassword),
            }
        })
    }

    fn refused(&self, _: &Account, token: &SecretString) {
        self.refused.lock().unwrap().push(token.expose_secret().into());
    }
}

/// Goal: a bound account's server gets the broker's token and never the proxy password; a wrong one asks nobody.
#[tokio::test]
async fn a_bound_account_logs_in_with_the_brokers_token() {
    let server = Scripted::start(Shown::Good, TAKES_TOKENS).await;
    let mut stage = Stage::new(Some(&server), "");
    stage.proxy = stage.proxy.with_tokens(Arc::new(OneBinding::default()));
    let user = stage.user(&server);
    assert!(stage.log_in_with(&user, "guessed").await.unwrap_err().is_wrong_credentials());
    let revoked = stage.log_in_with(&user, "revoked").await.unwrap_err();
    assert!(!revoked.is_wrong_credentials() && revoked.pop3_reply().to_string().contains("bind it again"));
    assert_eq!(server.heard(), "", "nobody was asked");
    stage.log_in_with(&user, "proxy-password").await.unwrap();
    let heard = server.heard();
    assert!(heard.contains("AUTH OAUTHBEARER bixhPWFubmEsAWF1dGg9QmVhcmVyIHQwa2VuAQE="), "{heard}");
    let own = stage.log_in(&user.replace("anna", "ben")).await.unwrap_err().to_string();
    assert!(own.contains("takes no passwords"), "{own}");
}

/// Goal: a token that the server refuses is replaced by a fresh one once, counts as nobody's wrong password, and then the server
/// is left alone.
#[tokio::test]
async fn a_refused_token_is_no_wrong_password() {
    let server = Scripted::start(Shown::Good, REFUSES_TOKENS).await;
    let mut stage = Stage::new(Some(&server), "");
    let binding = Arc::new(OneBinding::default());
    stage.proxy = stage.proxy.with_tokens(Arc::clone(&binding) as _);
    let user = stage.user(&server);
    let refusal = stage.log_in_with(&user, "proxy-password").await.unwrap_err();
    assert!(
        matches!(&refusal, LoginRefusal::TokenNotTaken(_)) && !refusal.is_wrong_credentials(),
        "{refusal}"
    );
    assert_eq!(*binding.refused.lock().unwrap(), ["t0ken", "t1ken"]);
    assert!(refusal.pop3_reply().to_string().contains("no licence"), "{refusal}");
    let next = stage.log_in_with(&user, "proxy-password").await.unwrap_err();
    assert!(matches!(next, LoginRefusal::Throttled { .. }), "{next}");
    for wait in [1, 2, 4] {
        stage.clock.advance(Duration::from_secs(wait));
        let refusal = stage.log_in_with(&user, "proxy-password").await.unwrap_err();
        assert!(
            matches!(refusal, LoginRefusal::TokenNotTaken(_)),
            "never made to wait as a guesser: {refusal}"
        );
    }
}

/// Goal: what a server said to a bound account is for those who know its password: others learn nothing of it, nor does who goes
/// on with the password of a binding that was revoked.
#[tokio::test]
async fn a_servers_words_are_for_those_who_know_the_password() {
    let server = Scripted::start(Shown::Good, REFUSES_TOKENS).await;
    let mut stage = Stage::new(Some(&server), "");
    stage.proxy = stage.proxy.with_tokens(Arc::new(OneBinding::default()));
    let user = stage.user(&server);
    assert!(stage.log_in_with(&user, "proxy-password").await.is_err());
    let asked = server.heard().len();
    let revoked = stage.log_in_with(&user, "revoked").await.unwrap_err();
    assert!(matches!(revoked, LoginRefusal::Token(NoToken::Revoked(_))), "{revoked}");
    let guessed = stage.log_in_with(&user, "guessed").await.unwrap_err();
    assert!(matches!(guessed, LoginRefusal::Token(NoToken::WrongPassword)), "{guessed}");
    let right = stage.log_in_with(&user, "proxy-password").await.unwrap_err();
    assert!(
        matches!(&right, LoginRefusal::Throttled { words, .. } if words.contains("no licence")),
        "{right}"
    );
    assert_eq!(server.heard().len(), asked, "the server is left alone");
}

/// Goal: guesses at the names of one provider's servers count together: each name is no new start.
/// Method: two addresses, one guess each, at two names; the account has no more without a wait.
#[tokio::test]
async fn guesses_count_at_all_names_of_a_provider() {
    let mut stage = Stage::new(None, "");
    stage.proxy = stage.proxy.with_tokens(Arc::new(OneBinding::default()));
    let [pop, smtp] = ["pop", "smtp"].map(|host| format!("anna%{host}.example%{}", stage.mailbox));
    for (client, user) in [(CLIENT, &pop), (STRANGER, &smtp)] {
        assert!(stage.log_in_from(client, user, "guessed").await.unwrap_err().is_wrong_credentials());
    }
    for (client, user) in [(CLIENT, &pop), (CLIENT, &smtp), (STRANGER, &pop)] {
        let refusal = stage.log_in_from(client, user, "guessed").await.unwrap_err();
        assert!(matches!(refusal, LoginRefusal::MustWait(_)), "{refusal}");
    }
}

/// Goal: no password that a gateway made reaches a server, whatever is written before it.
#[tokio::test]
async fn a_generated_password_is_sent_to_no_server() {
    let server = Scripted::start(Shown::Good, TAKES_ALL).await;
    let mut stage = Stage::new(Some(&server), "");
    let (_, secret) = stage.registry.create("another", "", None).unwrap();
    let secret = secret.expose_secret().to_owned();
    for broker in [false, true] {
        if broker {
            stage.proxy = stage.proxy.clone().with_tokens(Arc::new(OneBinding::default()));
        }
        let user = stage.user(&server).replace("anna", "ben");
        let refusal = stage.log_in_with(&user, &secret).await.unwrap_err();
        assert!(matches!(refusal, LoginRefusal::GeneratedPassword) && !refusal.is_wrong_credentials());
    }
    assert_eq!(server.heard(), "", "nobody was asked");
}

/// Goal: logins that come to nothing keep nobody out: neither the owner of the account nor another network.
/// Method: one session an account, and a network's turns all taken by logins that never end.
#[tokio::test]
async fn strangers_logins_keep_nobody_out() {
    let server = Scripted::start(Shown::Good, TAKES_TOKENS).await;
    let mut stage = Stage::new(Some(&server), "sessions_per_account = 1");
    let binding = Arc::new(OneBinding::default());
    stage.proxy = stage.proxy.with_tokens(Arc::clone(&binding) as _);
    let user = stage.user(&server);
    let stalled = (0..LOGINS_PER_NETWORK).map(|_| {
        let plain = PlainCredentials { user: user.clone(), password: "stall".into() };
        let proxy = stage.proxy.clone();
        tokio::spawn(async move {
            let login = proxy.log_in_pop3(Entrance::Pop3s, STRANGER, Credentials::Password(plain)).await;
            login.map(|_| ()).unwrap_err()
        })
    });
    let stalled: Vec<_> = stalled.collect();
    while binding.stalled.load(Ordering::SeqCst) < LOGINS_PER_NETWORK {
        tokio::task::yield_now().await;
    }
    let mut late = std::pin::pin!(stage.proxy.log_in_pop3(
        Entrance::Pop3s,
        STRANGER,
        Credentials::Password(PlainCredentials { user: user.clone(), password: "proxy-password".into() }),
    ));
    assert!(polled_once(late.as_mut()).await.is_none(), "the stranger's next login waits for a turn");
    let session = stage.log_in_with(&user, "proxy-password").await.unwrap();
    assert!(stage.log_in_with(&user, "proxy-password").await.is_err(), "the account has one session");
    drop(session);
    stalled.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(in_time(late).await.is_ok(), "its turn has come");
}

/// What the future has to say now.
async fn polled_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
