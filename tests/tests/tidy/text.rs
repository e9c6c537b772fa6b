//! Checks of one file's text.
//! In: the text. Out: faults, each with its line.

/// Most lines of a file, before its tests.
pub const FILE_LINES: usize = 500;
/// Most lines of a function, its signature included.
pub const FUNCTION_LINES: usize = 70;
/// Most characters of a line. The formatter holds code to less; this is for what it leaves alone: comments, texts.
pub const LINE_COLUMNS: usize = 120;

/// A line, from 1, and what is wrong there.
pub type Fault = (usize, String);

/// A Rust file opens with what it does.
pub fn opening(text: &str) -> Vec<Fault> {
    if text.starts_with("//! ") { vec![] } else { vec![(1, "expected to open with `//!`".into())] }
}

/// A file ends where its tests begin, and is not too long.
pub fn length(text: &str) -> Vec<Fault> {
    let lines = text.lines().take_while(|l| *l != "#[cfg(test)]").count();
    if lines > FILE_LINES { vec![(lines, format!("{lines} lines, {FILE_LINES} allowed"))] } else { vec![] }
}

/// No line is too wide.
pub fn width(text: &str) -> Vec<Fault> {
    let wide = |l: &str| Some(l.chars().count()).filter(|n| *n > LINE_COLUMNS);
    lines(text)
        .filter_map(|(n, l)| Some((n, format!("{} columns, {LINE_COLUMNS} allowed", wide(l)?))))
        .collect()
}

/// No function is too long. The code is formatted, so a function ends at the first brace as far in as it began.
pub fn functions(text: &str) -> Vec<Fault> {
    let all: Vec<&str> = text.lines().collect();
    let mut faults = Vec::new();
    for (at, line) in all.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", &line[..indent]);
        // The body begins where the signature ends: on this line, or on the first one no further in.
        let signature =
            all[at..].iter().position(|l| l.ends_with('{') || l.ends_with('}') || l.ends_with(';'));
        let Some(open) = signature.filter(|n| all[at + n].ends_with('{')) else { continue };
        let Some(close) = all[at + open..].iter().position(|l| *l == end) else { continue };
        let long = open + close + 1;
        if long > FUNCTION_LINES {
            faults.push((at + 1, format!("function {name} has {long} lines, {FUNCTION_LINES} allowed")));
        }
    }
    faults
}

/// The name of the function whose signature begins on this line.
fn function(line: &str) -> Option<&str> {
    let (before, after) =
        line.trim_start().split_once("fn ").filter(|(b, _)| b.is_empty() || b.ends_with(' '))?;
    let qualifier =
        |w: &str| w.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\""].contains(&w);
    before.split_whitespace().all(qualifier).then(|| after.split(['(', '<']).next())?
}

/// Words that say that something is unfinished or switched off. Written so that this file does not hold them.
pub fn markers_forbidden() -> [&'static str; 6] {
    [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("db", "g!"),
        concat!("#[ig", "nore"),
    ]
}

/// Nothing is unfinished or switched off.
pub fn markers(text: &str) -> Vec<Fault> {
    holding(text, &markers_forbidden())
}

/// Folders of one machine.
pub fn machine_paths_forbidden() -> [&'static str; 4] {
    [concat!("/t", "mp/"), concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")]
}

/// Nothing names a folder of one machine.
pub fn machine_paths(text: &str) -> Vec<Fault> {
    holding(text, &machine_paths_forbidden())
}

fn holding(text: &str, words: &[&str]) -> Vec<Fault> {
    let found = |l: &str| words.iter().find(|w| l.contains(**w)).map(|w| format!("holds `{w}`"));
    lines(text).filter_map(|(n, l)| Some((n, found(l)?))).collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(n, l)| (n + 1, l))
}
