use super::scripted::Answer;
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{PooledBroker, account_key};
use crate::login::LoginPool;
use crate::proxy::Host;
use crate::proxy::tokens::{Admission, NoToken, Tokens};

/// A world whose provider receives at one host and sends at another.
async fn two_hosts() -> World {
    let mut world = World::new().await;
    let host = |name: &str| Host::parse(name).unwrap();
    world.settings.hosts = vec![host("mail.example.net"), host("smtp.example.net")];
    world.restarted(Arc::new(RealDisk))
}

fn at(login: &str) -> Account {
    account_in(login, '%').unwrap()
}

fn gate(world: &World) -> PooledBroker {
    PooledBroker::new(Arc::clone(&world.broker), Arc::new(LoginPool::new(1, 10)))
}

const SPELLINGS: [&str; 7] = [
    "anna@example.com%mail.example.net",
    "anna@example.com%smtp.example.net",
    "ANNA@Example.com%SMTP.example.net:587",
    " anna@example.com%mail.example.net",
    "anna@example.com\u{a0}%smtp.example.net",
    "\u{feff}anna@exam\u{ad}ple.com%mail.example.net.",
    "\u{ff41}nna@example.com%smtp.example.net%mbx-000000000000000a",
];

/// Goal: one consent serves receiving and sending, and no way of writing the account sends the proxy password to the server.
#[tokio::test]
async fn an_account_is_bound_however_it_is_written() {
    let world = two_hosts().await;
    let gate = gate(&world);
    world.provider.will([Answer::tokens("shared", None)]);
    for spelling in SPELLINGS {
        assert!(gate.is_bound(&at(spelling)), "{spelling:?}");
        let token = gate.token(&at(spelling), password(), Admission::anybody()).await.unwrap();
        assert_eq!(token.token.expose_secret(), "shared", "{spelling:?}");
    }
    assert_eq!(world.provider.requests().len(), 1);
    for other in ["anna@example.com%mail.example.org", "bert@example.com%smtp.example.net"] {
        assert!(!gate.is_bound(&at(other)), "{other}");
    }
}

/// Goal: letters beyond ASCII, composed or not, small or capital, are one account.
#[tokio::test]
async fn a_binding_is_found_in_every_form_of_its_letters() {
    let world = World::new().await;
    let key = account_key(&at("JOS\u{c9}@example.com%mail.example.net"));
    assert_eq!(key, "jos\u{e9}@example.com%mail.example.net");
    world.broker.store(world.binding_of(&key, &password())).unwrap();
    for spelling in ["jos\u{e9}", "jose\u{301}", "JOSE\u{301}", "Jos\u{c9}"] {
        let account = at(&format!("{spelling}@example.com%mail.example.net"));
        assert!(world.broker.open(&account, &password()).is_some(), "{spelling}");
    }
    assert!(!world.broker.is_bound(&at("jose@example.com%mail.example.net")));
}

/// Goal: what was bound before host names were one still opens, each by its own password, until the account is bound anew.
#[tokio::test]
async fn bindings_of_old_open_until_the_account_is_bound_anew() {
    let world = two_hosts().await;
    let (sending, of_old) = ("anna@example.com%smtp.example.net", SecretString::from("password of old"));
    // As the first version would have stored it, which knew capitals of ASCII only.
    let odd = "JOS\u{c9}@example.com%mail.example.net".to_ascii_lowercase();
    world.write(&world.binding_of(sending, &of_old));
    world.write(&world.binding_of(&odd, &of_old));
    let world = world.restarted(Arc::new(RealDisk));
    let opens = |world: &World, login: &str, password: &SecretString| {
        world.broker.open(&at(login), password).is_some()
    };
    assert!(opens(&world, sending, &of_old) && !opens(&world, sending, &password()));
    assert!(opens(&world, SPELLINGS[0], &password()) && !opens(&world, SPELLINGS[0], &of_old));
    for spelling in [&odd, "jose\u{301}@example.com%smtp.example.net"] {
        assert!(opens(&world, spelling, &of_old), "{spelling}");
    }
    world.bind(FIRST);
    let world = world.restarted(Arc::new(RealDisk));
    assert!(opens(&world, sending, &password()) && !opens(&world, sending, &of_old));
    assert_eq!(world.broker.list().len(), 2, "one for each account");
}

