//! What logging in at servers is held to: the machines without a socket, and the dialer against scripted servers.

mod dialling;
mod hostile;
mod machines;
pub(in crate::proxy) mod scripted;

use postern_shared::proto::sasl::{BearerCredentials, Credentials, PlainCredentials};

use super::login::Identity;

pub(super) fn password() -> Identity {
    let plain = PlainCredentials { user: "anna".into(), password: "geheim".into() };
    Identity::new(Credentials::Password(plain), None).unwrap()
}

pub(super) fn token() -> Identity {
    let bearer = BearerCredentials { user: "anna".into(), token: "t0ken".into() };
    Identity::new(Credentials::Bearer(bearer), None).unwrap()
}
