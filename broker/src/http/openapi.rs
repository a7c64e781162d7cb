//! `GET /v1/openapi.json`: the API as OpenAPI 3.1, from the types of the wire and the table of [`rows`].
//!
//! `docs/openapi.json` is this document, committed: a test holds one against the other, and the table against the
//! router, so that no route is there without a row that says who may call it and what it answers.

mod pages;
mod people;
mod requests;
mod rows;

use axum::response::Response;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use stint_wire::oauth::TokenRefused;
use stint_wire::{Code, Problem};

use super::facts;
use pages::PAGES;
use people::PEOPLE;
use requests::REQUESTS;
use rows::{ROWS, Row, Shape, Who};

/// The document, for anybody.
pub(super) async fn serve() -> Response {
    facts::public(&document())
}

/// The document. The same for every broker of this version: its one server is where it was fetched from.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = SchemaGenerator::new(settings);
    let mut paths = Map::new();
    let rows = ROWS.iter().chain(PEOPLE).chain(REQUESTS).chain(PAGES);
    for row in rows.filter(|row| row.who != Who::Operator) {
        let operation = operation(row, &mut schemas);
        // The rest of a path is the router's own word.
        let path = paths
            .entry(row.path.replace("{*", "{"))
            .or_insert_with(|| json!({}));
        path[row.method] = operation;
    }
    let problem = schemas.subschema_for::<Problem>();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stint",
            "summary": "Credentials for one unit of work, recorded before they are signed",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "responses": { "Problem": problem_answer(&problem.to_value()) },
            "securitySchemes": security(),
            "schemas": schemas.take_definitions(true),
        },
    });
    plain(&mut document);
    document
}

fn operation(row: &Row, schemas: &mut SchemaGenerator) -> Value {
    let mut answers = Map::new();
    for (status, about, shape) in row.answers {
        let mut answer = json!({ "description": about });
        if let Some(content) = content(shape, schemas) {
            put(&mut answer, "content", content);
        }
        answers.insert(status.to_string(), answer);
    }
    for (status, codes) in refusals(row) {
        let answer = match row.who {
            Who::Client | Who::Refuser => refused(&codes, schemas),
            Who::Anybody | Who::Caller | Who::Operator | Who::Person => {
                json!({ "$ref": "#/components/responses/Problem", "description": codes })
            }
        };
        answers.entry(status.to_string()).or_insert(answer);
    }
    let mut operation = json!({
        "operationId": row.id, "summary": row.about, "responses": answers,
    });
    if row.who == Who::Caller {
        let either = json!([{ "evidence": [] }, { "dpop": [] }]);
        put(&mut operation, "security", either);
    }
    if row.who == Who::Person {
        put(&mut operation, "security", json!([{ "session": [] }]));
    }
    if !row.parameters.is_empty() {
        let parameters = row.parameters.iter().map(rows::Parameter::json);
        put(&mut operation, "parameters", parameters.collect());
    }
    if let Some(content) = content(&row.asks, schemas) {
        let body = json!({ "required": true, "content": content });
        put(&mut operation, "requestBody", body);
    }
    operation
}

fn content(shape: &Shape, schemas: &mut SchemaGenerator) -> Option<Value> {
    match shape {
        Shape::Nothing => None,
        Shape::Wire(schema) => {
            let schema = schema(schemas).to_value();
            Some(json!({ "application/json": { "schema": schema } }))
        }
        Shape::Json(schema) => Some(json!({ "application/json": { "schema": schema() } })),
        Shape::Form(schema) => {
            Some(json!({ "application/x-www-form-urlencoded": { "schema": schema(schemas) } }))
        }
        Shape::Text(media) => Some(json!({ *media: { "schema": { "type": "string" } } })),
    }
}

