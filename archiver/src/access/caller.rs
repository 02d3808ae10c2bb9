//! Who asks.

use postern_shared::clock::UnixMillis;

use super::{Scope, ShownToken};
use crate::archive::{ArchiveError, By, InstanceInfo};

/// Who asks for something.
#[derive(Debug, Clone)]
pub struct Caller {
    /// By what right.
    pub who: Who,
    /// From where: an address.
    pub from: String,
}

/// By what right somebody asks.
#[derive(Debug, Clone)]
pub enum Who {
    /// Whoever reaches the control socket, or the data directory itself: may do everything.
    Operator,
    /// The holder of a bearer token.
    Token(Box<ShownToken>),
}

impl Caller {
    /// The operator on this machine.
    pub fn operator() -> Self {
        Self { who: Who::Operator, from: "this machine".into() }
    }

    /// The holder of a token.
    pub fn token(token: ShownToken, from: String) -> Self {
        Self { who: Who::Token(Box::new(token)), from }
    }

    pub(crate) fn as_token(&self) -> Option<&ShownToken> {
        match &self.who {
            Who::Operator => None,
            Who::Token(token) => Some(token),
        }
    }

    /// The one instance that they may reach; `None` for all.
    pub fn instance(&self) -> Option<&str> {
        self.as_token()?.instance.as_deref()
    }

    /// An error, as if it were not there, when that instance is not the one that they are bound to.
    pub(crate) fn check_own(&self, instance: &str) -> Result<(), ArchiveError> {
        match self.instance() {
            Some(own) if own != instance => {
                Err(ArchiveError::NoInstance(instance.chars().take(64).collect()))
            }
            _ => Ok(()),
        }
    }

    /// An error, as if it were not there, when they are bound to another instance that had this one's id before.
    pub(crate) fn check_not_older(&self, info: &InstanceInfo) -> Result<(), ArchiveError> {
        match self.as_token() {
            Some(token) if token.instance.is_some() && token.instance_created != Some(info.created) => {
                Err(ArchiveError::NoInstance(info.id.clone()))
            }
            _ => Ok(()),
        }
    }

    /// When the instance was created that they are bound to.
    pub(crate) fn instance_created(&self) -> Option<UnixMillis> {
        self.as_token()?.instance_created
    }

    /// The user whom they stand for.
    pub fn user(&self) -> Option<&str> {
        self.as_token()?.user.as_deref()
    }

    /// Whether a token's scopes, with what they include, allow that; the operator may everything.
    pub fn has(&self, scope: Scope) -> bool {
        self.as_token().is_none_or(|token| token.scopes.iter().any(|held| held.includes(scope)))
    }

    /// As the audit log names them.
    pub fn by(&self) -> By {
        match &self.who {
            Who::Operator => {
                By { who: "operator".into(), how: "command line".into(), from: self.from.clone() }
            }
            Who::Token(token) => By {
                who: token.user.clone().unwrap_or_else(|| token.name.clone()),
                how: format!("token {}", token.id),
                from: self.from.clone(),
            },
        }
    }
}
