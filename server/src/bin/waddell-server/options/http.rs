//! HTTP: the pages that are served, and the origins that may connect.

use std::path::{Path, PathBuf};

use clap::Args;
use waddell_server::{HttpOptions, Www};

use super::error::OptionsError;
use super::values::origin;

#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(super) struct HttpArgs {
    /// Serve the files of this folder at / instead of the demo page. With `off`, serve neither.
    #[arg(long, value_name = "DIR", env = "WADDELL_WWW")]
    www: Option<PathBuf>,
    /// Let only pages of this origin open a WebSocket, such as https://example.org. Repeatable.
    /// [default: any]
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "WADDELL_ORIGIN",
        value_delimiter = ',',
        value_parser = origin
    )]
    origin: Vec<String>,
}

impl HttpArgs {
    pub(super) fn to_options(&self) -> Result<HttpOptions, OptionsError> {
        let www = match &self.www {
            None => Www::Demo,
            Some(folder) if folder == Path::new("off") => Www::Off,
            Some(folder) if folder.is_dir() => Www::Folder(folder.clone()),
            Some(folder) => {
                let folder = folder.display();
                return Err(OptionsError(format!("--www {folder}: there is no such folder")));
            }
        };
        Ok(HttpOptions { origins: self.origin.clone(), www })
    }
}