/// A refusal of an OAuth endpoint: RFC 6749 §5.2, or a problem where the request did not reach it.
fn refused(codes: &str, schemas: &mut SchemaGenerator) -> Value {
    let own = schemas.subschema_for::<TokenRefused>().to_value();
    let problem = schemas.subschema_for::<Problem>().to_value();
    json!({
        "description": codes,
        "content": {
            "application/json": { "schema": own },
            "application/problem+json": { "schema": problem },
        },
    })
}

/// The statuses a route refuses with, each with the codes behind it.
fn refusals(row: &Row) -> Vec<(u16, String)> {
    let mut refusals: Vec<(u16, String)> = Vec::new();
    for code in Code::ALL.iter().filter(|code| row.refuses(**code)) {
        let (status, word) = (row.status(*code), format!("`{}`", code.as_str()));
        match refusals.iter_mut().find(|(known, _)| *known == status) {
            Some((_, words)) => *words = format!("{words}, {word}"),
            None => refusals.push((status, word)),
        }
    }
    refusals
}

fn problem_answer(schema: &Value) -> Value {
    let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    json!({
        "description": "RFC 9457",
        "headers": {
            "Retry-After": { "description": "Seconds, where the same ask may succeed later", "schema": { "type": "integer" } },
            "WWW-Authenticate": text("On 401"),
            "X-Request-Id": text("`err_…`: what to quote to an operator, whose log has the cause under it"),
        },
        "content": { "application/problem+json": { "schema": schema } },
    })
}

fn security() -> Value {
    json!({
        "evidence": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "An OIDC token of an issuer the broker knows; its one audience is `audience` of /v1/trust. \
                            Used once. With a `DPoP` header beside it, what is granted is bound to that key.",
        },
        "session": {
            "type": "apiKey", "in": "cookie", "name": "__Host-stint",
            "description": "Of somebody who signed in. What changes anything besides wants `Origin` to be the broker's \
                            own, and JSON.",
        },
        "dpop": {
            "type": "http", "scheme": "DPoP",
            "description": "The same token under RFC 9449's own scheme; the `DPoP` header is then required.",
        },
    })
}

/// Descriptions are doc comments: their links to Rust items mean nothing here.
fn plain(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" => {
                        *text = text
                            .replace("[`", "`")
                            .replace("`]", "`")
                            .replace('\n', " ");
                    }
                    member => plain(member),
                }
            }
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

/// As it is printed and committed.
#[must_use]
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// A member more.
fn put(object: &mut Value, name: &str, member: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), member);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::pages::PAGES;
    use super::people::PEOPLE;
    use super::requests::REQUESTS;
    use super::rows::{ROWS, Who};

    #[test]
    fn the_committed_document_is_the_generated_one() {
        let committed = include_str!("../../../docs/openapi.json");
        assert!(
            committed == super::text(),
            "docs/openapi.json is not what the code says; write it anew:\n  \
             cargo run --bin stintd -- help openapi > /tmp/openapi.json && mv /tmp/openapi.json docs/openapi.json"
        );
    }

    /// The role matrix (SECURITY.md §4, operators): a route without a row fails here, and a row without a route.
    #[test]
    fn every_route_has_its_row_and_every_row_its_route() {
        let of = |who: fn(Who) -> bool| -> BTreeSet<_> {
            let rows = ROWS
                .iter()
                .chain(PEOPLE)
                .chain(REQUESTS)
                .chain(PAGES)
                .filter(|row| who(row.who));
            rows.map(|row| (row.method, row.path)).collect()
        };
        let routes = |routes: super::super::Routes| -> BTreeSet<_> {
            routes.rows().iter().copied().collect()
        };
        assert_eq!(of(|who| who != Who::Operator), routes(super::super::api()));
        let mut operators = routes(super::super::ops_api());
        operators.extend(routes(super::super::socket_api()));
        assert_eq!(of(|who| who == Who::Operator), operators);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = super::document();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1);
        let mut count = 0;
        for reference in references {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            count += 1;
        }
        assert!(count > 20, "{count}");
    }
}
