use postern_shared::disk::{Fault, FaultyDisk, Step};
use postern_shared::proto::pop3::DotEncoder;

use super::server::{Quirk, Server};
use super::*;

fn message(text: &str, octets: usize) -> Vec<u8> {
    let mut message = format!("Subject: {text}\r\n\r\n").into_bytes();
    while message.len() < octets {
        message.extend_from_slice(b".dots and text\r\n..\r\n.\r\nbare \n and \r here\r\n");
    }
    message
}

fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = DotEncoder::new();
    encoder.encode(content, &mut out);
    encoder.finish(&mut out);
    out.truncate(out.len() - 3);
    out
}

fn anna() -> Vec<(&'static str, Vec<u8>)> {
    vec![("u1", message("one", 50)), ("u2", message("two", 700_000)), ("u3", message("three", 50_000))]
}

/// Goal: a client gets what the server sent, octet for octet; the copy is the same without stuffing, under the account's name
/// and the unique-id; a second session, and one after a restart of the index, make no second copy.
/// Method: Thunderbird's flight, messages held and streamed, DELE of one that was never read.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_is_recorded_once_and_deleted_behind_that() {
    let gateway = Gateway::new();
    let server = Server::new(anna());
    let address = server.start().await;
    let mut client = gateway.session(address).await;
    client.send("CAPA\nSTAT\nLIST\nUIDL\nRETR 1\nRETR 2\nNOOP\n").await;
    assert_eq!(client.line().await, "+OK");
    assert_eq!(client.lines().await, b"PIPELINING\r\nUIDL\r\n");
    assert_eq!(client.line().await, "+OK 3 1");
    for _ in 0..2 {
        assert_eq!(client.line().await, "+OK");
        client.lines().await;
    }
    for (_, content) in &anna()[..2] {
        assert_eq!(client.line().await, format!("+OK {} octets", content.len()));
        assert!(client.lines().await == stuffed(content));
    }
    assert_eq!(client.line().await, "+OK");
    client.send("DELE 1\nDELE 3\nQUIT\n").await;
    assert_eq!(client.rest().await, b"+OK marked\r\n+OK marked\r\n+OK bye\r\n");
    assert_eq!(client.ended().await, ("the client said QUIT".to_owned(), 3));
    assert_eq!(server.seen.lock().unwrap().deleted, [1, 3]);
    let expected: Vec<_> =
        anna().into_iter().map(|(uidl, content)| (Some(uidl.to_owned()), content)).collect();
    assert!(gateway.copies() == expected);

    let mut again = gateway.session(address).await;
    for number in 1..=3 {
        assert!(again.ask(&format!("RETR {number}")).await.starts_with("+OK"));
        again.lines().await;
    }
    drop(again.stream.shutdown().await);
    assert_eq!(again.rest().await, b"");
    assert_eq!(again.ended().await, ("the client is gone".to_owned(), 0));
    assert!(gateway.copies() == expected, "known");
}

/// Goal: TOP shows the beginning that was asked for, short or long, held or streamed; a long one records the whole message.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_top_is_recorded_whole_and_shown_cut() {
    let gateway = Gateway::new();
    let server = Server::new(anna());
    let mut client = gateway.session(server.start().await).await;
    for (number, (uidl, content)) in (1..).zip(anna()) {
        for lines in [101, 1000, 4_294_967_295_usize] {
            assert!(client.ask(&format!("TOP {number} {lines}")).await.starts_with("+OK"));
            // The message's own lines, of which those that CRLF does not end are two.
            let ends = content.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
            let end = ends.take(2_usize.saturating_add(lines)).last().unwrap();
            let mut expected = stuffed(&content[..end]);
            if !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            assert!(client.lines().await == expected, "{uidl} {lines}");
        }
        assert_eq!(gateway.copies().last().unwrap(), &(Some(uidl.to_owned()), content));
    }
    assert_eq!(gateway.copies().len(), 3);
    assert!(!server.commands().iter().any(|command| command.starts_with("TOP")));
}

