//! The certificate that all listeners show, and its replacement while they run.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::identity::Identity;

/// Written out, so that no new default of the library changes what is offered; each gives forward secrecy.
const CIPHER_SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Best first: what is recorded of a connection today stays closed to tomorrow's quantum computers.
const KX_GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// Sessions that can be resumed; older ones are forgotten.
const RESUMABLE_MAX: usize = 256;

pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        kx_groups: KX_GROUPS.to_vec(),
        ..aws_lc_rs::default_provider()
    }
}

/// What all listeners show now.
#[derive(Debug)]
pub struct Served {
    shown: RwLock<Shown>,
}

#[derive(Debug, Clone)]
struct Shown {
    identity: Arc<Identity>,
    certified: Arc<CertifiedKey>,
    /// A resumed session shows no certificate, so none outlives the one it began with. A handshake that runs while the
    /// certificate is replaced may still leave its session with the new ones.
    resumable: Arc<ServerSessionMemoryCache>,
}

impl Shown {
    fn new(identity: Identity) -> Self {
        let certified = identity.certified();
        let resumable = ServerSessionMemoryCache::new(RESUMABLE_MAX);
        Self { identity: Arc::new(identity), certified, resumable }
    }
}

impl Served {
    /// Shows `identity`.
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self { shown: RwLock::new(Shown::new(identity)) })
    }

    /// From now on shows `identity`. Open sessions go on.
    pub fn swap(&self, identity: Identity) {
        let shown = Shown::new(identity);
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// What is shown.
    pub fn identity(&self) -> Arc<Identity> {
        self.shown().identity
    }

    fn shown(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What listeners serve with, now and after each [`Served::swap`]: TLS 1.3 and 1.2, ephemeral key exchange and
    /// authenticated ciphers only, X25519MLKEM768 preferred. There is no resumption of early data (0-RTT), no compression
    /// and no renegotiation in rustls.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.session_storage = Arc::<Self>::clone(self);
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown().certified)
    }
}

impl StoresServerSessions for Served {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.shown().resumable.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shown().resumable.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shown().resumable.take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
