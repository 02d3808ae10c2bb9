//! The OpenAPI document (3.1), made from the table of routes.

use serde_json::{Map, Value, json};

use super::routes::{Answer, Field, Kind, ROUTES, Route};
use crate::access::Need;

/// The document as it is served and kept in docs/archiver-openapi.json.
pub fn document_text() -> String {
    serde_json::to_string_pretty(&document()).map(|text| text + "\n").unwrap_or_default()
}

pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(route);
    }
    paths.insert("/api/v1/calls".into(), json!({ "get": listed_calls() }));
    paths
        .insert("/api/v1/calls/{token}".into(), json!({ "get": watched_call(), "delete": cancelled_call() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Postern archiver",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that the command line lets the daemon do. Send a bearer token made by `postern-archiver token create`. \
                Errors are application/problem+json (RFC 9457). Long calls answer 202 with a token; watch them at \
                /api/v1/calls/{token}.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": problem(), "Call": call() },
            "responses": {
                "Problem": {
                    "description": "It was not done, and why.",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route.path_fields().map(path_parameter).collect();
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.about,
        "description": format!("Scope `{}`.", format!("{:?}", Need::of(route.command).scope()).to_lowercase()),
        "tags": [tag(route.path)],
        "responses": responses(route),
    });
    if route.has_query() {
        parameters.extend(route.fields.iter().map(query_parameter));
        if matches!(route.answer, Answer::List(_)) {
            parameters.extend(paging());
        }
    } else {
        operation["requestBody"] = body(route.fields);
    }
    operation["parameters"] = parameters.into();
    operation
}

/// `userAdd`, and of a second route for a command the archiver-wide one by another name.
fn operation_id(route: &Route) -> String {
    let is_second = route.path_fields().count() == 0
        && ROUTES.iter().any(|other| other.command == route.command && other.path != route.path);
    let mut id = String::new();
    for (at, word) in route.command.split('-').enumerate() {
        let (head, tail) = word.split_at(1);
        id.push_str(&if at == 0 { head.to_owned() } else { head.to_ascii_uppercase() });
        id.push_str(tail);
    }
    if is_second { format!("{id}OfArchiver") } else { id }
}

fn tag(path: &str) -> &str {
    let parts: Vec<&str> = path.trim_start_matches("/api/v1/").split('/').collect();
    match parts[..] {
        ["instances", "{instance}", what, ..] => what,
        [what, ..] => what,
        [] => "",
    }
}

fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "maxLength": 128 } })
}

fn query_parameter(field: &Field) -> Value {
    let is_required = field.default.is_none();
    json!({ "name": field.name, "in": "query", "required": is_required, "description": field.about, "schema": schema(field) })
}

fn paging() -> [Value; 2] {
    let number = |name: &str, about: &str, least: u64, usual: u64| {
        json!({ "name": name, "in": "query", "required": false, "description": about,
            "schema": { "type": "integer", "minimum": least, "default": usual } })
    };
    [
        number("limit", "The most items, 1000 at most.", 1, 100),
        number("offset", "Items passed over: `next` of the page before.", 0, 0),
    ]
}

