//! `proxy test`: the way of a mail client to its server, whether or not the daemon runs.

use anyhow::{Result, bail};
use serde_json::json;

use super::args::ProxyTest;
use super::doctor::line;
use super::password;
use crate::doctor::{Finding, Tried, Verdict, Way};
use crate::settings::Settings;

/// Walks the way and tells of each step; fails when one does.
pub(super) fn test(settings: &Settings, test: &ProxyTest, json: bool) -> Result<()> {
    let password =
        password::read(test.password_file.as_deref(), "Password at the provider (empty: no login)")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pop3 = (test.pop3 || test.smtp).then_some(test.pop3);
    let tried = Tried { user: test.user.clone(), pop3, port: test.port, password };
    let mut findings: Vec<Finding> = Vec::new();
    let ask = |command: &_| super::answer(settings, command);
    let way = Way { settings, ask: &ask };
    runtime.block_on(way.walk(tried, &mut |finding| findings.push(finding)));
    if json {
        println!("{}", json!(findings));
    } else {
        findings.iter().for_each(|finding| println!("{}", line(finding)));
    }
    match findings.iter().find(|finding| finding.verdict == Verdict::Fail) {
        None => Ok(()),
        Some(failed) => bail!("no way through: {} fails", failed.check),
    }
}
