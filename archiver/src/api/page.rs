//! A page to read the document on: plain HTML, without script.

use super::routes::{Field, ROUTES, Route};
use crate::access::Need;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Postern archiver: API</title>\
<meta name=\"viewport\" content=\"width=device-width\"><style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;\
margin:2rem auto;padding:0 1rem;color-scheme:light dark}code,pre{font:14px/1.4 ui-monospace,monospace}h2{font-size:1rem;\
margin:2rem 0 .25rem}td{padding:.1rem 1rem .1rem 0;vertical-align:top}pre{overflow-x:auto;padding:.5rem;border:1px solid}\
</style><h1>Postern archiver: API</h1><p>Send a bearer token made by <code>postern-archiver token create</code>. \
<a href=\"/api/openapi.json\">openapi.json</a> says the same for programs. Long calls answer 202; watch them at \
<code>GET /api/v1/calls/{token}?statusVersion=N</code> and cancel them with <code>DELETE</code>.</p>";

pub(super) fn text() -> String {
    let mut page = HEAD.to_owned();
    for route in ROUTES {
        let Route { method, path, about, .. } = route;
        let scope = format!("{:?}", Need::of(route.command).scope()).to_lowercase();
        page.push_str(&format!(
            "<h2><code>{method} {path}</code></h2><p>{about} Scope <code>{scope}</code>.</p>"
        ));
        if !route.fields.is_empty() {
            page.push_str("<table>");
            route.fields.iter().for_each(|field| page.push_str(&row(field)));
            page.push_str("</table>");
        }
        page.push_str(&format!("<pre>{}</pre>", example(route)));
    }
    page
}

fn row(Field { name, kind, default, about }: &Field) -> String {
    let default = match default {
        None => "required".to_owned(),
        Some("null") => "optional".to_owned(),
        Some(default) => format!("default {default}"),
    };
    let kind = format!("{kind:?}").to_lowercase();
    format!("<tr><td><code>{name}</code><td>{kind}, {default}<td>{about}")
}

fn example(route: &Route) -> String {
    let must: Vec<&Field> = route.fields.iter().filter(|field| field.default.is_none()).collect();
    let (mut query, mut body) = (String::new(), String::new());
    if route.has_query() {
        let pairs: Vec<String> = must.iter().map(|field| format!("{}=…", field.name)).collect();
        query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&amp;")) };
    } else {
        let pairs: Vec<String> = must.iter().map(|field| format!("\"{}\": …", field.name)).collect();
        body = if pairs.is_empty() { String::new() } else { format!(" --json '{{{}}}'", pairs.join(", ")) };
    }
    let method = if route.method == "GET" { String::new() } else { format!(" -X {}", route.method) };
    format!(
        "curl --cacert self-signed.crt.pem -H @token{method}{body} 'https://localhost:8474{}{query}'",
        route.path
    )
}
