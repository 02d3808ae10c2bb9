//! One certificate from one directory: account, order, authorisations, finalisation (RFC 8555 §7.3, 7.4, 7.5).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus,
};
use postern_shared::tls::client::{Trust, client_config};
use postern_shared::tls::server::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::responder::{Answering, CHALLENGE_PATH, Pending};
use super::store::{Store, UnderWay};
use super::transport::{Https, ToldToWait};
use super::{AcmeError, Report};
use crate::settings::Acme;

const POLL_FIRST: Duration = Duration::from_millis(250);
const POLL_MAX: Duration = Duration::from_secs(5);
/// How long an authority may take to validate or to issue; the order is taken up again later.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How often an order is taken up again within one attempt.
const PASSES_MAX: u32 = 10;
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// What is needed to get a certificate from one directory.
pub(super) struct Desk<'d> {
    pub(super) settings: &'d Acme,
    pub(super) directory: &'d str,
    pub(super) store: &'d Store,
    pub(super) pending: &'d Arc<Pending>,
    pub(super) told_to_wait: &'d ToldToWait,
    pub(super) report: Report<'d>,
}

impl Desk<'_> {
    /// The whole way to a certificate, from wherever the last attempt was left. Nonces that are refused are no failure
    /// (RFC 8555 §6.5): the library tries thrice, and then the order is taken up again.
    pub(super) async fn obtain(&self) -> Result<Identity, AcmeError> {
        // Answered until the end: the authority may still look for what an earlier pass asked it to validate.
        let mut answering = Vec::new();
        for _ in 0..PASSES_MAX {
            match self.pass(&mut answering).await {
                Err(error) if error.is_kind("badNonce") => {
                    (self.report)("the authority refused our nonces; going on".into());
                }
                done => return done,
            }
        }
        self.pass(&mut answering).await
    }

    async fn pass(&self, answering: &mut Vec<Answering>) -> Result<Identity, AcmeError> {
        let account = self.account().await?;
        let (account, mut order, under_way) = match self.order(&account).await {
            Err(error) if error.is_kind("accountDoesNotExist") => {
                (self.report)("account: the authority does not know it any more; opening another".into());
                self.kept(|store, directory| store.forget_account(&directory)).await?;
                let account = self.account().await?;
                let (order, under_way) = self.order(&account).await?;
                (account, order, under_way)
            }
            found => {
                let (order, under_way) = found?;
                (account, order, under_way)
            }
        };
        let issued = self.fulfil(&mut order, &under_way, answering).await;
        drop(account);
        match &issued {
            // It is over when the certificate is on disk; what the authority has not refused goes on next time.
            Ok(_) | Err(AcmeError::Trouble { .. }) => {}
            Err(error) if error.is_kind("badNonce") => {}
            Err(_) => self.forget().await?,
        }
        issued
    }

    /// The order is over.
    pub(super) async fn forget(&self) -> Result<(), AcmeError> {
        self.kept(|store, _| store.forget_order()).await
    }

    /// When the authority suggests to renew the certificate (RFC 9773 §4.2): the window, and when to ask again.
    pub(super) async fn suggested_window(
        &self,
        identity: &Identity,
    ) -> Result<Option<(i64, i64, Duration)>, AcmeError> {
        let Some(leaf) = identity.chain().first() else { return Ok(None) };
        let Ok(name) = leaf.try_into() else { return Ok(None) };
        let directory = self.directory.to_owned();
        let Some(known) = self.kept(move |store, _| Ok(store.account(&directory))).await? else {
            return Ok(None);
        };
        let builder = Account::builder_with_http(Box::new(self.https()?));
        let step = "renewal information";
        let account = builder.from_credentials(known).await.map_err(|error| AcmeError::of(step, &error))?;
        match account.renewal_info(&name).await {
            Ok((info, again)) => {
                let window = info.suggested_window;
                Ok(Some((window.start.unix_timestamp(), window.end.unix_timestamp(), again)))
            }
            Err(instant_acme::Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(AcmeError::of(step, &error)),
        }
    }

    fn https(&self) -> Result<Https, AcmeError> {
        let trust = self.settings.trust.clone().map_or(Trust::System, Trust::Authorities);
        let tls = client_config(&trust).map_err(|error| AcmeError::Local(format!("acme.trust: {error}")))?;
        Ok(Https::new(tls, self.told_to_wait.clone()))
    }

    async fn kept<T: Send + 'static>(
        &self,
        work: impl FnOnce(Store, String) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, AcmeError> {
        let directory = self.directory.to_owned();
        let done = self.store.do_blocking(move |store| work(store, directory)).await;
        done.and_then(|done| done)
            .map_err(|error| AcmeError::Local(format!("cannot keep what the authority said: {error}")))
    }

    async fn account(&self) -> Result<Account, AcmeError> {
        let builder = Account::builder_with_http(Box::new(self.https()?));
        let wrong = |error| AcmeError::of("account", &error);
        if let Some(known) = self.kept(|store, directory| Ok(store.account(&directory))).await? {
            let account = builder.from_credentials(known).await.map_err(wrong)?;
            (self.report)(format!("account: {} at {}", account.id(), self.directory));
            return Ok(account);
        }
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.settings.accept_terms,
            only_return_existing: false,
        };
        let made = builder.create(&new, self.directory.to_owned(), None).await;
        let (account, credentials) = made.map_err(wrong)?;
        self.kept(move |store, directory| store.put_account(&directory, &credentials)).await?;
        (self.report)(format!("account: opened {} at {}", account.id(), self.directory));
        Ok(account)
    }

    async fn order(&self, account: &Account) -> Result<(Order, UnderWay), AcmeError> {
        let (names, directory) = (&self.settings.names, self.directory);
        if let Some(under_way) = self.kept(|store, _| Ok(store.order())).await?
            && under_way.directory == directory
            && under_way.names == *names
        {
            match account.order(under_way.url.clone()).await {
                Ok(mut order) => {
                    if order.state().status != OrderStatus::Invalid {
                        (self.report)(format!("order: going on with {}", under_way.url));
                        return Ok((order, under_way));
                    }
                }
                Err(error) => match AcmeError::of("order", &error) {
                    error @ AcmeError::Trouble { .. } => return Err(error),
                    error if error.is_kind("badNonce") => return Err(error),
                    // It is gone, or not ours.
                    error => tracing::debug!(%error, "the order that was under way is over"),
                },
            }
        }
        let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
        let order = account.new_order(&NewOrder::new(&identifiers)).await;
        let order = order.map_err(|error| AcmeError::of("order", &error))?;
        let key = rcgen::KeyPair::generate().map_err(|error| AcmeError::Local(format!("no key: {error}")))?;
        let under_way = UnderWay {
            directory: directory.to_owned(),
            names: names.clone(),
            url: order.url().to_owned(),
            key: key.serialize_pem(),
        };
        // Before anything is asked of it: a restart goes on from here.
        let kept = under_way.clone();
        self.kept(move |store, _| store.put_order(&kept)).await?;
        (self.report)(format!("order: {} for {}", under_way.url, names.join(", ")));
        Ok((order, under_way))
    }

    async fn fulfil(
        &self,
        order: &mut Order,
        under_way: &UnderWay,
        answering: &mut Vec<Answering>,
    ) -> Result<Identity, AcmeError> {
        if order.state().status == OrderStatus::Pending {
            self.answer_challenges(order, answering).await?;
            self.wait_while(order, "validation", |status| status == OrderStatus::Pending).await?;
            answering.clear();
            (self.report)("all names are authorised".into());
        }
        if order.state().status == OrderStatus::Ready {
            let request = signing_request(under_way)?;
            (self.report)("finalise: asking for the certificate".into());
            let finalised = order.finalize_csr(&request).await;
            finalised.map_err(|error| AcmeError::of("finalise", &error))?;
        }
        self.wait_while(order, "finalise", |status| {
            matches!(status, OrderStatus::Processing | OrderStatus::Ready)
        })
        .await?;
        let wrong = |error| AcmeError::of("certificate", &error);
        let chain = order.certificate().await.map_err(wrong)?.unwrap_or_default();
        let (of_chain, of_key) = (Path::new("the authority's answer"), Path::new("our key"));
        let identity = Identity::from_pem(chain.as_bytes(), of_chain, under_way.key.as_bytes(), of_key)
            .map_err(|error| {
                AcmeError::Local(format!("what the authority issued cannot be used: {error}"))
            })?;
        let leaf = identity.leaf();
        if let Some(name) =
            under_way.names.iter().find(|name| !leaf.as_ref().is_some_and(|leaf| leaf.covers(name)))
        {
            return Err(AcmeError::Local(format!("what the authority issued is not for {name}")));
        }
        let until = leaf.map(|leaf| leaf.not_after.rfc3339()).unwrap_or_default();
        (self.report)(format!("certificate: sha256:{}, until {until}", identity.fingerprint()));
        Ok(identity)
    }

    async fn answer_challenges(
        &self,
        order: &mut Order,
        answering: &mut Vec<Answering>,
    ) -> Result<(), AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| AcmeError::of("authorisation", &error))?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => {
                    (self.report)(format!("{name}: authorised before"));
                    continue;
                }
                // Waiting for the order tells why.
                _ => continue,
            }
            let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
                return Err(AcmeError::Local(format!("{name}: the authority offers no HTTP-01 challenge")));
            };
            let token = challenge.token.clone();
            answering.push(self.pending.answer(&token, challenge.key_authorization().as_str()));
            (self.report)(format!("{name}: {}", seen_from_here(&name, &token).await));
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await.map_err(|error| AcmeError::of(&name, &error))?;
            }
        }
        Ok(())
    }

    /// Asks for the order's state until it is another one.
    async fn wait_while(
        &self,
        order: &mut Order,
        step: &str,
        waiting: impl Fn(OrderStatus) -> bool,
    ) -> Result<(), AcmeError> {
        let (mut pause, mut waited) = (POLL_FIRST, Duration::ZERO);
        while waiting(order.state().status) {
            if waited >= PATIENCE {
                let reason =
                    "the authority has not answered yet; the order is taken up again later".to_owned();
                return Err(AcmeError::Trouble { step: step.to_owned(), reason });
            }
            sleep(pause).await;
            waited += pause;
            pause = (pause * 3 / 2).min(POLL_MAX);
            order.refresh().await.map_err(|error| AcmeError::of(step, &error))?;
        }
        if order.state().status == OrderStatus::Invalid {
            return Err(why_invalid(order, step).await);
        }
        Ok(())
    }
}

