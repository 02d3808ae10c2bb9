//! Certificates from an authority: ACME (RFC 8555) with HTTP-01 challenges (§8.3), renewal hints (RFC 9773). The protocol is
//! instant-acme's; here is when to ask, what to keep, and what to tell.
//!
//! ```text
//! Renewer ── due? (schedule, pure) ──▶ Attempt ── rehearsal at the staging directory ──▶ production ──▶ certificate
//!                                         │ account, order, authorisations, finalise
//!                                         ▼
//!                          Pending ◀── Responder (port 80): answers what the authority asks, and nothing else
//! ```
//!
//! ```text
//! data_dir/tls/acme-account-….json   an account and its key, one for each directory
//!              acme-order.json       the order that is under way, and the new certificate's key
//!              acme-state.json       failures, and when to try again
//! ```
//!
//! Promises
//! - The old certificate is served until the new one is on disk and has been tried.
//! - A restart loses nothing: an order under way is taken up again, and failures before it still count.
//! - No authority is hammered: after a failure each wait is twice as long up to half a day, at least as long as the
//!   authority says, and a crash does not shorten it. Only an operator's own command tries at once.
//! - What fails at the staging directory is not tried at the production one, where failures are counted against us.
//! - Whatever an authority sends is bounded in size and time.
//!
//! | RFC 8555 | here |
//! |---|---|
//! | HTTP-01 | yes |
//! | DNS-01, TLS-ALPN-01, wildcard names | no |
//! | external account binding (§7.3.4), revocation, key roll-over | no |
//! | renewal information (RFC 9773) | when to renew; orders do not name what they replace |
//!
//! Not here: what is served (`certificate`).

mod attempt;
mod order;
mod renewer;
mod responder;
mod schedule;
mod store;
mod transport;
mod words;

pub use attempt::{Attempt, Issued};
pub use renewer::Renewer;
pub use responder::{Pending, Responder};
pub use schedule::{State, renewal_time, wait_after};
pub use words::AcmeError;

/// A line of what an attempt is doing.
pub type Report<'r> = &'r (dyn Fn(String) + Send + Sync);
