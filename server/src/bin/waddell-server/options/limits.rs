//! Limits on bytes, connections and frames.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use waddell_server::{Limits, RateLimit};

use super::error::OptionsError;
use super::values::{bytes, memory, rate, size_text, time};

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Most bytes in the outbox of one peer: the frames that the server has yet to send to it. A
    /// frame that does not fit is dropped and counted.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = size_text(Limits::default().outbox_bytes),
        env = "WADDELL_OUTBOX",
        value_parser = bytes
    )]
    outbox: usize,
    /// Most memory of all outboxes together, at least 16 times --outbox; 0: no limit. Near the
    /// limit the fullest outboxes lose frames first.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = size_text(Limits::default().outbox_total_bytes),
        env = "WADDELL_OUTBOX_TOTAL",
        value_parser = memory
    )]
    outbox_total: usize,
    /// Longest frame, in bytes. A peer that sends a longer one is disconnected.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = Limits::default().max_frame_len,
        env = "WADDELL_MAX_FRAME",
        value_parser = clap::value_parser!(u16).range(18..)
    )]
    max_frame: u16,
    /// Most connections at a time; 0: no limit.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().max_connections,
        env = "WADDELL_MAX_CONNECTIONS"
    )]
    max_connections: usize,
    /// Most connections at a time from one address (IPv6: one /64); 0: no limit.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().max_connections_per_address,
        env = "WADDELL_MAX_CONNECTIONS_PER_ADDRESS"
    )]
    max_connections_per_address: usize,
    /// Most connections accepted a second, on all listeners together. Further connections wait.
    /// [default: no limit]
    #[arg(long, value_name = "N", env = "WADDELL_ACCEPT_RATE")]
    accept_rate: Option<NonZeroU32>,
    /// Most frames a second from one peer. The server reads more slowly from a faster peer, and
    /// drops none of its frames. [default: no limit]
    #[arg(long, value_name = "N", env = "WADDELL_RATE_FRAMES")]
    rate_frames: Option<NonZeroU32>,
    /// Most bytes a second from one peer, limited in the same way. [default: no limit]
    #[arg(long, value_name = "BYTES", env = "WADDELL_RATE_BYTES", value_parser = rate)]
    rate_bytes: Option<NonZeroU32>,
    /// A peer saves up its unused rate for this long, and may send that much at once.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        env = "WADDELL_RATE_BURST",
        value_parser = time
    )]
    rate_burst: Duration,
}

impl LimitArgs {
    /// Checks the limits against each other, and returns them.
    pub(super) fn to_limits(&self) -> Result<Limits, OptionsError> {
        let largest_frame = usize::from(self.max_frame) + waddell_core::PREFIX_LEN;
        if self.outbox < largest_frame {
            return Err(OptionsError(format!(
                "--outbox {}: too small for the largest frame ({largest_frame} bytes); \
                 raise it or lower --max-frame",
                self.outbox
            )));
        }
        if self.outbox_total != 0 && self.outbox_total / 16 < self.outbox {
            return Err(OptionsError(format!(
                "--outbox-total {}: less than 16 times --outbox ({} bytes); \
                 raise it or lower --outbox",
                self.outbox_total, self.outbox
            )));
        }
        Ok(Limits {
            outbox_bytes: self.outbox,
            outbox_total_bytes: self.outbox_total,
            max_frame_len: self.max_frame,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            accept_rate: self.accept_rate,
            rate_limit: self.rate_limit(),
        })
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        let Self { rate_frames, rate_bytes, rate_burst, .. } = *self;
        (rate_frames.is_some() || rate_bytes.is_some()).then_some(RateLimit {
            frames_per_second: rate_frames,
            bytes_per_second: rate_bytes,
            burst: rate_burst,
        })
    }
}
