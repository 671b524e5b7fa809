//! The golden bytes of control frames, and what they mean, spelled out.

use std::iter;

use serde::Deserialize;
use serde_json::Value;
use waddell_core::{HEADER_LEN, PREFIX_LEN};

use super::{RawBytes, expand};

/// One control frame: bytes and their meaning.
#[derive(Debug)]
pub struct ControlVector {
    /// Name, unique in the file.
    pub name: String,
    /// The frame, prefix included.
    pub wire: Vec<u8>,
    /// How a reader takes the frame.
    pub outcome: ControlOutcome,
    /// The kind and the fields, if the frame means anything. Bytes are strings of hexadecimal
    /// digits, and entries of a list are repeated as often as the list says.
    pub meaning: Option<Value>,
    /// The body in base64url.
    pub base64url: Option<String>,
    /// The name of the vector whose bytes come in the same read.
    pub then: Option<String>,
}

/// How a reader takes a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ControlOutcome {
    /// It has a meaning, and that is always written so.
    Understood,
    /// It has a meaning that is written differently.
    Tolerated,
    /// Its kind is unknown.
    UnknownKind,
    /// It is malformed.
    Malformed,
}

impl ControlVector {
    /// Returns the body: the kind and what comes after it.
    pub fn body(&self) -> &[u8] {
        &self.wire[PREFIX_LEN + HEADER_LEN..]
    }
}

#[derive(Deserialize)]
pub(super) struct Raw {
    name: String,
    wire: Vec<RawBytes>,
    outcome: ControlOutcome,
    control: Option<Value>,
    base64url: Option<String>,
    then: Option<String>,
}

impl From<Raw> for ControlVector {
    fn from(raw: Raw) -> Self {
        let Raw { name, wire, outcome, control, base64url, then } = raw;
        let meaning = control.map(joined);
        Self { name, wire: expand(&wire), outcome, meaning, base64url, then }
    }
}

/// Joins the pieces of bytes and of texts, and repeats the entries of lists.
fn joined(value: Value) -> Value {
    match value {
        Value::Array(list) => {
            let list: Vec<Value> = list.into_iter().flat_map(repeated).collect();
            match list.iter().map(piece).collect::<Option<String>>() {
                Some(whole) if !list.is_empty() => Value::String(whole),
                Some(_) | None => Value::Array(list),
            }
        }
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, joined(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// Returns an entry of a list as often as it says.
fn repeated(mut entry: Value) -> impl Iterator<Item = Value> {
    let times = entry.as_object_mut().and_then(|fields| fields.remove("times"));
    let times = times.map_or(1, |times| times.as_u64().expect("`times` is a number"));
    iter::repeat_n(entry, times as usize)
}

/// Returns a piece of bytes, as hexadecimal digits, or of a text.
fn piece(entry: &Value) -> Option<String> {
    let text = entry.get("text").and_then(Value::as_str).map(str::to_owned);
    text.or_else(|| Some(entry.get("hex")?.as_str()?.replace(' ', "")))
}