/// Goal: who goes without QUIT deletes nothing, and none is said for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_deletes_nothing() {
    let gateway = Gateway::new();
    let server = Server::new(anna());
    let mut client = gateway.session(server.start().await).await;
    assert_eq!(client.ask("DELE 1").await, "+OK marked");
    client.send("RETR 2\n").await;
    client.line().await;
    drop(client.stream);
    client.served.await.unwrap();
    assert!(server.seen.lock().unwrap().deleted.is_empty());
    assert!(!server.commands().contains(&"QUIT".to_owned()), "{:?}", server.commands());
}

/// Goal: a message that breaks off is not recorded, wherever that is; one that was not shown yet is refused in words.
#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_is_not_recorded() {
    for octets in [0, 1, 16, 40, 300_000] {
        let gateway = Gateway::new();
        let mut server = Server::new(vec![("u1", message("one", 700_000))]);
        server.quirk = Quirk::ClosesAmid(octets);
        let mut client = gateway.session(server.start().await).await;
        client.send("RETR 1\n").await;
        let got = client.rest().await;
        if octets < 100_000 {
            assert!(got.starts_with(b"-ERR [SYS/TEMP] The mail server failed"), "{octets}");
        } else {
            assert!(got.starts_with(b"+OK") && !got.ends_with(b".\r\n") && got.len() < octets, "{octets}");
        }
        assert_eq!(client.ended().await, ("the server closed the connection".to_owned(), 0));
        assert!(gateway.copies().is_empty());
    }
}

