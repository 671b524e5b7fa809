//! What control frames mean, spelled out like in the file of the golden bytes.

use serde_json::{Value, json};
use waddell_core::{Dropped, Hello, Notice, PeerIds, PeerNotice, Request, Welcome};

/// Spells out what a client says.
pub(super) fn of_request(request: &Request<'_>) -> Value {
    match request {
        Request::Hello(hello) => of_hello(hello),
        Request::Sync { seen } => json!({ "kind": "SYNC", "seen": seen.to_string() }),
        Request::Watch(ids) => json!({ "kind": "WATCH", "ids": id_list(ids) }),
        Request::Unwatch(ids) => json!({ "kind": "UNWATCH", "ids": id_list(ids) }),
        Request::Renew => json!({ "kind": "RENEW" }),
        Request::Auth(credentials) => json!({ "kind": "AUTH", "credentials": hex(credentials) }),
        Request::Ice => json!({ "kind": "ICE" }),
        Request::Bye => json!({ "kind": "BYE" }),
    }
}

fn of_hello(hello: &Hello<'_>) -> Value {
    present(json!({
        "kind": "HELLO",
        "version": hello.version,
        "wants": hello.wants.bits(),
        "resumeToken": hello.resume_token.map(hex),
        "firstNumber": hello.first_number.to_string(),
        "credentials": hello.credentials.map(hex),
        "seen": hello.seen.to_string(),
        "agent": hello.agent,
    }))
}

/// Spells out what a server says.
pub(super) fn of_notice(notice: &Notice<'_>) -> Value {
    match notice {
        Notice::Welcome(welcome) => of_welcome(welcome),
        Notice::Dropped(entries) => {
            let entries: Vec<Value> = entries.iter().map(of_dropped).collect();
            json!({ "kind": "DROPPED", "entries": entries })
        }
        Notice::Handled(handled) => json!({
            "kind": "HANDLED",
            "upto": handled.upto.to_string(),
            "complete": handled.complete,
        }),
        Notice::Peers(peers) => {
            let entries: Vec<Value> = peers.iter().map(of_peer).collect();
            json!({ "kind": "PEER", "entries": entries, "gap": peers.has_gap() })
        }
        Notice::Renewed { id, resume_token } => present(json!({
            "kind": "RENEWED",
            "id": id.to_string(),
            "resumeToken": resume_token.map(hex),
        })),
        Notice::Token(token) => json!({ "kind": "TOKEN", "resumeToken": hex(token) }),
        Notice::Authorized { expires_in } => {
            json!({ "kind": "AUTHORIZED", "expiresIn": expires_in })
        }
        Notice::Ice(ice) => {
            json!({ "kind": "ICE", "validFor": ice.valid_for, "json": ice.json })
        }
        Notice::Restarting(restarting) => json!({
            "kind": "RESTARTING",
            "inMs": restarting.in_ms,
            "waitMs": restarting.wait_ms,
            "spreadMs": restarting.spread_ms,
            "elsewhere": restarting.elsewhere,
        }),
        Notice::Closing(closing) => json!({
            "kind": "CLOSING",
            "code": closing.code.0,
            "handled": closing.handled.to_string(),
            "reason": closing.reason,
        }),
    }
}

fn of_welcome(welcome: &Welcome<'_>) -> Value {
    present(json!({
        "kind": "WELCOME",
        "version": welcome.version,
        "resumed": welcome.resumed,
        "readsHelloInUpgrade": welcome.reads_hello_in_upgrade,
        "tokensOutliveRestart": welcome.tokens_outlive_restart,
        "granted": welcome.granted.bits(),
        "id": welcome.id.to_string(),
        "maxPayload": welcome.max_payload,
        "resumeToken": welcome.resume_token.map(hex),
        "notResumed": welcome.not_resumed.map(|reason| reason as u8),
        "windows": welcome.windows.map(|windows| {
            json!({ "resume": windows.resume, "away": windows.away })
        }),
        "credentialsExpireIn": welcome.credentials_expire_in,
        "ice": welcome.ice.map(|ice| json!({ "validFor": ice.valid_for, "json": ice.json })),
        "rate": welcome.rate.map(|rate| json!({ "frames": rate.frames, "bytes": rate.bytes })),
        "pingIntervalMs": welcome.ping_interval_ms,
    }))
}

fn of_dropped(entry: Dropped) -> Value {
    json!({
        "first": entry.first.to_string(),
        "span": entry.span,
        "count": entry.count,
        "reason": entry.reason.code(),
        "topic": entry.topic.0,
        "recipient": entry.recipient.to_string(),
    })
}

fn of_peer(peer: PeerNotice) -> Value {
    json!({ "id": peer.id.to_string(), "state": peer.state as u8, "lost": peer.lost })
}

fn id_list(ids: &PeerIds<'_>) -> Vec<Value> {
    ids.iter().map(|id| json!({ "id": id.to_string() })).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes the fields that are absent.
fn present(mut meaning: Value) -> Value {
    if let Value::Object(fields) = &mut meaning {
        fields.retain(|_, value| !value.is_null());
    }
    meaning
}