/// Goal: after revoking, clients that go on with the proxy password show it to nobody, under no name of the account and after
/// a restart neither; every password is told what to do, until the account is bound again or forgotten.
#[tokio::test]
async fn a_revoked_account_stays_bound_until_it_is_forgotten() {
    let mut world = two_hosts().await;
    for forget in [false, true] {
        world.broker.revoke(&at(SPELLINGS[1])).unwrap();
        world = world.restarted(Arc::new(RealDisk));
        let gate = gate(&world);
        for spelling in SPELLINGS {
            assert!(gate.is_bound(&at(spelling)), "{spelling:?}");
            for password in [password(), "another".into()] {
                let refusal = gate.token(&at(spelling), password, Admission::anybody()).await.unwrap_err();
                let NoToken::Revoked(words) = &refusal else { panic!("{refusal}") };
                let bind =
                    "oauth bind anna@example.com%mail.example.net --provider scripted` to bind it again";
                assert!(words.contains(bind) && words.contains("--forget"), "{words}");
            }
        }
        let stones = world.broker.revoked();
        assert_eq!((world.broker.list().len(), stones.len()), (0, 1));
        assert_eq!((stones[0].revoked, stones[0].provider.as_deref()), (NOW, Some("scripted")));
        assert!(matches!(world.broker.revoke(&account()), Err(BrokerError::Revoked { .. })));
        if forget {
            world.broker.forget(&account()).unwrap();
        } else {
            world.bind(FIRST);
            assert!(world.broker.open(&at(SPELLINGS[1]), &password()).is_some());
        }
        assert!(world.broker.revoked().is_empty());
    }
    assert!(!world.broker.is_bound(&account()) && RealDisk.files(world.dir.path()).unwrap().is_empty());
    assert!(matches!(world.broker.forget(&account()), Err(BrokerError::Unknown { .. })));
    world.bind(FIRST);
    assert!(world.broker.forget(&account()).unwrap().is_some(), "without revoking first");
    assert!(!world.broker.is_bound(&account()));
}

/// Goal: a program of old takes a tombstone for a damaged binding, which it keeps and opens for nobody.
#[tokio::test]
async fn a_tombstone_is_no_binding() {
    let world = World::new().await;
    world.broker.revoke(&account()).unwrap();
    let path = RealDisk.files(world.dir.path()).unwrap().remove(0);
    let text = String::from_utf8(RealDisk.read(&path, 9999).unwrap()).unwrap();
    assert!(Binding::from_json(text.as_bytes()).is_err());
    let fields: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "version": 1, "account": "anna@example.com%mail.example.net", "provider": "scripted", "revoked": NOW.0,
    });
    assert_eq!(fields, expected);
}

/// Goal: while an account is bound, revoked and bound again there is no moment in which it seems to be none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_account_is_bound_at_every_moment() {
    let world = two_hosts().await;
    let path = RealDisk.files(world.dir.path()).unwrap().remove(0);
    postern_shared::disk::write_atomic(&RealDisk, &path, b"{").unwrap();
    let world = world.restarted(Arc::new(RealDisk));
    let (done, broker) = (Arc::new(AtomicBool::new(false)), Arc::clone(&world.broker));
    let (stop, sending) = (Arc::clone(&done), at(SPELLINGS[1]));
    let (began, begun) = std::sync::mpsc::channel();
    let watching = std::thread::spawn(move || {
        let mut looked = 0_u64;
        while !stop.load(Ordering::SeqCst) {
            assert!(broker.is_bound(&sending), "after looking {looked} times");
            looked += 1;
            if looked == 1 {
                began.send(()).unwrap();
            }
        }
        looked
    });
    begun.recv().unwrap();
    for _ in 0..20 {
        world.bind(FIRST);
        world.broker.revoke(&account()).unwrap();
    }
    done.store(true, Ordering::SeqCst);
    assert!(watching.join().unwrap() > 0);
}

/// Goal: a token that the server did not take is not given again; another one's refusal is no reason.
#[tokio::test]
async fn a_token_that_the_server_refused_is_replaced() {
    let world = two_hosts().await;
    let gate = gate(&world);
    world.provider.will([Answer::tokens("first", None), Answer::tokens("second", None)]);
    let token = async || gate.token(&account(), password(), Admission::anybody()).await.unwrap().token;
    let first = token().await;
    gate.refused(&account(), &"of another login".into());
    gate.refused(&at("bert@example.com%mail.example.net"), &first);
    assert_eq!(token().await.expose_secret(), "first");
    gate.refused(&at(SPELLINGS[2]), &first);
    assert_eq!(token().await.expose_secret(), "second");
    gate.refused(&account(), &first);
    assert_eq!(token().await.expose_secret(), "second", "the first one is refused late");
    assert_eq!(world.provider.requests().len(), 2);
}
