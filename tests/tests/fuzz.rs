//! The fuzz targets, run shortly on stable: seeds and seeded mutations of them, the same in every run.
//!
//! `POSTERN_FUZZ_FACTOR=100` runs a hundred times as many rounds; `POSTERN_FUZZ_SEED=7` others; `POSTERN_FUZZ_INPUT=file`
//! that file alone. `tests/fuzz` runs the same functions under cargo-fuzz.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use postern_tests::foreign::corpus;
use postern_tests::fuzz::{Rounds, TARGETS, find};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs a target; when a round panics, keeps what it was given.
fn fuzz(name: &str) {
    let target = find(name).unwrap_or_else(|| panic!("there is no target {name}"));
    if let Some(file) = std::env::var_os("POSTERN_FUZZ_INPUT") {
        let input = std::fs::read(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        return (target.run)(&input);
    }
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let rounds = target.rounds * number("POSTERN_FUZZ_FACTOR", 1);
    for (round, input) in Rounds::new(seeds, number("POSTERN_FUZZ_SEED", 1), rounds).enumerate() {
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            let file = std::env::temp_dir().join(format!("postern-fuzz-{name}-{round}"));
            let kept = std::fs::write(&file, &input);
            panic!("{name} broke in round {round}; what it was given is in {} ({kept:?})", file.display());
        }
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name));
        })*
        const RUN: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    smtp_command smtp_data smtp_chunks smtp_answer smtp_session smtp_relay
    pop3_command pop3_reply pop3_content pop3_client pop3_session pop3_relay
    imap_response imap_session
    ews_answer ntlm_challenge
    proxy_login sasl_plain
    mime_message journal_report trace_fields
    seal_header sealed_message spool settings
}

/// Goal: a target is run here, has its file for cargo-fuzz, and that file is one of its package's programs.
#[test]
fn every_target_is_run_on_stable_and_by_cargo_fuzz() {
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let mut run = RUN.to_vec();
    names.sort_unstable();
    run.sort_unstable();
    assert_eq!(names, run);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap();
    for name in &names {
        let file = std::fs::read_to_string(dir.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(file.contains(&format!("find(\"{name}\")")), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
    assert_eq!(std::fs::read_dir(dir.join("fuzz_targets")).unwrap().count(), names.len());
}

/// Goal: the inputs that chasquid's fuzzer found worth keeping, and real mail, break nothing here either.
#[test]
fn seeds_of_the_corpus_break_nothing() {
    let Some(corpus) = corpus() else { return };
    let kept = corpus.join("attack-chasquid/internal/smtpsrv/testdata/fuzz/FuzzConnection");
    let mut inputs = Vec::new();
    for file in std::fs::read_dir(kept).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let line = text.lines().last().unwrap();
        let octets = line.strip_prefix("[]byte(\"").and_then(|line| line.strip_suffix("\")")).unwrap();
        let octets = octets.replace("\\n", "\r\n").replace("\\\"", "\"");
        // As the session's target takes it: in clear, then pieces, each behind its kind and length.
        let pieces = octets.as_bytes().chunks(255);
        let framed = pieces.flat_map(|piece| [&[20, u8::try_from(piece.len()).unwrap()], piece].concat());
        inputs.push([0].into_iter().chain(framed).collect::<Vec<u8>>());
    }
    assert!(inputs.len() >= 10);
    let session = find("smtp_session").unwrap();
    inputs.iter().for_each(|input| (session.run)(input));
    let message = find("mime_message").unwrap();
    for file in std::fs::read_dir(corpus.join("mail-parser")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            (message.run)(&std::fs::read(path).unwrap());
        }
    }
}
