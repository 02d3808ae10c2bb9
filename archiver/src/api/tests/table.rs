//! The table of routes against the commands, and the document against the table.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use postern_shared::disk::{Disk as _, RealDisk};
use serde_json::Value;

use super::Served;
use crate::api::document::{document, document_text};
use crate::api::routes::{Kind, ROUTES};
use crate::command::{fields, names};

/// Goal: everything that the command line does can be done here.
#[test]
fn every_command_has_a_route_that_takes_what_it_takes() {
    let routed: BTreeSet<&str> = ROUTES.iter().map(|route| route.command).collect();
    assert_eq!(routed, names(), "add the command to api/routes.rs");
    for route in ROUTES.iter().filter(|route| route.command != "profile-put") {
        let mut taken: BTreeSet<&str> = route.path_fields().collect();
        taken.extend(route.fields.iter().map(|field| field.name));
        let mut known = fields(route.command);
        if !route.path.contains("{instance}") && route.path.contains("audit") {
            // The archiver's own log is the one of no instance.
            known.remove("instance");
        }
        assert_eq!(taken, known, "{}: the fields in api/routes.rs are not the command's", route.path);
    }
}

#[test]
fn secrets_and_paths_are_declared_as_such() {
    for field in ROUTES.iter().flat_map(|route| route.fields) {
        let is_secret = matches!(field.name, "passphrase" | "recovery_key" | "password");
        let is_path = matches!(field.name, "from" | "to" | "dir" | "key_file");
        assert_eq!(field.kind == Kind::Secret, is_secret, "{}", field.name);
        assert_eq!(field.kind == Kind::Path, is_path, "{}", field.name);
    }
}

/// Goal: the document that stands in the tree is what is served.
/// Method: `cargo run -p postern-archiver -- openapi > docs/archiver-openapi.json` writes it anew.
#[tokio::test]
async fn the_document_in_the_tree_is_what_is_served() {
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/archiver-openapi.json"));
    let kept = RealDisk.read(path, 10_000_000).unwrap_or_default();
    let same = kept == document_text().as_bytes();
    assert!(same, "run: cargo run -p postern-archiver -- openapi > docs/archiver-openapi.json");
    let served = Served::new();
    let answer = served.with("", "GET", "/api/openapi.json", "").await;
    assert_eq!((answer.status, answer.octets), (StatusCode::OK, kept));
    let page = served.with("", "GET", "/api", "").await;
    assert!(page.body.as_str().unwrap().contains("/api/v1/instances/{instance}/search"));
    assert!(!page.body.as_str().unwrap().contains("<script"));
}

/// Goal: the document is one that programs can read: operations named once, references that lead somewhere, each name in a path declared.
#[test]
fn the_document_is_sound() {
    let document = document();
    let mut named = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(named.insert(id.clone()), "{id} is there twice");
            let declared: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let in_path: BTreeSet<&str> =
                path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
            assert_eq!(declared, in_path, "{method} {path}");
        }
    }
    references(&document, &document);
}

fn references(document: &Value, here: &Value) {
    match here {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref") {
                let pointer = reference.as_str().unwrap().trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            members.values().for_each(|member| references(document, member));
        }
        Value::Array(all) => all.iter().for_each(|item| references(document, item)),
        _ => {}
    }
}
