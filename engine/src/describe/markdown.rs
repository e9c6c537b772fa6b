//! Pieces of Markdown that all pages share.
//! In: texts and numbers. Out: tables, headings, and the rows of a JSON Schema's properties.

use auscult_operators::params::Bound;
use auscult_operators::signal::Kind;
use serde_json::Value;

/// Where a generated page begins.
pub(super) fn head(title: &str, about: &str) -> String {
    format!(
        "# {title}\n\n<!-- Printed from the code by `auscult docs --write docs`; edits here are overwritten. -->\n\n\
         {about}\n\n"
    )
}

/// A table; cells may hold anything but line ends.
pub(super) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = line(columns.iter().map(ToString::to_string).collect());
    out += &format!("|{}\n", "---|".repeat(columns.len()));
    for row in rows {
        out += &line(row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect());
    }
    out + "\n"
}

/// A list of items, nothing for none.
pub(super) fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut out = String::new();
    for item in items {
        out += &format!("- {item}\n");
    }
    if out.is_empty() { out } else { out + "\n" }
}

/// As code, nothing for nothing.
pub(super) fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// A kind of channel in words.
pub(super) fn kind_of(channel: Kind) -> String {
    format!("{channel:?}").chars().fold(String::new(), |mut out, c| {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
        out
    })
}

/// A number of seconds, as short as it goes; whole hours and days as such.
pub(super) fn seconds(s: f64) -> String {
    for (unit, name) in [(86_400.0, "d"), (3_600.0, "h")] {
        if s >= unit && s % unit == 0.0 {
            return format!("{} {name}", s / unit);
        }
    }
    // To the millisecond: sums of delays are not exact in binary.
    format!("{} s", (s * 1000.0).round() / 1000.0)
}

/// Without blanks at line ends, and with exactly one line end at the end.
pub(super) fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

/// One property of a schema.
pub(super) struct Property<'a> {
    pub key: &'a str,
    pub about: String,
    pub kind: String,
    pub schema: &'a Value,
}

/// The properties of an object schema, in the order of their names.
pub(super) fn properties<'a>(root: &'a Value, schema: &'a Value) -> Vec<Property<'a>> {
    let Some(all) = resolve(root, schema)["properties"].as_object() else { return Vec::new() };
    let mut out: Vec<Property<'a>> = all
        .iter()
        .map(|(key, schema)| {
            let inner = resolve(root, schema);
            let text = |v: &Value| v["description"].as_str().unwrap_or("").replace('\n', " ");
            let about = if text(schema).is_empty() { text(inner) } else { text(schema) };
            Property { key, about, kind: kind(root, schema), schema: inner }
        })
        .collect();
    out.sort_by_key(|p| p.key);
    out
}

/// Parameters of a card as a table: key, type, default, bounds, meaning.
pub(super) fn parameters(schema: &Value, defaults: &Value, bounds: &[&Bound]) -> String {
    let rows: Vec<Vec<String>> = properties(schema, schema)
        .into_iter()
        .map(|p| {
            let bound = bounds.iter().find(|b| b.name == p.key);
            vec![
                code(p.key),
                p.kind,
                default(&defaults[p.key]),
                bound.map_or(String::new(), |b| range(b)),
                p.about,
            ]
        })
        .collect();
    if rows.is_empty() {
        return "No parameters.\n\n".into();
    }
    table(&["Parameter", "Type", "Default", "Bounds", "Meaning"], rows)
}

/// A default value as TOML would have it.
pub(super) fn default(value: &Value) -> String {
    if value.is_null() { "none".into() } else { code(&value.to_string()) }
}

/// A bound with its unit.
pub(super) fn range(b: &Bound) -> String {
    format!("{} to {} {}", b.min, b.max, b.unit).trim_end().into()
}

/// What a `$ref` leads to.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|r| root.pointer(r.strip_prefix('#')?));
    target.unwrap_or(schema)
}

/// The type of a property in words.
fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let names: Vec<String> = choices
            .iter()
            .map(|c| c["const"].as_str().map_or_else(|| kind(root, c), |name| format!("`{name}`")))
            .collect();
        return names.join(", ");
    }
    if let Some(names) = schema["enum"].as_array() {
        return names
            .iter()
            .map(|n| format!("`{}`", n.as_str().unwrap_or("null")))
            .collect::<Vec<_>>()
            .join(", ");
    }
    match &schema["type"] {
        Value::String(t) => plain(root, schema, t),
        Value::Array(all) => {
            let some = all.iter().filter_map(Value::as_str).find(|t| *t != "null").unwrap_or("any");
            format!("{} or none", plain(root, schema, some))
        }
        _ => "any".into(),
    }
}

fn plain(root: &Value, schema: &Value, name: &str) -> String {
    match name {
        "array" => format!("list of {}", kind(root, &schema["items"])),
        "object" => "table".into(),
        "string" => "text".into(),
        "integer" => "whole number".into(),
        "boolean" => "true or false".into(),
        other => other.into(),
    }
}
