//! Swaps, seen from clients.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::crypto::digest::{Digest, sha256};
use crate::disk::RealDisk;

fn identity() -> Identity {
    let dir = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    Identity::self_signed(&RealDisk, dir.path(), &names, SystemClock::new().wall()).unwrap()
}

type Ends = (client::TlsStream<DuplexStream>, server::TlsStream<DuplexStream>);

/// A handshake and a line each way, so that the client has its tickets.
async fn connect(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Ends {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accept = TlsAcceptor::from(Arc::clone(server)).accept(far);
    let connect =
        TlsConnector::from(Arc::clone(client)).connect(ServerName::try_from("localhost").unwrap(), near);
    let (far, near) = tokio::join!(accept, connect);
    let (mut far, mut near) = (far.unwrap(), near.unwrap());
    echo(&mut near, &mut far).await;
    (near, far)
}

async fn echo(near: &mut client::TlsStream<DuplexStream>, far: &mut server::TlsStream<DuplexStream>) {
    let mut line = [0; 5];
    near.write_all(b"hello").await.unwrap();
    far.read_exact(&mut line).await.unwrap();
    far.write_all(&line).await.unwrap();
    near.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"hello");
}

fn kind_and_certificate(ends: &Ends) -> (HandshakeKind, Digest) {
    let (_, session) = ends.0.get_ref();
    (session.handshake_kind().unwrap(), sha256(&session.peer_certificates().unwrap()[0]))
}

/// Trusts both certificates, and keeps tickets.
fn client(version: &'static SupportedProtocolVersion, trusted: [&Identity; 2]) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for identity in trusted {
        roots.add(identity.chain()[0].clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Goal: a swap cuts nobody; whoever comes later sees the new certificate, also with a ticket from before.
#[tokio::test]
async fn a_swap_is_seen_by_the_next_handshake_and_by_no_open_session() {
    for version in [&version::TLS12, &version::TLS13] {
        let (old, new) = (identity(), identity());
        let (old_pin, new_pin) = (old.fingerprint(), new.fingerprint());
        let client = client(version, [&old, &new]);
        let served = Served::new(old);
        let server = served.server_config().unwrap();
        let mut first = connect(&server, &client).await;
        assert_eq!(kind_and_certificate(&first).1, old_pin);
        assert_eq!(first.0.get_ref().1.protocol_version(), Some(version.version));
        let second = connect(&server, &client).await;
        assert_eq!(kind_and_certificate(&second), (HandshakeKind::Resumed, old_pin));

        served.swap(new);
        echo(&mut first.0, &mut first.1).await;
        let third = connect(&server, &client).await;
        let (kind, shown) = kind_and_certificate(&third);
        assert_ne!(kind, HandshakeKind::Resumed);
        assert_eq!(shown, new_pin);
        let fourth = connect(&server, &client).await;
        assert_eq!(kind_and_certificate(&fourth), (HandshakeKind::Resumed, new_pin));
        assert_eq!(served.identity().fingerprint(), new_pin);
    }
}
