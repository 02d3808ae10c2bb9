//! POP3 through the proxy.
mod capabilities;
pub mod machine;
pub mod message;
mod numbers;
mod request;
mod transfer;

#[cfg(test)]
mod dialogues;
#[cfg(test)]
mod stage;
