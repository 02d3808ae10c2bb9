//! The broker as the proxy's gate sees it: proxy passwords are checked where all passwords are.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use secrecy::SecretString;

use super::{Account, Broker, BrokerError};
use crate::login::LoginPool;
use crate::proxy::tokens::{Admission, NoToken, Token, Tokens};

/// A broker and the threads on which passwords are checked.
#[derive(Debug)]
pub struct PooledBroker {
    broker: Arc<Broker>,
    pool: Arc<LoginPool>,
}

impl PooledBroker {
    /// Both may be shared with others.
    pub fn new(broker: Arc<Broker>, pool: Arc<LoginPool>) -> Self {
        Self { broker, pool }
    }

    async fn ask(
        &self,
        account: Account,
        password: SecretString,
        admission: Admission,
    ) -> Result<Token, NoToken> {
        if let Some(revoked) = self.broker.was_revoked(&account) {
            return Err(revoked.into());
        }
        let broker = Arc::clone(&self.broker);
        let Admission { known, must_wait } = admission;
        let open = self.pool.run(known, move || {
            if must_wait() {
                return Err(NoToken::MustWait);
            }
            broker.open(&account, &password).ok_or(NoToken::WrongPassword)
        });
        let open = open.await.map_err(|not_done| NoToken::Unavailable(not_done.to_string()))??;
        let token = self.broker.access_token(open).await?;
        Ok(Token { token: token.token, mechanism: token.mechanism })
    }
}

impl Tokens for PooledBroker {
    fn is_bound(&self, account: &Account) -> bool {
        self.broker.is_bound(account)
    }

    fn name_of(&self, account: &Account) -> String {
        self.broker.name_of(account)
    }

    fn token<'t>(
        &'t self,
        account: &'t Account,
        password: SecretString,
        admission: Admission,
    ) -> Pin<Box<dyn Future<Output = Result<Token, NoToken>> + Send + 't>> {
        Box::pin(self.ask(account.clone(), password, admission))
    }

    fn refused(&self, account: &Account, token: &SecretString) {
        self.broker.refused(account, token);
    }
}

impl From<BrokerError> for NoToken {
    /// What only a person can mend is gone; what the operator or time mends comes back, and clients try again by themselves.
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::ConsentGone { .. }
            | BrokerError::Revoked { .. }
            | BrokerError::ProviderChanged { .. }
            | BrokerError::Damaged { .. } => Self::Revoked(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
