use super::scripted::{Answer, http, tokens};
use super::*;
use postern_shared::disk::{Fault, FaultyDisk, Step};
use tokio::sync::Semaphore;

/// Goal: a refresh token that the provider replaced is on disk before its access token is used, and used from then on.
#[tokio::test]
async fn a_new_refresh_token_is_kept() {
    let world = World::new().await;
    world.provider.will([Answer::tokens("a1", Some("r2")), Answer::tokens("a2", Some("r3"))]);
    assert_eq!(world.token().await, "a1");
    assert_eq!(world.on_disk(), "r2");
    let world = world.restarted(Arc::new(RealDisk));
    assert_eq!(world.token().await, "a2");
    assert!(world.provider.requests()[1].ends_with("refresh_token=r2"));
    assert_eq!(world.on_disk(), "r3");
}

/// Goal: when the disk fails after the provider has replaced the token, nothing is handed out, nothing is lost, and the
/// next login puts it right without asking the provider.
#[tokio::test]
async fn a_disk_that_fails_at_rotation_loses_nothing() {
    for step in [Step::Create, Step::Write, Step::Sync, Step::Rename, Step::SyncDir] {
        let disk = FaultyDisk::new(Arc::new(RealDisk), Fault::nth(step, 0, std::io::ErrorKind::StorageFull));
        let world = World::new().await.restarted(Arc::new(disk));
        world.provider.will([Answer::tokens("a1", Some("r2"))]);
        let error = world.login().await.unwrap_err();
        assert!(matches!(error, BrokerError::Disk { .. }) && error.is_temporary(), "{step:?}: {error}");
        let renamed = step == Step::SyncDir;
        assert_eq!(world.on_disk(), if renamed { "r2" } else { FIRST }, "{step:?}");
        assert_eq!(world.token().await, "a1", "{step:?}");
        assert_eq!(world.on_disk(), "r2", "{step:?}");
        assert_eq!(world.provider.requests().len(), 1, "{step:?}");
    }
}

/// Goal: a new refresh token comes onto the disk by itself once there is room, also when nobody logs in.
#[tokio::test]
async fn a_disk_that_has_room_again_gets_the_token() {
    let fault = Fault::nth(Step::Create, 0, std::io::ErrorKind::StorageFull);
    let disk = Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault));
    let world = World::new().await;
    let deadlines = Deadlines { disk_again: Duration::from_millis(1), ..Deadlines::default() };
    let broker = open_with(&world.settings, &world.clock, world.dir.path(), disk, deadlines);
    world.provider.will([Answer::tokens("a1", Some("r2"))]);
    let open = broker.open(&account(), &password()).unwrap();
    assert!(matches!(broker.access_token(open).await, Err(BrokerError::Disk { .. })));
    while world.on_disk() != "r2" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Goal: a disk that stays full keeps answering with a temporary error, and keeps the token.
#[tokio::test]
async fn a_disk_that_stays_full_keeps_the_token_in_memory() {
    let disk =
        FaultyDisk::new(Arc::new(RealDisk), Fault::from(Step::Create, 0, std::io::ErrorKind::StorageFull));
    let world = World::new().await.restarted(Arc::new(disk));
    world.provider.will([Answer::tokens("a1", Some("r2"))]);
    for _ in 0..3 {
        assert!(world.login().await.unwrap_err().is_temporary());
        world.pass(4000);
    }
    assert_eq!(
        world.provider.requests().len(),
        1,
        "a provider is not asked while its last answer is not on disk"
    );
}

/// Goal: without a new refresh token, a full disk does not keep anybody from mail.
#[tokio::test]
async fn a_full_disk_does_not_matter_when_nothing_was_replaced() {
    let disk =
        FaultyDisk::new(Arc::new(RealDisk), Fault::from(Step::Create, 0, std::io::ErrorKind::StorageFull));
    let world = World::new().await.restarted(Arc::new(disk));
    world.provider.will([Answer::tokens("a1", None)]);
    assert_eq!(world.token().await, "a1");
}

/// Goal: a client that leaves between the provider's answer and our sync takes no refresh token with it.
#[tokio::test]
async fn a_client_that_leaves_takes_nothing_with_it() {
    let world = World::new().await;
    let release = Arc::new(Semaphore::new(0));
    world.provider.will([Answer::Held(Arc::clone(&release), http("200 OK", "", &tokens("a1", Some("r2"))))]);
    let open = world.broker.open(&account(), &password()).unwrap();
    let broker = Arc::clone(&world.broker);
    let login = tokio::spawn(async move { broker.access_token(open).await });
    world.provider.came.acquire().await.unwrap().forget();
    login.abort();
    assert!(login.await.unwrap_err().is_cancelled());
    release.add_permits(1);
    assert_eq!(world.token().await, "a1", "waits for the refresh that goes on");
    assert_eq!((world.on_disk().as_str(), world.provider.requests().len()), ("r2", 1));
}