/// Goal: when the copy cannot be made durable, the client gets no message whole, and the server no DELE.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_lets_nothing_through() {
    for (step, number) in
        [(Step::Sync, 1), (Step::Write, 1), (Step::Sync, 2), (Step::Write, 2), (Step::Create, 2)]
    {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let real: Arc<dyn Disk> = Arc::new(RealDisk);
        // The spool's own files are made on a disk that works.
        drop(open_spool(dir.path(), &real, &clock));
        let fault = Fault::from(step, 1, std::io::ErrorKind::StorageFull);
        let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(real, fault));
        let gateway = Gateway::on(&dir, &disk);
        let server = Server::new(anna());
        let mut client = gateway.session(server.start().await).await;
        let answer = client.ask(&format!("DELE {number}")).await;
        assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{step:?} {number}: {answer}");
        client.send(&format!("RETR {number}\n")).await;
        drop(client.stream.shutdown().await);
        let got = client.rest().await;
        assert!(!got.ends_with(b"\r\n.\r\n"), "{step:?} {number}");
        assert!(!server.commands().iter().any(|command| command.starts_with("DELE")), "{step:?}");
        assert!(gateway.copies().is_empty(), "{step:?} {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_suspended_meanwhile_takes_nothing() {
    let gateway = Gateway::new();
    let server = Server::new(anna());
    let mut client = gateway.session(server.start().await).await;
    gateway.suspend();
    for number in [1, 2] {
        let answer = client.ask(&format!("RETR {number}")).await;
        assert!(answer.starts_with("-ERR [SYS/TEMP] Message"), "{answer}");
    }
    assert_eq!(client.ask("NOOP").await, "+OK");
    assert!(gateway.copies().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_at_once_make_one_copy_of_each() {
    let gateway = Gateway::new();
    let address = Server::new(anna()).start().await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(gateway.session(address).await);
    }
    let fetching = sessions.into_iter().map(|mut client| {
        tokio::spawn(async move {
            client.send("RETR 1\nRETR 2\nRETR 3\nQUIT\n").await;
            let got = client.rest().await;
            assert!(got.ends_with(b".\r\n+OK bye\r\n"));
            client.ended().await.1
        })
    });
    let mut recorded = 0;
    for session in fetching.collect::<Vec<_>>() {
        recorded += session.await.unwrap();
    }
    assert_eq!((recorded, gateway.copies().len()), (3, 3));
}

/// Goal: copies that are made at once change neither the order nor the contents, and a failing disk lets nothing through.
/// Method: many RETRs in one flight, short and long ones, and one twice; then the same with a disk that fails amid it.
#[tokio::test(flavor = "multi_thread")]
async fn many_in_one_flight_come_in_order_each_behind_its_copy() {
    let uidls: Vec<String> = (1..=40).map(|number| format!("u{number}")).collect();
    let sizes = [40, 50_000, 3, 120_000, 700];
    let mail = uidls.iter().zip(sizes.iter().cycle());
    let mail: Vec<_> = mail.map(|(uidl, octets)| (uidl.as_str(), message(uidl, *octets))).collect();
    let server = Server::new(mail.clone());
    let address = server.start().await;
    let flight: String = (1..=40).map(|number| format!("RETR {number}\n")).collect();

    let gateway = Gateway::new();
    let mut client = gateway.session(address).await;
    client.send(&format!("{flight}RETR 7\nQUIT\n")).await;
    for (_, content) in mail.iter().chain([&mail[6]]) {
        assert_eq!(client.line().await, format!("+OK {} octets", content.len()));
        assert!(client.lines().await == stuffed(content));
    }
    assert_eq!(client.rest().await, b"+OK bye\r\n");
    assert_eq!(client.ended().await, ("the client said QUIT".to_owned(), 40));
    let mut copies: Vec<_> = gateway.copies();
    copies.sort();
    let mut expected: Vec<_> =
        mail.iter().map(|(uidl, content)| (Some((*uidl).to_owned()), content.clone())).collect();
    expected.sort();
    assert!(copies == expected);

    let dir = Arc::new(tempfile::tempdir().unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let real: Arc<dyn Disk> = Arc::new(RealDisk);
    drop(open_spool(dir.path(), &real, &clock));
    let fault = Fault::from(Step::Sync, 3, std::io::ErrorKind::StorageFull);
    let gateway = Gateway::on(&dir, &(Arc::new(FaultyDisk::new(real, fault)) as Arc<dyn Disk>));
    let mut client = gateway.session(address).await;
    client.send(&flight).await;
    drop(client.stream.shutdown().await);
    let got = client.rest().await;
    let copies = gateway.copies();
    assert!(copies.len() < 40, "the disk failed");
    for (uidl, content) in &mail {
        let whole =
            [format!("+OK {} octets\r\n", content.len()).into_bytes(), stuffed(content), b".\r\n".to_vec()];
        let shown = memchr::memmem::find(&got, &whole.concat()).is_some();
        let copied = copies.iter().any(|(copy, _)| copy.as_deref() == Some(*uidl));
        assert!(!shown || copied, "{uidl} was shown without a copy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_waits_for_a_command_and_not_for_the_next() {
    let gateway = Gateway::new();
    let server = Server::new(anna());
    let mut client = gateway.session(server.start().await).await;
    assert!(client.ask("RETR 3").await.starts_with("+OK"));
    client.stop.turn();
    client.lines().await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(client.ended().await, ("the gateway shuts down".to_owned(), 1));
    assert!(!server.commands().contains(&"QUIT".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_has_an_end_on_both_sides() {
    let mut gateway = Gateway::new();
    let mut server = Server::new(anna());
    server.quirk = Quirk::Silent;
    let address = server.start().await;
    gateway.deadlines.reply = Duration::from_millis(50);
    let mut client = gateway.session(address).await;
    let answer = client.ask("RETR 1").await;
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    assert!(answer.contains("the server said nothing for too long"), "{answer}");
    assert!(client.rest().await.is_empty());
    assert!(client.ended().await.0.starts_with("the server's connection failed"));

    // Octets now and then are no answer either.
    server.quirk = Quirk::Drips(Duration::from_millis(5));
    let mut client = gateway.session(server.start().await).await;
    client.send("RETR 1\n").await;
    assert!(client.rest().await.starts_with(b"-ERR [SYS/TEMP]"));
    assert!(client.ended().await.0.starts_with("the server's connection failed"));

    gateway.deadlines.idle = Duration::from_millis(50);
    let mut client = gateway.session(address).await;
    client.send("NO").await;
    assert!(client.rest().await.is_empty());
    assert!(client.ended().await.0.starts_with("the client's connection failed"));
}

/// Goal: a client that does not read costs no more memory than buffers hold: the server is not read either.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_up_the_server() {
    let gateway = Gateway::new();
    let content = message("long", 30_000_000);
    let mut client = gateway.session(Server::new(vec![("u1", content.clone())]).start().await).await;
    client.send("RETR 1\n").await;
    assert!(client.line().await.starts_with("+OK"));
    assert!(gateway.copies().is_empty(), "it cannot be whole yet");
    assert!(client.lines().await == stuffed(&content));
    assert!(gateway.copies() == [(Some("u1".to_owned()), content)]);
}
