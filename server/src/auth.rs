//! Who may connect.

use std::fmt;
use std::net::IpAddr;

use self::admitted::{Admitted, Credentials, Refused};
use self::callout::Callout;
use self::error::{AuthError, FileOption};
use self::jwt::Jwt;
use self::tokens::Tokens;
use crate::clock::unix_seconds;
use crate::config::{AccessOptions, AllowLegacy, AuthFailure};

pub(crate) mod admitted;
mod callout;
pub(crate) mod error;
mod jwt;
pub(crate) mod subjects;
mod tokens;

/// The ways that the operator has configured, in this order. The first that knows the credentials
/// decides. The service, if there is one, knows all.
pub(crate) struct Access {
    tokens: Option<Tokens>,
    jwt: Option<Jwt>,
    callout: Option<Callout>,
}

impl Access {
    /// Checks the options and reads their files. Returns `None` if there is no authentication.
    ///
    /// # Errors
    ///
    /// An option or a file cannot be used.
    pub(crate) fn load(options: &AccessOptions) -> Result<Option<Self>, AuthError> {
        check_together(options)?;
        let file = |name, path| FileOption { name, path };
        let tokens = options.tokens.as_deref().map(|path| file("auth-tokens", path));
        let secret = options.secret.as_deref().map(|path| file("auth-secret", path));
        let keys = options.keys.as_deref().map(|path| file("auth-keys", path));
        let jwt = (secret.is_some() || keys.is_some())
            .then(|| Jwt::read(secret, keys, &options.audience, &options.issuer));
        let url = options.url.as_ref();
        let callout = url.map(|url| Callout::new(url, options.timeout, options.failure));
        let access = Self {
            tokens: tokens.map(Tokens::read).transpose()?,
            jwt: jwt.transpose()?,
            callout: callout.transpose()?,
        };
        Ok(options.has_mode().then_some(access))
    }

    /// Decides whether the client may connect.
    ///
    /// # Errors
    ///
    /// [`Refused::Unauthorized`] if it may not, [`Refused::Busy`] if that cannot be said now.
    pub(crate) async fn check(&self, credentials: &Credentials) -> Result<Admitted, Refused> {
        let token = &*credentials.token;
        if let Some(admitted) = self.tokens.as_ref().and_then(|tokens| tokens.find(token)) {
            return Ok(admitted);
        }
        if let Some(decided) = self.jwt.as_ref().and_then(|jwt| jwt.check(token, unix_seconds())) {
            return decided;
        }
        match &self.callout {
            Some(callout) => callout.check(credentials).await,
            None => Err(Refused::Unauthorized),
        }
    }
}

impl fmt::Debug for Access {
    /// Writes which ways there are, and nothing of their secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tokens", &self.tokens.is_some())
            .field("jwt", &self.jwt.is_some())
            .field("callout", &self.callout.is_some())
            .finish()
    }
}

impl AccessOptions {
    /// Checks the options, and that their files can be used.
    ///
    /// # Errors
    ///
    /// An option has no meaning without another, or a file cannot be used.
    pub fn check(&self) -> Result<(), AuthError> {
        Access::load(self).map(drop)
    }

    /// Returns whether clients must authenticate themselves.
    pub fn has_mode(&self) -> bool {
        let Self { tokens, secret, keys, url, .. } = self;
        tokens.is_some() || secret.is_some() || keys.is_some() || url.is_some()
    }
}

impl AllowLegacy {
    /// Returns whether a client at this address may connect without credentials.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Off => false,
            Self::On => true,
            Self::Networks(networks) => {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address))
            }
        }
    }
}

/// Checks that no option is without effect.
fn check_together(options: &AccessOptions) -> Result<(), AuthError> {
    let jwt = options.secret.is_some() || options.keys.is_some();
    let needs = |option, why| Err(AuthError::Option { option, why });
    if !options.audience.is_empty() && !jwt {
        return needs("auth-audience", "needs auth-secret or auth-keys");
    }
    if !options.issuer.is_empty() && !jwt {
        return needs("auth-issuer", "needs auth-secret or auth-keys");
    }
    if options.failure == AuthFailure::Open && options.url.is_none() {
        return needs("auth-failure", "needs auth-url");
    }
    if options.timeout.is_zero() {
        return needs("auth-timeout", "a service needs some time to answer");
    }
    if options.has_mode() {
        return Ok(());
    }
    const WHY: &str = "needs auth-tokens, auth-secret, auth-keys or auth-url";
    if options.allow_legacy != AllowLegacy::Off {
        return needs("allow-legacy", WHY);
    }
    if options.max_connections_per_subject != 0 {
        return needs("max-connections-per-subject", WHY);
    }
    if options.log_subjects {
        return needs("log-subjects", WHY);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
