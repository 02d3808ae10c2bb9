//! Postfix as a provider runs it for mail clients: submission and smtps, AUTH only under TLS and by Dovecot's SASL.
//! Whatever it accepts is delivered into one maildir, so that a test can look at envelope and content.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::received::{bare, first_field, maildir, wait_for_messages};
use super::{Dovecot, Identity, Postfix, Received, chown, directory};
use crate::foreign::{free_port, wait_for};

/// What becomes of accepted mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// [`Submission::received`] shows it.
    Kept,
    /// Nothing is done with it once it lies in the queue, for measuring: delivery would take the machine from who is measured.
    Held,
}

/// Stopped and removed at the end.
#[derive(Debug)]
pub struct Submission {
    postfix: Postfix,
    /// In clear with STARTTLS, as on port 587.
    pub submission: SocketAddr,
    /// Under TLS, as on port 465.
    pub smtps: SocketAddr,
}

impl Submission {
    /// Starts one for the users of that Dovecot; `more` is put behind its main.cf: `message_size_limit = 100000`,
    /// `smtpd_discard_ehlo_keywords = chunking, pipelining`, [`reject_recipient`].
    pub fn start(identity: &Identity, users: &Dovecot, more: &str) -> Result<Self> {
        Self::start_in(&std::env::temp_dir(), identity, users, Delivery::Kept, more)
    }

    /// The same, its directory below `parent`.
    pub fn start_in(
        parent: &Path,
        identity: &Identity,
        users: &Dovecot,
        delivery: Delivery,
        more: &str,
    ) -> Result<Self> {
        let dir = directory(parent, "submission")?;
        identity.copy_to(dir.path())?;
        std::fs::create_dir(dir.path().join("mail"))?;
        chown("nobody:nogroup", &dir.path().join("mail"))?;
        let (submission, smtps) = (free_port()?, free_port()?);
        let services = format!(
            "127.0.0.1:{submission} inet n - n - - smtpd\n\
             127.0.0.1:{smtps} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n"
        );
        let main_cf = main_cf(dir.path(), users, delivery) + more;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let postfix = Postfix::launch(dir, local(submission), &services, &main_cf)?;
        wait_for(local(smtps))?;
        Ok(Self { postfix, submission: local(submission), smtps: local(smtps) })
    }

    /// Waits until `count` messages were delivered since the start, and returns all in the order
    /// in which they were accepted.
    pub fn received(&self, count: usize) -> Result<Vec<Received>> {
        // All copies of a message are there when it has left the queue.
        self.postfix.wait_for_log(": removed", count)?;
        wait_for_messages(count, || self.log(), || self.delivered())
    }

    /// A copy for each recipient is there; they are put together by the queue id in the trace field.
    fn delivered(&self) -> Result<Vec<Received>> {
        let mut messages: BTreeMap<String, Received> = BTreeMap::new();
        for copy in maildir(&self.postfix.dir().join("mail/all"))? {
            let one = parse(&copy)
                .with_context(|| format!("not as Postfix delivers: {}", String::from_utf8_lossy(&copy)))?;
            match messages.get_mut(&one.id) {
                Some(known) => known.to.extend(one.to),
                None => drop(messages.insert(one.id.clone(), one)),
            }
        }
        let mut messages: Vec<Received> = messages.into_values().collect();
        for message in &mut messages {
            message.to.sort();
        }
        let log = self.log();
        messages.sort_by_key(|message| log.find(&format!(" {}: ", message.id)));
        Ok(messages)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.postfix.log()
    }

    /// Removes every message from its queues.
    pub fn clear(&self) -> Result<()> {
        self.postfix.clear()
    }
}

/// Lines of main.cf that refuse one recipient at RCPT with that reply.
pub fn reject_recipient(address: &str, reply: &str) -> String {
    format!(
        "smtpd_recipient_restrictions = check_recipient_access inline:{{ {{{address} = {reply}}} }}, \
         permit_sasl_authenticated, reject\n"
    )
}

/// Every domain is its own, everybody in it exists, and nothing is rewritten.
fn main_cf(at: &Path, users: &Dovecot, delivery: Delivery) -> String {
    let hold = match delivery {
        Delivery::Kept => "",
        Delivery::Held => "check_client_access static:HOLD, ",
    };
    format!(
        "myhostname = mail.test\nmynetworks =\nlocal_header_rewrite_clients =\n\
         smtpd_tls_cert_file = {0}/crt.pem\nsmtpd_tls_key_file = {0}/key.pem\nsmtpd_tls_security_level = encrypt\n\
         smtpd_tls_auth_only = yes\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {1}\n\
         smtpd_relay_restrictions = permit_sasl_authenticated, reject\n\
         smtpd_recipient_restrictions = {hold}permit_sasl_authenticated, reject\n\
         smtpd_client_connection_count_limit = 0\nin_flow_delay = 0\n\
         virtual_transport = virtual\nvirtual_mailbox_domains = static:all\nvirtual_mailbox_maps = static:all/\n\
         virtual_mailbox_base = {0}/mail\nvirtual_minimum_uid = 1\nvirtual_uid_maps = static:65534\n\
         virtual_gid_maps = static:65534\nvirtual_mailbox_limit = 0\n",
        at.display(),
        users.sasl().display()
    )
}

/// Takes off what `virtual` and then `smtpd` put before a message.
fn parse(copy: &[u8]) -> Option<Received> {
    let (mut rest, mut from, mut to) = (copy, None, None);
    loop {
        let (name, value, behind) = first_field(rest)?;
        rest = behind;
        match name.as_str() {
            "return-path" => from = Some(bare(&value)),
            "x-original-to" => to = Some(bare(&value)),
            "delivered-to" => {}
            "received" => {
                let (_, id) = value.split_once(" id ")?;
                let id = id.split([' ', ';']).next()?.to_owned();
                return Some(Received { id, from: from?, to: vec![to?], content: rest.to_vec() });
            }
            _ => return None,
        }
    }
}
