use super::scripted::{Answer, http, tokens};
use super::*;
use tokio::sync::Semaphore;

use super::super::PooledBroker;
use crate::proxy::tokens::{Admission, NoToken, Tokens};

/// Goal: without the password nobody gets anything, and nobody outside hears of it.
#[tokio::test]
async fn a_wrong_password_opens_nothing_and_asks_nobody() {
    let world = World::new().await;
    let stranger = account_in("bert@example.com%mail.example.net", '%').unwrap();
    assert!(world.broker.is_bound(&account()) && !world.broker.is_bound(&stranger));
    for (account, password) in
        [(&account(), "wrong"), (&account(), ""), (&stranger, "bcdefgh-jkmnpqr-stuvwx-yz2345")]
    {
        assert!(world.broker.open(account, &password.into()).is_none(), "{account} {password}");
    }
    assert_eq!(world.provider.requests().len(), 0);
}

/// Goal: the delay of an answer does not tell who has a binding.
/// Method: computing time of this thread at a cost that stands out, for a wrong password and for nobody.
#[tokio::test]
async fn an_account_without_binding_costs_the_same() {
    let cost = Argon2Cost { memory_kib: 4096, passes: 2, lanes: 1 };
    let world = World::new().await;
    let (clock, providers) = (Arc::clone(&world.clock) as _, std::slice::from_ref(&world.settings));
    let broker =
        Broker::load(Arc::new(RealDisk), clock, world.dir.path(), providers, Deadlines::default(), cost)
            .unwrap();
    let key = super::super::account_key(&account());
    broker
        .store(Binding::seal(&key, &world.settings, &FIRST.into(), &password(), NOW, cost).unwrap())
        .unwrap();
    let stranger = account_in("bert%mail.example.net", '%').unwrap();
    let computing = |account: &Account| {
        let now = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let nanoseconds =
            |t: rustix::time::Timespec| i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec);
        let before = now();
        assert!(broker.open(account, &"wrong".into()).is_none());
        nanoseconds(now()) - nanoseconds(before)
    };
    let least = |account: &Account| (0..9).map(|_| computing(account)).min().unwrap();
    let (bound, nobody) = (least(&account()), least(&stranger));
    let (less, more) = (bound.min(nobody), bound.max(nobody));
    assert!(more * 2 < less * 3, "{bound} ns with a binding, {nobody} ns without");
}

#[tokio::test]
async fn an_access_token_serves_until_a_minute_before_its_end() {
    let world = World::new().await;
    world.provider.will([Answer::tokens("first", None), Answer::tokens("second", None)]);
    assert_eq!(world.token().await, "first");
    world.pass(3539);
    assert_eq!(world.token().await, "first");
    world.pass(1);
    assert_eq!(world.token().await, "second");
    let requests = world.provider.requests();
    assert_eq!(requests.len(), 2);
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token?tenant=1 HTTP/1.1\r\n"), "{head}");
    // RFC 6749 §2.3.1: "gateway+id:client%3Asecret".
    assert!(head.contains("authorization: Basic Z2F0ZXdheStpZDpjbGllbnQlM0FzZWNyZXQ="), "{head}");
    assert_eq!(body, format!("grant_type=refresh_token&refresh_token={FIRST}"));
    assert_eq!(world.broker.list()[0].used, Some(UnixMillis(NOW.0 + 3_540_000)));
}

/// Goal: what a provider says of a token's life is believed within reason.
#[tokio::test]
async fn a_token_of_unknown_or_short_life_serves_one_login() {
    let world = World::new().await;
    let token = |life: &str| {
        Answer::json("200 OK", &format!("{{\"access_token\":\"a\",\"token_type\":\"bearer\"{life}}}"))
    };
    for life in
        ["", ",\"expires_in\":59", ",\"expires_in\":\"30\"", ",\"expires_in\":-1", ",\"expires_in\":\"soon\""]
    {
        world.provider.will([token(life)]);
        assert_eq!(world.token().await, "a", "{life}");
    }
    world.provider.will([token(",\"expires_in\":\"3600\""), token(",\"expires_in\":1e300")]);
    world.token().await;
    world.token().await;
    assert_eq!(world.provider.requests().len(), 6, "the last one was kept");
}

