//! The `waddell info` command.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;
use waddell_client::{Capabilities, Extension};

use crate::output::{Failure, printable};
use crate::server::Server;

/// Prints what a server can do: its version of the extension, the parts, limits and ICE servers.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Info {
    #[command(flatten)]
    server: Server,
}

impl Info {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.server.connect(0, |config| config.resume(true).ice(true)).await?;
        let extension = client.find_extension().await?;
        let servers = client.ice_servers().await?;
        // Nothing was sent.
        let _ = client.close().await;
        let ice = serde_json::from_str(&servers).unwrap_or(Value::Null);
        let limit = |limit: Option<u32>| limit.filter(|limit| *limit > 0);
        let rate = extension.and_then(|it| it.rate);
        let windows = extension.and_then(|it| it.windows);
        self.server.output().line(
            text(extension, &servers).trim_end(),
            [
                ("event", "info".into()),
                ("extension", extension.map(|it| it.version).into()),
                ("parts", extension.map(parts).into()),
                ("max_payload", extension.map(|it| it.max_payload).into()),
                ("rate_frames", limit(rate.map(|it| it.frames)).into()),
                ("rate_bytes", limit(rate.map(|it| it.bytes)).into()),
                ("resume_window_s", windows.map(|it| it.resume).into()),
                ("away_time_s", windows.map(|it| it.away).into()),
                ("ice_servers", ice),
            ],
        )
    }
}

fn text(extension: Option<Extension>, servers: &str) -> String {
    let Some(extension) = extension else { return "extension    none".to_owned() };
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a text never fails.
        let _ = writeln!(text, "{name:<13}{value}");
    };
    line("extension", format!("version {}", extension.version));
    line("parts", parts(extension).join(", "));
    line("max payload", format!("{} bytes", extension.max_payload));
    if let Some(rate) = extension.rate {
        let limit = |limit: u32| if limit == 0 { "any".to_owned() } else { limit.to_string() };
        let (frames, bytes) = (limit(rate.frames), limit(rate.bytes));
        line("rate", format!("{frames} frames/s, {bytes} bytes/s"));
    }
    if let Some(windows) = extension.windows {
        line("resume", format!("within {} s, away for {} s", windows.resume, windows.away));
    }
    line("ICE servers", printable(servers));
    text
}

fn parts(extension: Extension) -> Vec<&'static str> {
    let has = |(part, _): &(Capabilities, &str)| extension.granted.contains(*part);
    PARTS.into_iter().filter(has).map(|(_, name)| name).collect()
}

const PARTS: [(Capabilities, &str); 7] = [
    (Capabilities::VERDICTS, "verdicts"),
    (Capabilities::PEERS, "peers"),
    (Capabilities::RESUME, "resume"),
    (Capabilities::RESTART, "restart"),
    (Capabilities::ICE, "ice"),
    (Capabilities::RENEW, "renew"),
    (Capabilities::AUTH, "auth"),
];

const EXAMPLES: &str = "\
Examples:
  waddell info tcp://127.0.0.1:62443
  waddell info wss://server.example --json

With --json: {\"event\":\"info\",\"extension\":2,\"parts\":[NAMES],\"max_payload\":BYTES,
\"rate_frames\":N,\"rate_bytes\":N,\"resume_window_s\":SECONDS,\"away_time_s\":SECONDS,
\"ice_servers\":[RTCIceServer]}. What the server does not have is null. The part \"auth\" is shown
only with a token.";
