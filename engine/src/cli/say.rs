//! The only way in which a command speaks on standard output.
//! In: a line, or a text. Out: it is written; or the reason why the command ends: nobody reads any more, or it cannot
//! be written. Neither is a panic.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

use crate::error::RunError;

/// Writes one line.
///
/// # Errors
/// [`RunError::Unread`] if the reader has gone, [`RunError::Io`] if standard output cannot be written.
pub(super) fn line(line: Arguments<'_>) -> Result<(), RunError> {
    written(writeln!(io::stdout().lock(), "{line}"))
}

/// Writes a text as it is.
///
/// # Errors
/// As [`line`].
pub(super) fn text(text: &str) -> Result<(), RunError> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What the end of a write to standard output means for the command.
///
/// # Errors
/// As [`line`].
pub(super) fn written(result: io::Result<()>) -> Result<(), RunError> {
    result.map_err(|e| match e.kind() {
        ErrorKind::BrokenPipe => RunError::Unread,
        _ => RunError::io("write", "standard output")(e),
    })
}

/// Writes a line to standard error. If nobody reads that either, there is nobody left to tell.
pub(super) fn complaint(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
