//! How many logins a network has in progress at once.
//!
//! Until a server has taken a login, nobody knows whose it is: so what it holds meanwhile (a name being resolved, a connection,
//! a thread that checks a proxy password) is counted against the network it comes from, and against nothing that others need.
//! Who comes when all turns are taken waits for one: an office behind one address opens its mail programs at nine.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::listen::network;

/// Logins in progress from an address (an IPv6 /64).
pub(super) const LOGINS_PER_NETWORK: usize = 32;
/// Networks without a login in progress are forgotten when there are more than so many of all.
const NETWORKS_KEPT: usize = 1024;

/// Logins in progress by network.
#[derive(Debug, Default)]
pub(super) struct Turns {
    networks: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// A login in progress; over when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    /// A turn for a client, as soon as there is one; `None` when there was none for so long.
    pub(super) async fn take(&self, client: IpAddr, patience: Duration) -> Option<Turn> {
        let turns = self.of(network(client));
        let permit = timeout(patience, turns.acquire_owned()).await.ok()?.ok()?;
        Some(Turn { _permit: permit })
    }

    fn of(&self, network: IpAddr) -> Arc<Semaphore> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = networks.get(&network).and_then(Weak::upgrade) {
            return turns;
        }
        if networks.len() >= NETWORKS_KEPT {
            networks.retain(|_, turns| turns.strong_count() > 0);
        }
        let turns = Arc::new(Semaphore::new(LOGINS_PER_NETWORK));
        networks.insert(network, Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    /// Goal: a network has so many turns, whoever comes next waits for one, and others do not notice.
    #[tokio::test]
    async fn a_network_has_so_many_and_the_next_waits() {
        let (turns, patience) = (Turns::default(), Duration::from_secs(60));
        let mut taken = Vec::new();
        for _ in 0..LOGINS_PER_NETWORK {
            taken.push(turns.take(address(1), patience).await.unwrap());
        }
        assert!(turns.take(address(1), Duration::ZERO).await.is_none(), "nobody gave one back");
        assert!(turns.take(address(2), patience).await.is_some());
        let (next, ()) = tokio::join!(turns.take(address(1), patience), async { drop(taken.pop()) });
        assert!(next.is_some());
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let turns = Turns::default();
        let held = turns.take(address(0), Duration::ZERO).await.unwrap();
        for n in 1..3 * u32::try_from(NETWORKS_KEPT).unwrap() {
            assert!(turns.take(address(n), Duration::ZERO).await.is_some());
        }
        let networks = turns.networks.lock().unwrap();
        assert!(networks.len() <= NETWORKS_KEPT && networks[&address(0)].strong_count() == 1);
        drop(held);
    }
}
