//! The part of NATS's text protocol that small messages need.

use std::process;

use waddell_core::{HEADER_LEN, PeerId};

use super::Incoming;

/// Reads the bytes of a NATS server.
#[derive(Default)]
pub(super) struct Reader {
    /// The beginning of an unfinished line or message.
    partial: Vec<u8>,
    ready: bool,
}

impl Reader {
    pub(super) fn take(
        &mut self,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
        on: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), String> {
        if self.partial.is_empty() {
            let taken = self.take_whole(bytes, out, on)?;
            self.partial.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        let taken = self.take_whole(&joined, out, on)?;
        joined.drain(..taken);
        self.partial = joined;
        Ok(())
    }

    /// Takes whole lines and messages; returns their length in bytes.
    fn take_whole(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        on: &mut impl FnMut(Incoming<'_>),
    ) -> Result<usize, String> {
        let mut taken = 0;
        while let Some(len) = bytes[taken..].iter().position(|byte| *byte == b'\n') {
            let line = bytes[taken..taken + len].trim_ascii_end();
            let next = taken + len + 1;
            if let Some(arguments) = line.strip_prefix(b"MSG ") {
                let len = arguments.rsplit(|byte| *byte == b' ').next().and_then(parse);
                let len = len.ok_or_else(|| unexpected(line))?;
                let Some(payload) = bytes.get(next..next + len + LINE_END.len()) else {
                    return Ok(taken);
                };
                let body = payload.get(HEADER_LEN..len).ok_or_else(|| unexpected(line))?;
                on(Incoming::Message(None, body));
                taken = next + payload.len();
                continue;
            }
            match line {
                b"PING" => out.extend_from_slice(b"PONG\r\n"),
                b"PONG" if !self.ready => {
                    self.ready = true;
                    on(Incoming::Ready(PeerId::NIL));
                }
                b"PONG" | b"+OK" => {}
                line if line.starts_with(b"INFO ") => {}
                line => return Err(unexpected(line)),
            }
            taken = next;
        }
        Ok(taken)
    }
}

/// Makes the connection the peer of that number. The server confirms it by a PONG.
pub(super) fn subscribe(peer: usize, out: &mut Vec<u8>) {
    let connect = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"echo\":true}}\r\n\
         SUB w.{}.{peer} 1\r\nPING\r\n",
        process::id()
    );
    out.extend_from_slice(connect.as_bytes());
}

pub(super) fn publish(
    peer: usize,
    len: usize,
    out: &mut Vec<u8>,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    out.extend_from_slice(format!("PUB w.{}.{peer} {len}\r\n", process::id()).as_bytes());
    payload(out);
    out.extend_from_slice(LINE_END);
}

fn parse(digits: &[u8]) -> Option<usize> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn unexpected(line: &[u8]) -> String {
    format!("unexpected from a NATS server: {}", line.escape_ascii())
}

const LINE_END: &[u8] = b"\r\n";
