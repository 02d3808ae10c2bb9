//! Alert rules and dashboard: every metric and label in them exists, every alert fires where it should, and is in the manual.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::run;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::prometheus::{Scrape, get};
use serde_json::Value;

const PREFIX: &str = "postern_gateway_";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

fn rules() -> Result<String> {
    read("config/monitoring/postern-alerts.yaml")
}

/// The names of all alerts.
fn alerts() -> Result<BTreeSet<String>> {
    let names = rules()?;
    let names = names.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    Ok(names.map(str::to_owned).collect())
}

fn scrape() -> Result<Scrape> {
    let gateway = Program::started(Kind::Gateway, "metrics = \"127.0.0.1:0\"\n")?;
    NewMailbox::create(&gateway, "journal")?;
    let (status, body) = get(gateway.address("metrics")?, "/metrics")?;
    ensure!(status == 200, "{status}");
    Scrape::parse(&body)
}

/// Every metric that an expression names, with what stands in braces behind it.
fn selectors(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(PREFIX) {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let braces = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next());
        found.push((rest[..end].to_owned(), braces.unwrap_or_default().to_owned()));
    }
    found
}

/// Checks that a metric is exposed, and with each of the values that a label is compared with.
fn check(scrape: &Scrape, (name, matchers): &(String, String)) -> Result<()> {
    let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let family = family.filter(|family| scrape.families.contains_key(*family)).unwrap_or(name);
    let (kind, _) = scrape.families.get(family).with_context(|| format!("there is no {name}"))?;
    ensure!((kind == "histogram") == (family != name), "{name} is a {kind}");
    for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
        let (label, values) = matcher.split_once('=').with_context(|| matcher.to_owned())?;
        if label == "instance" {
            continue;
        }
        for value in values.trim_start_matches('~').trim_matches('"').split('|') {
            let wanted = format!("{label}=\"{value}\"");
            let series = scrape.series().filter(|series| series.starts_with(&format!("{name}{{")));
            ensure!(series.into_iter().any(|series| series.contains(&wanted)), "no {name} has {wanted}");
        }
    }
    Ok(())
}

/// Goal: no rule and no panel asks for what the gateway does not tell.
/// Method: the metrics of a real one; each name, and each label's value, in both files.
#[test]
fn rules_and_dashboard_ask_for_metrics_that_exist() -> Result<()> {
    let scrape = scrape()?;
    let in_rules = selectors(&rules()?);
    ensure!(in_rules.len() > 20, "{in_rules:?}");
    in_rules.iter().try_for_each(|selector| check(&scrape, selector))?;

    let dashboard: Value = serde_json::from_str(&read("config/monitoring/postern-grafana.json")?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let (mut ids, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        ensure!(ids.insert(panel["id"].to_string()), "two panels have the id {}", panel["id"]);
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("no expression")?;
            let found = selectors(expression);
            ensure!(!found.is_empty(), "{expression}");
            found.iter().try_for_each(|selector| check(&scrape, selector))?;
            shown.extend(found.into_iter().map(|(name, _)| name));
        }
    }
    ensure!(shown.len() > 20, "only {} metrics are shown", shown.len());
    let instances = dashboard["templating"]["list"][1]["definition"].as_str().context("no instances")?;
    selectors(instances).iter().try_for_each(|selector| check(&scrape, selector))
}

/// Goal: whoever is woken by an alert finds it in the manual.
#[test]
fn every_alert_is_in_the_manual() -> Result<()> {
    let manual = read("docs/monitoring.md")?;
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `Postern")?.split('`').next());
    let documented: BTreeSet<String> = rows.map(|name| format!("Postern{name}")).collect();
    assert_eq!(documented, alerts()?);
    Ok(())
}

/// Goal: Prometheus takes the rules; each alert fires when it should and not before.
/// Method: promtool, with series made up in `alerts.test.yaml`, in which every alert must fire once at least.
#[test]
fn alerts_fire_when_they_should() -> Result<()> {
    let tests = "tests/fixtures/monitoring/alerts.test.yaml";
    let text = read(tests)?;
    for alert in alerts()? {
        let fires = text.split("alertname: ").any(|rest| {
            rest.lines().next() == Some(&alert)
                && rest.lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts:")
        });
        ensure!(fires, "{alert} never fires in {tests}");
    }
    let Some(promtool) = promtool() else { return Ok(()) };
    let rules = root().join("config/monitoring/postern-alerts.yaml");
    run(Command::new(&promtool).args(["check", "rules"]).arg(rules))?;
    run(Command::new(&promtool).args(["test", "rules"]).arg(root().join(tests))).map(drop)
}

/// Where it is; says so when it is not installed. `make test` installs it.
fn promtool() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let program = cache.join("postern-tests/promtool");
    if program.exists() {
        return Some(program);
    }
    eprintln!("SKIPPED: there is no {}; run: tests/scripts/install-tools test", program.display());
    None
}
