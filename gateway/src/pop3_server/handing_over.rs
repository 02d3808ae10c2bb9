//! Names that are the proxy's: the connection goes to it, with what the client sent behind its login.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::proto::pop3::{Reply, ResponseCode};
use postern_shared::proto::sasl::Credentials;
use postern_shared::shutdown::Shutdown;

use super::dialogues::Stage;
use super::elsewhere::Pending;
use super::in_memory::{InMemory, OneAccount};
use super::{Elsewhere, Pop3Server, Relayed, Settings};
use crate::listen::{Connection, Door};

/// Takes `anna%…`, and says back what it reads.
#[derive(Debug)]
struct Echo;

impl Elsewhere for Echo {
    fn divider(&self) -> char {
        '%'
    }

    fn log_in<'a>(
        &'a self,
        _: &'a Door,
        _: SocketAddr,
        credentials: Credentials,
    ) -> Pending<'a, Result<Box<dyn Relayed>, Reply>> {
        let taken = credentials.user().starts_with("anna%");
        Box::pin(async move {
            let relayed: Box<dyn Relayed> = Box::new(Echo);
            if taken { Ok(relayed) } else { Err(Reply::err("Not there").with(ResponseCode::Auth)) }
        })
    }
}

impl Relayed for Echo {
    fn run(self: Box<Self>, mut client: Connection, _: Shutdown) -> Pending<'static, ()> {
        Box::pin(async move {
            loop {
                let read = client.unread().to_vec();
                client.consume(read.len());
                client.send(&read).await.unwrap();
                if read.ends_with(b"QUIT\r\n") {
                    return client.close().await;
                }
                client.fill(Duration::from_secs(60)).await.unwrap();
            }
        })
    }
}

#[tokio::test]
async fn the_proxy_gets_the_connection_with_what_stands_behind_the_login() {
    let mut stage = Stage::new("");
    let settings = Settings { failure_pause: Duration::ZERO, ..Settings::default() };
    let mailbox = Arc::new(InMemory::default());
    let server = Pop3Server::beside(Arc::new(OneAccount), mailbox, settings, Some(Arc::new(Echo)));
    stage.connect_to(&server, "pop3s").await;
    stage
        .steps(&[
            "S: +OK Postern ready",
            "C: USER bob%pop.example.com%mbx-000000000000000a",
            "C: PASS x",
            "S: +OK Send PASS",
            "S: -ERR [AUTH] Not there",
            "C: USER anna%pop.example.com%mbx-000000000000000a",
            "C: PASS x",
            "C: STAT",
            "C: a line that is longer than any a session would take, and everything else, is the proxy's",
            "S: +OK Send PASS",
            "S: +OK Logged in",
            "S: STAT",
            "S: a line that is longer than any a session would take, and everything else, is the proxy's",
            "C: QUIT",
            "S: QUIT",
            "closed",
        ])
        .await;
}
