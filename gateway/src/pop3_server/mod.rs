//! pop3_server
