//! Page of the configuration file, from the JSON Schema of [`Config`].
//! In: the schema, the defaults, the bounds that `check` reads. Out: Markdown, a section for each table.

use auscult_operators::filter::conditioning;
use auscult_operators::params::Bound;
use serde_json::Value;

use super::markdown::{code, default, head, properties, range, resolve, table};
use crate::check;
use crate::config::Config;

/// `config.md`.
pub(super) fn page() -> String {
    let about = "TOML. Every key has a default, so an empty file is a whole configuration; an unknown key is an error. \
                 `auscult init` writes a commented file, `auscult check -c FILE` reports every fault at once with \
                 line, column and hint. Beside the bounds shown, `lateness_s <= quiet_s <= silent_s` must hold.";
    let mut out = head("Configuration", about);
    let schema = schemars::schema_for!(Config);
    let (root, defaults) = (schema.as_value(), serde_json::to_value(Config::default()).unwrap_or_default());
    for section in properties(root, root) {
        let items = resolve(root, &section.schema["items"]);
        let (title, inner) = match section.key {
            "rules" => ("`[[rules]]`".to_string(), items),
            "operators" | "scores" => (format!("`[{}.NAME]`", section.key), &Value::Null),
            key => (format!("`[{key}]`"), section.schema),
        };
        out += &format!("## {title}\n\n{}\n\n", section.about);
        out += &match section.key {
            "operators" => "Keys: [operators](operators.md).\n\n".into(),
            "scores" => "Keys: [scores](scores.md).\n\n".into(),
            key => keys(root, inner, key, &defaults[key]),
        };
    }
    out
}

fn keys(root: &Value, schema: &Value, section: &str, defaults: &Value) -> String {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let rows = properties(root, schema).into_iter().map(|p| {
        let own = resolve(root, schema)["properties"][p.key]["default"].clone();
        let value = match (section, required.contains(&p.key)) {
            (_, true) => "required".into(),
            ("rules", _) => default(&own),
            _ => default(&defaults[p.key]),
        };
        vec![code(p.key), p.kind, value, bound(section, p.key).map_or(String::new(), |b| range(&b)), p.about]
    });
    table(&["Key", "Type", "Default", "Bounds", "Meaning"], rows)
}

fn bound(section: &str, key: &str) -> Option<Bound> {
    let (all, name) = match section {
        "conditioning" => (conditioning::BOUNDS, key.to_string()),
        _ => (check::BOUNDS, format!("{section}.{key}")),
    };
    all.iter().find(|b| b.name == name).copied()
}
