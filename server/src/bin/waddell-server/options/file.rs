//! The TOML file. Its keys are the names of the flags, its values become their defaults. A path in
//! it is relative to its folder.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use clap::{Arg, Command, ValueHint};
use waddell_server::read_file;

use super::error::OptionsError;
use super::explain::closest;

/// Reads a file, and makes its values the defaults of the flags.
pub(super) fn with_file(mut command: Command, file: &Path) -> Result<Command, OptionsError> {
    let place = format!("--config {}", file.display());
    let text = read_file(file)
        .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
        .map_err(|error| OptionsError(format!("{place}: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count()) + 1;
        OptionsError(format!("{place}, line {line}: {}", error.message()))
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    for (key, value) in table {
        if COMMAND_LINE.contains(&key.as_str()) {
            return Err(OptionsError(format!(
                "{place}: {key}: not allowed in a file; use --{key} on the command line"
            )));
        }
        let named = |argument: &&Arg| argument.get_long() == Some(&key);
        let known = command.get_arguments().find(named).map(|argument| argument.get_id().clone());
        let Some(id) = known else {
            let names = || {
                let all = command.get_arguments().filter_map(Arg::get_long);
                all.filter(|name| !COMMAND_LINE.contains(name))
            };
            let hint = closest(&key.replace('_', "-"), names())
                .map_or(String::new(), |name| format!("; did you mean {name:?}?"));
            return Err(OptionsError(format!("{place}: unknown key {key:?}{hint}")));
        };
        let values = values(&value).ok_or_else(|| {
            OptionsError(format!(
                "{place}: {key}: expected text, a number, true, false or a list of them"
            ))
        })?;
        command = command.mut_arg(id, |arg| {
            let is_path = arg.get_value_hint() == ValueHint::AnyPath;
            let values = values.into_iter().map(|value| match (key.as_str(), value.as_str()) {
                ("www", "off") => value.into(),
                _ if is_path => folder.join(value).into_os_string(),
                _ => value.into(),
            });
            arg.default_values(values.collect::<Vec<OsString>>())
        });
    }
    Ok(command)
}

/// Options that a file cannot set: it is read because of them, or no server is started.
const COMMAND_LINE: [&str; 6] = ["check", "config", "help", "new-key", "print-config", "version"];

fn values(value: &toml::Value) -> Option<Vec<String>> {
    let one = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Float(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => None,
    };
    match value {
        toml::Value::Array(list) => list.iter().map(one).collect(),
        other => Some(vec![one(other)?]),
    }
}
