//! The reference pages: every registry, table and schema as Markdown, so that a number stands once, in the code.
//! In: nothing but the registries. Out: pages for `docs/reference/` and schemas for `docs/schema/`.

mod archive;
mod config;
mod markdown;
mod models;
mod operators;
mod rules;
mod schema;
mod scores;
mod tables;
mod topics;

pub use schema::{SCHEMAS, schema};

/// One generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Path below `docs/`.
    pub path: String,
    /// Its whole content.
    pub text: String,
}

/// Writes one page.
type Writer = fn() -> String;

/// Every generated file of `docs/`, the same on every run.
///
/// ```
/// let pages = auscult::describe::pages();
/// let limits = pages.iter().find(|p| p.path == "reference/limits.md").unwrap();
/// assert!(limits.text.contains("FRAME_BYTES"));
/// ```
pub fn pages() -> Vec<Page> {
    let writers: &[(&str, Writer)] = &[
        ("archive", archive::page),
        ("channels", tables::channels),
        ("codes", tables::codes),
        ("config", config::page),
        ("limits", tables::limits),
        ("metrics", tables::metrics),
        ("models", models::page),
        ("operators", operators::page),
        ("rules", rules::page),
        ("scores", scores::page),
        ("topics", topics::page),
    ];
    let reference = writers
        .iter()
        .map(|(name, write)| Page { path: format!("reference/{name}.md"), text: markdown::tidy(&write()) });
    let schemas = SCHEMAS.iter().filter_map(|(name, _)| {
        Some(Page { path: format!("schema/{name}.json"), text: schema::schema(name)? })
    });
    reference.chain(schemas).collect()
}
