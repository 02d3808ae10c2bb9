//! One attempt: the rehearsal, then the real thing.

use std::sync::Arc;
use std::time::Duration;

use postern_shared::disk::Disk;
use postern_shared::tls::server::Identity;

use super::order::Desk;
use super::responder::Pending;
use super::store::Store;
use super::transport::ToldToWait;
use super::{AcmeError, Report};
use crate::settings::Settings;

/// What an attempt brought.
#[derive(Debug)]
pub enum Issued {
    /// A certificate.
    Certificate(Box<Identity>),
    /// The rehearsal went well, and no more was asked for.
    Rehearsed,
}

/// Makes attempts, one at a time.
#[derive(Debug)]
pub struct Attempt {
    settings: Settings,
    pub(super) store: Store,
    pub(super) pending: Arc<Pending>,
    told_to_wait: ToldToWait,
}

impl Attempt {
    /// For the authority and the names that the settings name.
    pub fn new(settings: &Settings, disk: Arc<dyn Disk>) -> Self {
        let store = Store::new(disk, crate::certificate::dir(settings));
        let (pending, told_to_wait) = (Arc::new(Pending::default()), ToldToWait::default());
        Self { settings: settings.clone(), store, pending, told_to_wait }
    }

    /// Rehearses at the staging directory when there is one, and then asks for a certificate.
    pub async fn run(&self, staging_only: bool, report: Report<'_>) -> Result<Issued, AcmeError> {
        let acme = &self.settings.acme;
        if !acme.accept_terms {
            let message = "set accept_terms = true under [acme] in the configuration, once you have read the authority's \
                           terms of service";
            return Err(AcmeError::Local(message.into()));
        }
        // What was said to an earlier attempt is over.
        self.told_to_wait.take();
        let desk = |directory| Desk {
            settings: acme,
            directory,
            store: &self.store,
            pending: &self.pending,
            told_to_wait: &self.told_to_wait,
            report,
        };
        let under_way = self.store.do_blocking(|store| store.order()).await.ok().flatten();
        let is_past_rehearsal = under_way.is_some_and(|order| order.directory == acme.directory_url);
        match &acme.staging_url {
            None if staging_only => {
                return Err(AcmeError::Local(
                    "there is no staging directory; acme.staging_url names one".into(),
                ));
            }
            Some(staging) if staging_only || !is_past_rehearsal => {
                report(format!("rehearsal at {staging}"));
                let desk = desk(staging.as_str());
                match desk.obtain().await {
                    Ok(_) => {
                        desk.forget().await?;
                        report("the rehearsal went well; its certificate is thrown away".into());
                    }
                    Err(error) if error.is_the_authoritys() && !staging_only => {
                        report(format!(
                            "the staging directory has trouble of its own, going on without it: {error}"
                        ));
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => {}
        }
        if staging_only {
            return Ok(Issued::Rehearsed);
        }
        report(format!("certificate from {}", acme.directory_url));
        let identity = desk(acme.directory_url.as_str()).obtain().await?;
        Ok(Issued::Certificate(Box::new(identity)))
    }

    /// What was issued is on disk: the order is over. Should that not be kept, the next attempt gets the same certificate.
    pub(super) async fn stored(&self) {
        let forgotten = self.store.do_blocking(|store| store.forget_order()).await;
        if let Err(error) = forgotten.and_then(|forgotten| forgotten) {
            tracing::warn!(%error, "cannot forget an order that is over");
        }
    }

    /// How long the authority asked to be left alone.
    pub(super) fn told_to_wait(&self) -> Option<Duration> {
        self.told_to_wait.take()
    }

    /// When the authority suggests to renew: the window in seconds since 1970, and when to ask again.
    pub(super) async fn suggested_window(
        &self,
        identity: &Identity,
    ) -> Result<Option<(i64, i64, Duration)>, AcmeError> {
        let desk = Desk {
            settings: &self.settings.acme,
            directory: &self.settings.acme.directory_url,
            store: &self.store,
            pending: &self.pending,
            told_to_wait: &self.told_to_wait,
            report: &|_| (),
        };
        desk.suggested_window(identity).await
    }
}