/// Goal: many logins at once ask the provider once.
#[tokio::test]
async fn concurrent_logins_refresh_once() {
    let world = World::new().await;
    let release = Arc::new(Semaphore::new(0));
    world.provider.will([Answer::Held(Arc::clone(&release), http("200 OK", "", &tokens("shared", None)))]);
    let open = || world.broker.open(&account(), &password()).unwrap();
    let logins: Vec<_> = (0..20)
        .map(|_| {
            let (broker, open) = (Arc::clone(&world.broker), open());
            tokio::spawn(async move { broker.access_token(open).await })
        })
        .collect();
    world.provider.came.acquire().await.unwrap().forget();
    release.add_permits(1);
    for login in logins {
        assert_eq!(login.await.unwrap().unwrap().token.expose_secret(), "shared");
    }
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn a_consent_that_is_gone_says_what_to_do_and_is_not_asked_for_again_at_once() {
    let world = World::new().await;
    let gone = "{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS700082: expired\\r\\n.\\u0000due to inactivity\"}";
    world.provider.will([Answer::json("400 Bad Request", gone), Answer::tokens("again", None)]);
    let error = world.login().await.unwrap_err();
    assert!(matches!(error, BrokerError::ConsentGone { .. }) && !error.is_temporary());
    let text = error.to_string();
    assert!(
        text.ends_with(
            "run `postern-gateway oauth bind anna@example.com%mail.example.net --provider scripted` again"
        ),
        "{text}"
    );
    assert!(text.contains("AADSTS700082: expired  . due") && !text.contains(char::is_control), "{text}");
    assert_eq!(world.login().await.unwrap_err(), error);
    assert_eq!(world.provider.requests().len(), 1);
    world.bind("refresh-token-of-another-consent");
    assert_eq!(world.token().await, "again");
    assert!(world.provider.requests()[1].ends_with("refresh_token=refresh-token-of-another-consent"));
}

#[tokio::test]
async fn errors_tell_whose_they_are() {
    let world = World::new().await;
    for (status, body, temporary, expected) in [
        ("401 Unauthorized", "{\"error\":\"invalid_client\"}", false, "refuses (invalid_client); check"),
        (
            "400 Bad Request",
            "{\"error\":\"unauthorized_client\",\"error_description\":\"no\"}",
            false,
            "client: no",
        ),
        ("400 Bad Request", "", false, "status 400: without a reason"),
        ("503 Busy", "", true, "status 503"),
        ("429 Slow down", "{\"error\":\"invalid_grant\"}", true, "status 429"),
        ("200 OK", "{\"error\":\"temporarily_unavailable\"}", true, "temporarily_unavailable"),
    ] {
        world.provider.will([Answer::json(status, body)]);
        let error = world.login().await.unwrap_err();
        assert_eq!(error.is_temporary(), temporary, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        world.pass(61);
    }
    world.provider.will([Answer::Raw(http("503 Busy", "Retry-After: 120\r\n", ""))]);
    world.login().await.unwrap_err();
    world.pass(119);
    world.login().await.unwrap_err();
    assert_eq!(world.provider.requests().len(), 7, "it was left alone as long as it asked for");
}

/// Goal: a provider that says no again and again without saying why has forgotten the consent: the person is sent to bind
/// again, not to try again later. A better answer, also one that says why, begins anew.
#[tokio::test]
async fn refusals_without_a_reason_end_the_consent_at_last() {
    let world = World::new().await;
    let bare = || Answer::json("400 Bad Request", "");
    let told = async |answer: Answer, seconds: u64| {
        world.provider.will([answer]);
        let error = world.login().await.unwrap_err();
        world.pass(seconds);
        NoToken::from(error)
    };
    for seconds in [61, 61, 61, 400] {
        assert!(matches!(told(bare(), seconds).await, NoToken::Unavailable(_)), "three, but not for so long");
    }
    assert!(matches!(told(Answer::json("503 Busy", ""), 300).await, NoToken::Unavailable(_)));
    for seconds in [300, 300] {
        assert!(matches!(told(bare(), seconds).await, NoToken::Unavailable(_)), "begun anew");
    }
    let given_up = told(bare(), 61).await;
    let NoToken::Revoked(words) = &given_up else { panic!("{given_up}") };
    assert!(words.contains("status 400: without a reason") && words.contains("oauth bind"), "{words}");
    world.provider.will([Answer::json("200 OK", "{\"access_token\":\"a\",\"token_type\":\"bearer\"}")]);
    assert_eq!(world.token().await, "a", "it is asked all the same");
    assert!(matches!(told(bare(), 61).await, NoToken::Unavailable(_)), "begun anew");
}

/// Goal: what was revoked or bound anew while a login was on its way neither comes back nor serves.
#[tokio::test]
async fn a_revoked_binding_does_not_come_back() {
    let world = World::new().await;
    let release = Arc::new(Semaphore::new(0));
    world
        .provider
        .will([Answer::Held(Arc::clone(&release), http("200 OK", "", &tokens("late", Some("new"))))]);
    let open = || world.broker.open(&account(), &password()).unwrap();
    let (broker, opened, early) = (Arc::clone(&world.broker), open(), open());
    let login = tokio::spawn(async move { broker.access_token(opened).await });
    world.provider.came.acquire().await.unwrap().forget();
    world.broker.revoke(&account()).unwrap();
    release.add_permits(1);
    let error = login.await.unwrap().unwrap_err();
    assert!(matches!(error, BrokerError::Replaced { .. }), "{error}");
    assert!(matches!(world.broker.access_token(early).await, Err(BrokerError::Replaced { .. })));
    assert!(world.broker.list().is_empty() && world.broker.is_bound(&account()));
    assert!(matches!(world.broker.revoke(&account()), Err(BrokerError::Revoked { .. })));
    assert!(world.broker.open(&account(), &password()).is_none());
}

/// Goal: a refresh token goes to whom it was given by, whatever the settings say now.
#[tokio::test]
async fn other_settings_want_another_consent() {
    let mut world = World::new().await;
    let before = world.settings.clone();
    let mut elsewhere = before.clone();
    elsewhere.token_endpoint = Endpoint::parse("https://127.0.0.1:1/token").unwrap();
    let other_client = Provider { client_id: "another".into(), ..before.clone() };
    let missing = Provider { name: "another".into(), ..before };
    for (settings, expected) in
        [(elsewhere, "another token_endpoint"), (other_client, "another client_id"), (missing, "is missing")]
    {
        world.settings = settings;
        world = world.restarted(Arc::new(RealDisk));
        let error = world.login().await.unwrap_err();
        assert!(error.to_string().contains(expected) && !error.is_temporary(), "{error}");
    }
    assert_eq!(world.provider.requests().len(), 0);
}

/// Goal: nothing that is written for people to read holds a secret.
#[tokio::test]
async fn debugging_output_holds_no_secret() {
    let world = World::new().await;
    world.provider.will([Answer::tokens("access-token-value", Some("another-refresh-token"))]);
    let open = world.broker.open(&account(), &password()).unwrap();
    let mut shown = format!("{open:?}");
    let token = world.broker.access_token(open).await.unwrap();
    shown += &format!("{token:?} {:?} {:?}", world.broker, world.settings);
    let binding = world.broker.list().remove(0);
    shown += &format!("{binding:?}");
    let fields: serde_json::Value = serde_json::from_slice(&binding.to_json().unwrap()).unwrap();
    for sealed in ["salt", "verifier", "sealed"] {
        let value = fields[sealed].as_str().unwrap();
        let octets = format!("{:?}", &hex::decode(value).unwrap()[..8]);
        assert!(
            !shown.contains(value) && !shown.contains(octets.trim_matches(['[', ']'])),
            "{sealed} in {shown}"
        );
    }
    for secret in
        ["access-token-value", "another-refresh-token", FIRST, "client:secret", password().expose_secret()]
    {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn an_account_is_the_same_with_and_without_mailbox_port_and_capitals() {
    let key = |login: &str| account_in(login, '%').map(|account| super::super::account_key(&account));
    let expected = "anna@example.com%outlook.office365.com".to_owned();
    for login in [
        "anna@example.com%outlook.office365.com",
        "Anna@Example.com%Outlook.Office365.com:993",
        "anna@example.com%outlook.office365.com%mbx-000000000000000a",
    ] {
        assert_eq!(key(login), Ok(expected.clone()), "{login}");
    }
    for wrong in ["", "anna@example.com", "anna@example.com%", "%host", "anna%mbx-000000000000000a"] {
        assert!(key(wrong).is_err(), "{wrong}");
    }
}

/// Goal: the gate hears of a wrong password, of a consent that is gone, and of trouble that passes, each as such.
#[tokio::test]
async fn the_gate_gets_tokens_or_the_reason() {
    let world = World::new().await;
    let pool = Arc::new(crate::login::LoginPool::new(1, 10));
    let gate = PooledBroker::new(Arc::clone(&world.broker), pool);
    assert!(gate.is_bound(&account()));
    let wrong = gate.token(&account(), "wrong".into(), Admission::anybody()).await.unwrap_err();
    assert_eq!(wrong, NoToken::WrongPassword);
    assert_eq!(world.provider.requests().len(), 0);
    world.provider.will([
        Answer::json("503 Busy", ""),
        Answer::json("400 Bad Request", "{\"error\":\"invalid_grant\"}"),
    ]);
    let busy = gate.token(&account(), password(), Admission::anybody()).await.unwrap_err();
    assert!(matches!(busy, NoToken::Unavailable(_)), "{busy}");
    world.pass(6);
    let gone = gate.token(&account(), password(), Admission::anybody()).await.unwrap_err();
    assert!(matches!(&gone, NoToken::Revoked(words) if words.contains("oauth bind")), "{gone}");
    world.pass(61);
    world.provider.will([Answer::tokens("for-the-gate", None)]);
    let token = gate.token(&account(), password(), Admission::anybody()).await.unwrap();
    assert_eq!((token.token.expose_secret(), token.mechanism), ("for-the-gate", Mechanism::XOAuth2));
}

/// Goal: who is known goes ahead of strangers, and whose wait began while it stood in line is not looked at.
/// Method: one thread, held; each login notes when its turn comes. The password of those that must wait is right.
#[tokio::test]
async fn proxy_passwords_wait_their_turn_as_others_do() {
    let world = World::new().await;
    let pool = Arc::new(crate::login::LoginPool::new(1, 10));
    let gate = PooledBroker::new(Arc::clone(&world.broker), Arc::clone(&pool));
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let held = tokio::spawn(async move {
        pool.run(true, move || {
            began.send(()).unwrap();
            held.recv().unwrap();
        })
        .await
    });
    begun.await.unwrap();
    let turns = Arc::new(std::sync::Mutex::new(Vec::new()));
    let admission = |name: &'static str, known| {
        let turns = Arc::clone(&turns);
        let must_wait = move || {
            turns.lock().unwrap().push(name);
            true
        };
        Admission { known, must_wait: Box::new(must_wait) }
    };
    let account = account();
    let (stranger, known, ()) = tokio::join!(
        biased;
        gate.token(&account, password(), admission("stranger", false)),
        gate.token(&account, password(), admission("known", true)),
        async { release.send(()).unwrap() },
    );
    assert_eq!((stranger.unwrap_err(), known.unwrap_err()), (NoToken::MustWait, NoToken::MustWait));
    assert_eq!(*turns.lock().unwrap(), ["known", "stranger"]);
    assert_eq!(world.provider.requests().len(), 0);
    held.await.unwrap().unwrap();
}
