//! Reads integers, ids and fields from the body of a control frame.

use alloc::vec::Vec;

use bytes::BufMut;

use super::{ControlError, MAX_ENTRIES};
use crate::id::PeerId;

/// Reads from the front of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// Removes the first `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ControlError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(ControlError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ControlError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ControlError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ControlError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ControlError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn id(&mut self) -> Result<PeerId, ControlError> {
        self.array().map(PeerId::from_bytes)
    }

    /// Removes the next field; `None` at the end.
    pub(crate) fn field(&mut self) -> Result<Option<(u8, &'a [u8])>, ControlError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.u8()?;
        let len = self.u16()?.into();
        let (value, rest) = self.0.split_at_checked(len).ok_or(ControlError::Malformed)?;
        self.0 = rest;
        Ok(Some((tag, value)))
    }
}

/// Sets a field that comes at most once.
pub(crate) fn set_once<T>(field: &mut Option<T>, value: T) -> Result<(), ControlError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(ControlError::Malformed),
    }
}

/// Returns bytes that must not be empty, and no longer than `most`.
pub(crate) fn bounded(bytes: &[u8], most: usize) -> Result<&[u8], ControlError> {
    if bytes.is_empty() || bytes.len() > most { Err(ControlError::Malformed) } else { Ok(bytes) }
}

/// Returns the entries of that length in `bytes`, which must be 1 to [`MAX_ENTRIES`]. Bytes after
/// the last whole entry are left out.
pub(crate) fn entries(bytes: &[u8], len: usize) -> Result<&[u8], ControlError> {
    match bytes.len() / len {
        count @ 1..=MAX_ENTRIES => bytes.get(..count * len).ok_or(ControlError::Malformed),
        _none_or_too_many => Err(ControlError::Malformed),
    }
}

/// Appends a field.
pub(crate) fn put_field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.put_u8(tag);
    out.put_u16_le(value.len() as u16);
    out.put_slice(value);
}
