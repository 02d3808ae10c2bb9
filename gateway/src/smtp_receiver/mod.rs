//! smtp_receiver
