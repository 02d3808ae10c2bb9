//! The way to one provider: proves who we are, asks, reads the answer. Only so many requests at once.

use std::sync::Arc;

use postern_shared::clock::Clock;
use postern_shared::disk::Disk;
use rustls::ClientConfig;
use secrecy::SecretString;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::assertion::Signer;
use super::http::{Answered, Deadlines, HttpError, post, tls_config};
use super::protocol::{DeviceCode, Grant, Proof, Refusal, Tokens, device_code, tokens};
use super::provider::{Credential, Endpoint, Provider, SecretSource};

/// Requests to one provider at once; those beyond wait.
const REQUESTS_MAX: usize = 16;
const SECRET_BYTES_MAX: u64 = 4096;

/// The way to one provider.
#[derive(Debug)]
pub struct Link {
    /// Which.
    pub provider: Provider,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    deadlines: Deadlines,
    tls: OnceCell<Arc<ClientConfig>>,
    places: Semaphore,
}

/// Why asking gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Credential(String),
    #[error("{0}")]
    Trust(String),
    #[error("too many requests to it are under way")]
    Busy,
    #[error("there is no such endpoint")]
    NoEndpoint,
}

impl From<Refusal> for AskError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Link {
    /// The way to `provider`; nothing is read or connected yet.
    pub fn new(provider: Provider, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, deadlines: Deadlines) -> Self {
        let places = Semaphore::new(REQUESTS_MAX);
        Self { provider, disk, clock, deadlines, tls: OnceCell::new(), places }
    }

    /// Asks the token endpoint.
    pub(super) async fn tokens(&self, grant: Grant<'_>) -> Result<Tokens, AskError> {
        let answered = self.ask(&self.provider.token_endpoint, &grant).await?;
        Ok(tokens(&answered).map_err(|refusal| refusal.without(&grant, &answered))?)
    }

    /// Asks the device endpoint.
    pub(super) async fn device_code(&self) -> Result<DeviceCode, AskError> {
        let endpoint = self.provider.device_endpoint.as_ref().ok_or(AskError::NoEndpoint)?;
        let answered = self.ask(endpoint, &Grant::DeviceAuthorization).await?;
        Ok(device_code(&answered)?)
    }

    async fn ask(&self, endpoint: &Endpoint, grant: &Grant<'_>) -> Result<Answered, AskError> {
        let place = timeout(self.deadlines.turn, self.places.acquire()).await;
        // The semaphore is never closed.
        let _place = place.map_err(|_| AskError::Busy)?;
        let tls = self.tls.get_or_try_init(|| self.tls()).await.map_err(AskError::Trust)?;
        let proof = self.proof().await.map_err(AskError::Credential)?;
        let asked = grant.ask(&self.provider, &proof);
        Ok(post(endpoint, &asked, Arc::clone(tls), self.deadlines).await?)
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let trust = self.provider.trust.clone();
        blocking(move || tls_config(&trust)).await.map(Arc::new)
    }

    async fn proof(&self) -> Result<Proof, String> {
        let disk = Arc::clone(&self.disk);
        match self.provider.credential.clone() {
            Credential::Public => Ok(Proof::Public),
            Credential::Secret { secret: SecretSource::Here(secret), in_body } => {
                Ok(Proof::Secret { secret, in_body })
            }
            Credential::Secret { secret: SecretSource::File(path), in_body } => {
                let read = move || {
                    let wrong = |reason: String| {
                        format!("cannot use client_secret_file {}: {reason}", path.display())
                    };
                    let bytes =
                        disk.read(&path, SECRET_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
                    let bytes = Zeroizing::new(bytes);
                    let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
                    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
                };
                Ok(Proof::Secret { secret: blocking(read).await?, in_body })
            }
            Credential::Certificate { certificate, key, algorithm } => {
                let (client_id, now) = (self.provider.client_id.clone(), self.clock.wall());
                let audience = self.provider.token_endpoint.to_string();
                blocking(move || {
                    Signer::read(&*disk, &certificate, &key)?.assertion(algorithm, &client_id, &audience, now)
                })
                .await
                .map(Proof::Assertion)
            }
        }
    }
}

/// Does what reads files or computes for long where that keeps no session waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}
