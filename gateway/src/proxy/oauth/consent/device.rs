//! Device code (RFC 8628).

use std::time::Duration;

use postern_shared::clock::Moment;

use super::{ConsentError, Prompt};
use crate::proxy::oauth::link::{AskError, Link};
use crate::proxy::oauth::protocol::{Grant, Refusal, Tokens};

/// RFC 8628 §3.5: `slow_down` adds so much, for good.
const SLOW_DOWN: Duration = Duration::from_secs(5);
const INTERVAL_MAX: Duration = Duration::from_secs(120);

pub(super) async fn tokens(
    link: &Link,
    tell: &mut (dyn FnMut(Prompt) + Send),
) -> Result<Tokens, ConsentError> {
    if link.provider.device_endpoint.is_none() {
        return Err(ConsentError::NoEndpoint(link.provider.name.clone(), "device_endpoint"));
    }
    let device = link.device_code().await?;
    let mut polling = Polling { interval: device.interval, until: link.clock.moment().plus(device.life) };
    tell(Prompt::Code {
        link: device.verification_uri,
        complete_link: device.complete_uri,
        code: device.user_code,
        life: device.life,
    });
    let mut wait = device.interval;
    loop {
        tokio::time::sleep(wait).await;
        let answer = link.tokens(Grant::Device { device_code: &device.device_code }).await;
        match polling.next(link.clock.moment(), answer) {
            Next::Wait(longer) => wait = longer,
            Next::Done(tokens) => return Ok(*tokens),
            Next::Failed(error) => return Err(error),
        }
    }
}

/// When to ask again: a pure machine, fed with each answer and the time.
struct Polling {
    interval: Duration,
    until: Moment,
}

enum Next {
    Wait(Duration),
    Done(Box<Tokens>),
    Failed(ConsentError),
}

impl Polling {
    fn next(&mut self, now: Moment, answer: Result<Tokens, AskError>) -> Next {
        let wait = match answer {
            Ok(tokens) => return Next::Done(Box::new(tokens)),
            Err(AskError::Refused(Refusal::Said { error, words })) => match error.as_str() {
                "authorization_pending" => self.interval,
                "slow_down" => {
                    self.interval = (self.interval + SLOW_DOWN).min(INTERVAL_MAX);
                    self.interval
                }
                "access_denied" => {
                    return Next::Failed(ConsentError::Denied(if words.is_empty() { error } else { words }));
                }
                "expired_token" => return Next::Failed(ConsentError::Expired),
                _ => return Next::Failed(Refusal::Said { error, words }.into_consent()),
            },
            // RFC 8628 §3.5: after a connection that failed, exponential back-off.
            Err(AskError::Http(_)) => {
                self.interval = (self.interval * 2).min(INTERVAL_MAX);
                self.interval
            }
            Err(AskError::Refused(Refusal::Later { retry_after, .. })) => {
                self.interval = (self.interval * 2).min(INTERVAL_MAX);
                retry_after.unwrap_or_default().clamp(self.interval, INTERVAL_MAX)
            }
            Err(error) => return Next::Failed(error.into()),
        };
        if now.plus(wait) > self.until { Next::Failed(ConsentError::Expired) } else { Next::Wait(wait) }
    }
}

impl Refusal {
    fn into_consent(self) -> ConsentError {
        ConsentError::Refused(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::oauth::http::HttpError;

    fn said(error: &str) -> Result<Tokens, AskError> {
        Err(AskError::Refused(Refusal::Said { error: error.into(), words: String::new() }))
    }

    fn waits(next: &Next) -> Option<u64> {
        if let Next::Wait(wait) = next { Some(wait.as_secs()) } else { None }
    }

    fn polling() -> Polling {
        let until = Moment::default().plus(Duration::from_secs(600));
        Polling { interval: Duration::from_secs(5), until }
    }

    #[test]
    fn each_answer_means_what_rfc_8628_says() {
        let mut polling = polling();
        let now = Moment::default();
        assert_eq!(waits(&polling.next(now, said("authorization_pending"))), Some(5));
        assert_eq!(waits(&polling.next(now, said("slow_down"))), Some(10));
        assert_eq!(waits(&polling.next(now, said("authorization_pending"))), Some(10), "for good");
        let late = || Err(AskError::Http(HttpError::Late("login.example.com".into())));
        assert_eq!(waits(&polling.next(now, late())), Some(20));
        let later = Refusal::Later { words: "503".into(), retry_after: Some(Duration::from_secs(90)) };
        assert_eq!(waits(&polling.next(now, Err(later.into()))), Some(90));
        for (error, expected) in [
            ("access_denied", "refused at the provider"),
            ("expired_token", "in time"),
            ("invalid_client", "check [[proxy.provider]]"),
        ] {
            let Next::Failed(failed) = polling.next(now, said(error)) else { panic!("{error} is the end") };
            assert!(failed.to_string().contains(expected), "{failed}");
        }
    }

    #[test]
    fn nobody_polls_past_the_code() {
        let mut polling = polling();
        let nearly = Moment::default().plus(Duration::from_secs(594));
        assert_eq!(waits(&polling.next(nearly, said("authorization_pending"))), Some(5));
        let nearer = Moment::default().plus(Duration::from_secs(596));
        let last = polling.next(nearer, said("authorization_pending"));
        assert!(matches!(last, Next::Failed(ConsentError::Expired)));
    }
}
