//! What a running server can be told to do otherwise.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use waddell_core::ConnectionConfig;

use crate::config::ServerConfig;

/// The part of a [`ServerConfig`] that changes while the server runs; read wherever it is needed,
/// whenever it is. To read a [`Setting`] costs as much as to read any other field.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) outbox_bytes: Setting<usize>,
    pub(crate) write_timeout: Setting<Duration>,
    pub(crate) handshake_timeout: Setting<Duration>,
    pub(crate) auto_silence: Setting<Duration>,
    pub(crate) ping_interval: Setting<Duration>,
    pub(crate) pong_timeout: Setting<Duration>,
    pub(crate) frame_timeout: Setting<Duration>,
    pub(crate) max_frame_len: Setting<u16>,
    pub(crate) admin_debug: Setting<bool>,
    pub(crate) log_addresses: Setting<bool>,
    pub(crate) drain_delay: Setting<Duration>,
    pub(crate) drain_timeout: Setting<Duration>,
    /// Each connection takes its own copy when it begins.
    connection: RwLock<ConnectionConfig>,
}

impl Settings {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let settings = Self::default();
        settings.outbox_bytes.set(config.outbox_bytes);
        settings.change(config);
        settings
    }

    /// Takes on all that stands for itself: not the outbox's size, which has to go with other sizes.
    pub(crate) fn change(&self, config: &ServerConfig) {
        self.write_timeout.set(config.write_timeout);
        self.handshake_timeout.set(config.handshake_timeout);
        self.auto_silence.set(config.auto_silence);
        self.ping_interval.set(config.ping_interval);
        self.pong_timeout.set(config.pong_timeout);
        self.frame_timeout.set(config.frame_timeout);
        self.max_frame_len.set(config.max_frame_len);
        self.admin_debug.set(config.admin_debug);
        self.log_addresses.set(config.log_addresses);
        self.drain_delay.set(config.drain_delay);
        self.drain_timeout.set(config.drain_timeout);
        let ServerConfig { idle_timeout, rate_limit, .. } = *config;
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) =
            ConnectionConfig { idle_timeout, rate_limit };
    }

    /// Returns how a connection that begins is to be treated.
    pub(crate) fn connection(&self) -> ConnectionConfig {
        *self.connection.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that can be changed while others read it.
#[derive(Debug, Default)]
pub(crate) struct Setting<T>(AtomicU64, PhantomData<T>);

impl<T: Value> Setting<T> {
    pub(crate) fn get(&self) -> T {
        T::from_bits(self.0.load(Relaxed))
    }

    pub(crate) fn set(&self, value: T) {
        self.0.store(value.to_bits(), Relaxed);
    }
}

/// What fits into a [`Setting`].
pub(crate) trait Value {
    fn to_bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

impl Value for usize {
    fn to_bits(self) -> u64 {
        self as u64
    }

    fn from_bits(bits: u64) -> Self {
        bits as usize
    }
}

impl Value for u16 {
    fn to_bits(self) -> u64 {
        self.into()
    }

    fn from_bits(bits: u64) -> Self {
        bits as u16
    }
}

impl Value for bool {
    fn to_bits(self) -> u64 {
        self.into()
    }

    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
}

/// Up to 584 years, by the nanosecond.
impl Value for Duration {
    fn to_bits(self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }

    fn from_bits(bits: u64) -> Self {
        Self::from_nanos(bits)
    }
}