fn schema(field: &Field) -> Value {
    let mut schema = match field.kind {
        Kind::Text | Kind::Path => json!({ "type": "string", "maxLength": 4096 }),
        Kind::Secret => {
            json!({ "type": "string", "maxLength": 4096, "format": "password", "writeOnly": true })
        }
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" }, "maxItems": 1000 }),
        Kind::Number => json!({ "type": "integer", "minimum": 0 }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Json => json!({}),
    };
    let default = field.default.and_then(|default| serde_json::from_str::<Value>(default).ok());
    if let Some(default) = default.filter(|default| !default.is_null()) {
        schema["default"] = default;
    }
    schema
}

fn body(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = schema(field);
        schema["description"] = field.about.into();
        properties.insert(field.name.into(), schema);
    }
    let required: Vec<&str> =
        fields.iter().filter(|field| field.default.is_none()).map(|field| field.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    json!({ "required": !required.is_empty(), "content": { "application/json": { "schema": schema } } })
}

fn responses(route: &Route) -> Value {
    let json = |schema: Value| json!({ "application/json": { "schema": schema } });
    let items = |next: &str| {
        json(json!({ "type": "object", "required": ["items", "next"], "properties": {
            "items": { "type": "array", "items": {} },
            "total": { "type": "integer" },
            "next": { "type": ["integer", "string", "null"], "description": next },
        } }))
    };
    let (status, good) = match route.answer {
        Answer::Now => {
            ("200", json!({ "description": "Done.", "content": json(json!({ "type": "object" })) }))
        }
        Answer::Made => {
            ("201", json!({ "description": "Made.", "content": json(json!({ "type": "object" })) }))
        }
        Answer::List(_) => {
            ("200", json!({ "description": "A page.", "content": items("The offset of the next page.") }))
        }
        Answer::Page => {
            ("200", json!({ "description": "A page.", "content": items("The cursor of the next page.") }))
        }
        Answer::Before => {
            ("200", json!({ "description": "A page.", "content": items("`before` of the next page.") }))
        }
        Answer::Long => ("202", call_response("It has begun.")),
        Answer::Octets => (
            "200",
            json!({ "description": "The message.", "content": { "message/rfc822": { "schema": { "type": "string" } } } }),
        ),
    };
    let mut responses = json!({ "default": { "$ref": "#/components/responses/Problem" } });
    responses[status] = good;
    responses
}

fn call_response(about: &str) -> Value {
    json!({ "description": about, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Call" } } } })
}

fn call_operation(id: &str, about: &str, parameters: &[Value], status: &str, good: Value) -> Value {
    let mut responses = json!({ "default": { "$ref": "#/components/responses/Problem" } });
    responses[status] = good;
    json!({ "operationId": id, "summary": about, "tags": ["calls"], "parameters": parameters, "responses": responses })
}

fn listed_calls() -> Value {
    let page = json!({ "description": "A page.", "content": { "application/json": { "schema": { "type": "object" } } } });
    call_operation("callList", "Long calls of today, the newest first.", &paging(), "200", page)
}

fn watched_call() -> Value {
    let number = |name: &str, about: &str| {
        json!({ "name": name, "in": "query", "required": false, "description": about,
            "schema": { "type": "integer", "minimum": 0 } })
    };
    let parameters = vec![
        path_parameter("token"),
        number("statusVersion", "Answer once the version is newer than this."),
        number("wait", "But after so many seconds at the latest, 30 at most."),
    ];
    call_operation("callShow", "How a long call stands.", &parameters, "200", call_response("So it stands."))
}

fn cancelled_call() -> Value {
    let parameters = vec![path_parameter("token")];
    let good = call_response("It comes to an end at the next safe point.");
    call_operation("callCancel", "Cancel a long call.", &parameters, "202", good)
}

fn problem() -> Value {
    json!({ "type": "object", "required": ["type", "title", "status", "detail"], "properties": {
        "type": { "type": "string", "description": "`urn:postern:problem:` and a word that does not change." },
        "title": { "type": "string" },
        "status": { "type": "integer" },
        "detail": { "type": "string", "description": "What happened and what to do." },
        "retry_after_seconds": { "type": "integer" },
    } })
}

fn call() -> Value {
    json!({ "type": "object",
        "required": ["token", "command", "statusCode", "percentProgress", "statusVersion", "result", "logOutput"],
        "properties": {
            "token": { "type": "string" },
            "command": { "type": "string" },
            "instance": { "type": ["string", "null"] },
            "startedAt": { "type": "integer", "description": "Milliseconds since 1970." },
            "finishedAt": { "type": ["integer", "null"] },
            "statusCode": { "enum": ["running", "succeeded", "failed", "cancelled"] },
            "percentProgress": { "type": "integer", "minimum": 0, "maximum": 100 },
            "statusVersion": { "type": "integer", "description": "Grows with every change." },
            "result": { "description": "What the command line prints with --json." },
            "error": { "type": ["string", "null"] },
            "logOutput": { "type": "array", "items": { "type": "string" } },
        } })
}
