//! `auscult docs`: the reference pages and schemas, from the cards.
//! In: the folder of the documents. Out: its generated files, written anew.

use std::path::PathBuf;

use super::say;
use crate::describe;
use crate::error::RunError;

/// Arguments of `auscult docs`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder to write into; the project keeps them in `docs`.
    #[arg(long, value_name = "DIR")]
    write: PathBuf,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    for page in describe::pages() {
        let path = args.write.join(&page.path);
        let folder = path.parent().unwrap_or(&args.write);
        std::fs::create_dir_all(folder).map_err(RunError::io("create folder", folder))?;
        std::fs::write(&path, page.text).map_err(RunError::io("write", &path))?;
        say::line(format_args!("wrote {}", path.display()))?;
    }
    Ok(())
}
