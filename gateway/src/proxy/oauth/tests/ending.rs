use super::scripted::{Answer, http, tokens};
use super::*;
use postern_shared::disk::{Fault, FaultyDisk, Step};
use tokio::sync::Semaphore;

const LONG: Duration = Duration::from_secs(60);

/// Goal: a refresh token that the provider has replaced is on disk before the process ends, also when the client has gone.
#[tokio::test]
async fn a_refresh_under_way_is_waited_for() {
    let world = World::new().await;
    let release = Arc::new(Semaphore::new(0));
    world.provider.will([Answer::Held(Arc::clone(&release), http("200 OK", "", &tokens("a1", Some("r2"))))]);
    let open = || world.broker.open(&account(), &password()).unwrap();
    let (broker, opened) = (Arc::clone(&world.broker), open());
    let login = tokio::spawn(async move { broker.access_token(opened).await });
    world.provider.came.acquire().await.unwrap().forget();
    login.abort();
    let settled = async {
        let settled = world.broker.settled(LONG).await;
        (settled, world.on_disk())
    };
    let (settled, ()) = tokio::join!(settled, async { release.add_permits(1) });
    assert_eq!(settled, (true, "r2".to_owned()));
    assert_eq!(world.token().await, "a1", "what is cached still serves");
}

/// Goal: no refresh begins while the process ends.
#[tokio::test]
async fn nothing_is_begun_at_the_end() {
    let world = World::new().await;
    assert!(world.broker.settled(LONG).await);
    let error = world.login().await.unwrap_err();
    assert!(matches!(error, BrokerError::Ending) && error.is_temporary(), "{error}");
    assert_eq!(world.provider.requests().len(), 0);
}

/// Goal: what a disk did not take is tried again before the process ends.
#[tokio::test]
async fn an_unsaved_token_is_tried_again() {
    let fault = Fault::nth(Step::Create, 0, std::io::ErrorKind::StorageFull);
    let disk = FaultyDisk::new(Arc::new(RealDisk), fault);
    let world = World::new().await.restarted(Arc::new(disk));
    world.provider.will([Answer::tokens("a1", Some("r2"))]);
    assert!(matches!(world.login().await, Err(BrokerError::Disk { .. })));
    assert_eq!(world.on_disk(), FIRST);
    assert!(world.broker.settled(LONG).await);
    assert_eq!(world.on_disk(), "r2");
}

/// Goal: neither a silent provider nor a full disk keeps the process from ending.
#[tokio::test]
async fn the_end_is_not_put_off_for_ever() {
    let full = Fault::from(Step::Create, 0, std::io::ErrorKind::StorageFull);
    let disk = FaultyDisk::new(Arc::new(RealDisk), full);
    let world = World::new().await.restarted(Arc::new(disk));
    world.provider.will([Answer::tokens("a1", Some("r2"))]);
    assert!(matches!(world.login().await, Err(BrokerError::Disk { .. })));
    assert!(!world.broker.settled(Duration::from_millis(10)).await);

    let world = World::new().await;
    world.provider.will([Answer::Silence]);
    let (broker, open) = (Arc::clone(&world.broker), world.broker.open(&account(), &password()).unwrap());
    tokio::spawn(async move { broker.access_token(open).await });
    world.provider.came.acquire().await.unwrap().forget();
    assert!(!world.broker.settled(Duration::from_millis(10)).await);
}
