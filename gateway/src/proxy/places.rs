//! How many sessions an account has at once. Only who is logged in at the account's server takes a place, so that nobody else
//! keeps its owner out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::telemetry::metrics::Held;

use super::Account;
use crate::monitoring::{ProxyProtocol, metrics};

/// Sessions by account; clones count together. Bounded by the sessions there are.
#[derive(Debug, Clone)]
pub(super) struct Places {
    per_account: usize,
    taken: Arc<Mutex<HashMap<Account, usize>>>,
}

/// A session of an account; given back when dropped.
pub struct AccountPlace {
    account: Account,
    taken: Arc<Mutex<HashMap<Account, usize>>>,
    _open: Held<'static>,
}

impl std::fmt::Debug for AccountPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AccountPlace").field(&self.account).finish()
    }
}

impl Places {
    pub(super) fn new(per_account: usize) -> Self {
        Self { per_account, taken: Arc::default() }
    }

    /// The same sessions, and so many at once from now on.
    pub(super) fn allowing(&self, per_account: usize) -> Self {
        Self { per_account, taken: Arc::clone(&self.taken) }
    }

    /// A place for one more session of the account, when there is one.
    pub(super) fn take(&self, account: &Account, protocol: ProxyProtocol) -> Option<AccountPlace> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.get(account).copied().unwrap_or(0);
        if here >= self.per_account {
            return None;
        }
        taken.insert(account.clone(), here + 1);
        let open = metrics().proxy.session(protocol);
        Some(AccountPlace { account: account.clone(), taken: Arc::clone(&self.taken), _open: open })
    }
}

impl Drop for AccountPlace {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get(&self.account).copied() {
            Some(here @ 2..) => drop(taken.insert(self.account.clone(), here - 1)),
            _ => drop(taken.remove(&self.account)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Host;
    use super::*;

    #[test]
    fn an_account_has_so_many_and_leaves_nothing_behind() {
        let account = |user: &str| Account { user: user.into(), host: Host::Name("h".into()) };
        let places = Places::new(2);
        let take = |user| places.take(&account(user), ProxyProtocol::Pop3);
        let (one, two) = (take("anna").unwrap(), take("anna").unwrap());
        assert!(take("anna").is_none() && take("ben").is_some());
        drop(one);
        let three = take("anna").unwrap();
        assert!(take("anna").is_none());
        drop((two, three));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
