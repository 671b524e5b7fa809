//! The configuration in effect, as a TOML file with the same meaning.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{self, PathBuf};

use clap::{ArgMatches, CommandFactory, ValueHint};
use toml::Value;
use waddell_server::Www;

use super::Options;
use super::error::OptionsError;

/// Checks the whole configuration, and returns it as TOML: every option that has a value, default
/// or not, in the order of the help.
///
/// Today's names replace the original's. Certificate and key are given as paths.
pub(super) fn to_toml(options: &Options, matches: &ArgMatches) -> Result<String, OptionsError> {
    let config = options.to_config()?;
    let command = Options::command();
    let mut text = String::new();
    for argument in command.get_arguments() {
        let Some(name) = argument.get_long() else { continue };
        let value = match name {
            "help" | "version" | "config" | "check" | "print-config" | "new-key" => continue,
            // Their values are part of `listen`, `cert` and `key`.
            "addr" | "certfile" | "pkfile" => continue,
            "listen" => {
                let urls = config.listen.iter().map(|url| Value::String(url.to_string()));
                Some(Value::Array(urls.collect()))
            }
            "origin" => {
                let origins = config.http.origins.iter().cloned().map(Value::String);
                (!config.http.origins.is_empty()).then(|| Value::Array(origins.collect()))
            }
            "www" => match &config.http.www {
                Www::Demo => None,
                Www::Off => Some(Value::String("off".to_owned())),
                Www::Folder(folder) => path(name, Some(folder))?,
            },
            "cert" => path(name, options.listening.cert())?,
            "key" => path(name, options.listening.key())?,
            "self-signed" => {
                options.self_signed().map(|host| written(name, host.as_ref())).transpose()?
            }
            _ if argument.get_value_hint() == ValueHint::AnyPath => {
                path(name, matches.get_one(argument.get_id().as_str()))?
            }
            _ => match matches.get_raw(argument.get_id().as_str()) {
                None => None,
                Some(values) => {
                    let values = values.map(|value| written(name, value));
                    let mut values = values.collect::<Result<Vec<_>, _>>()?;
                    let is_list = matches!(argument.get_action(), clap::ArgAction::Append);
                    if is_list { Some(Value::Array(values)) } else { values.pop() }
                }
            },
        };
        if let Some(value) = value {
            writeln!(text, "{name} = {value}").expect("strings can be written to");
        }
    }
    Ok(text)
}

/// Returns a path with the same meaning in any folder.
fn path(name: &str, path: Option<&PathBuf>) -> Result<Option<Value>, OptionsError> {
    // Fails for an empty path, and where the working directory is gone.
    let absolute = |path| path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    path.map(|path| written(name, absolute(path).as_os_str())).transpose()
}

/// Returns a value as an operator would write it: numbers, true and false without quotes.
fn written(name: &str, value: &OsStr) -> Result<Value, OptionsError> {
    let text = value.to_str().ok_or_else(|| {
        let value = value.display();
        OptionsError(format!("--{name} {value}: not valid UTF-8, which a TOML file needs"))
    })?;
    Ok(match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Value::Integer(number),
            Ok(_) | Err(_) => Value::String(text.to_owned()),
        },
    })
}