/// What the authority says of the names that it could not validate, else of the order.
async fn why_invalid(order: &mut Order, step: &str) -> AcmeError {
    let mut why: Option<AcmeError> = None;
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        // What is known already is good enough when it cannot be asked for again.
        let _ = authorization.refresh().await;
        if let Some(problem) = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref())
        {
            let of_name = AcmeError::refused(&name, problem);
            why = Some(match why {
                Some(first) => first.and(&of_name),
                None => of_name,
            });
        }
    }
    if let Some(why) = why {
        return why;
    }
    match &order.state().error {
        Some(problem) => AcmeError::refused(step, problem),
        None => AcmeError::Refused {
            step: step.to_owned(),
            kind: String::new(),
            words: "the order is invalid; it does not say why".into(),
        },
    }
}

fn signing_request(under_way: &UnderWay) -> Result<Vec<u8>, AcmeError> {
    let request = || {
        let key = rcgen::KeyPair::from_pem(&under_way.key)?;
        let mut params = rcgen::CertificateParams::new(under_way.names.clone())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        Ok::<_, rcgen::Error>(params.serialize_request(&key)?.der().to_vec())
    };
    request().map_err(|error| AcmeError::Local(format!("no certificate signing request: {error}")))
}

/// Whether the challenge can be seen from here, as the authority will look for it. Only told: behind address translation
/// it often cannot, and yet can from outside.
async fn seen_from_here(name: &str, token: &str) -> String {
    let url = format!("http://{name}{CHALLENGE_PATH}{token}");
    let look = async {
        let mut stream = TcpStream::connect((name, 80)).await?;
        let request = format!("GET {CHALLENGE_PATH}{token} HTTP/1.0\r\nHost: {name}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(LOOK_DEADLINE, look).await {
        Ok(Ok(answer)) if answer.contains(&format!("{token}.")) => format!("{url} can be reached from here"),
        Ok(Ok(_)) => format!(
            "{url} is answered by something else, seen from here; going on, the authority looks itself"
        ),
        Ok(Err(error)) => {
            format!("{url} cannot be reached from here ({error}); going on, the authority looks itself")
        }
        Err(_) => {
            format!("{url} cannot be reached from here (no answer); going on, the authority looks itself")
        }
    }
}
