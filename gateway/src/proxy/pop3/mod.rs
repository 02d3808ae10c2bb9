//! POP3 through the proxy.
mod capabilities;
pub mod machine;
pub mod message;
mod numbers;
mod request;
pub mod seen;
mod transfer;

#[cfg(test)]
mod dialogues;
#[cfg(test)]
mod stage;
