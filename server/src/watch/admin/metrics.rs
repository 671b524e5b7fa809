//! The page `/metrics`: each metric with its name and meaning.

use super::page::Page;
use crate::entry::tls::Certificate;
use crate::forward::fate::DropReason;
use crate::forward::shared::Shared;
use crate::histogram::HistogramSnapshot;
use crate::labels::{
    AddressClaim, FailureReason, HelloResult, ResumeResult, TransportKind, UpgradeRefusal,
};
use crate::metrics::MetricsSnapshot;

/// Returns the page.
pub(super) fn page(shared: &Shared, certificate: Option<&Certificate>) -> String {
    let mut page = Page::default();
    let MetricsSnapshot {
        connections_accepted,
        connections_refused,
        accept_errors,
        accepts_paused,
        handshakes_failed: _,
        upgrades_refused: _,
        http_answers_unread,
        certificates_reloaded,
        certificates_refused,
        forwarded_ignored,
        proxy_headers_ignored,
        log_lines_dropped,
        peers_connected,
        peers_disconnected,
        peers_stalled,
        peers_crowded_out,
        peers_misbehaved,
        peers_timed_out,
        peers_extended: _,
        restarts_told,
        ids_renewed,
        ice_issued,
        frames_in,
        bytes_in,
        frames_forwarded,
        bytes_forwarded,
        keep_alives,
        controls,
        controls_ignored,
        drops_told,
        losses_told,
        notices_sent,
        notices_dropped,
        frames_rejected_short,
        frames_rejected_reserved,
        frames_dropped_unknown,
        frames_dropped_away,
        frames_dropped_full,
        frames_dropped_memory,
        peers_paused,
    } = shared.metrics.snapshot();
    page.counter("connections_accepted", "Connections accepted.", connections_accepted);
    page.counter(
        "connections_refused",
        "Connections refused because of a limit on connections or on file descriptors.",
        connections_refused,
    );
    page.counter("accept_errors", "Errors while accepting connections.", accept_errors);
    page.counter(
        "accepts_paused",
        "How often accepting was paused because of --accept-rate.",
        accepts_paused,
    );
    page.labelled(
        "handshakes_failed_total",
        "counter",
        "Connections that ended before they became a peer, by reason.",
        "reason",
        &FailureReason::ALL
            .map(|reason| (reason.as_str(), shared.metrics.handshakes_failed_by(reason))),
    );
    page.labelled(
        "upgrades_refused_total",
        "counter",
        "Refused requests for a WebSocket, by reason.",
        "reason",
        &UpgradeRefusal::ALL
            .map(|refusal| (refusal.as_str(), shared.metrics.upgrades_refused_by(refusal))),
    );
    let answers = shared.metrics.http_answers();
    let answers: Vec<_> = answers.iter().map(|(code, count)| (code.as_str(), *count)).collect();
    page.labelled(
        "http_answers_total",
        "counter",
        "Answers over HTTP on ws, wss and auto listeners, by status.",
        "status",
        &answers,
    );
    page.counter(
        "http_answers_unread",
        "Connections over HTTP that were closed because their client did not read its answer while \
         512 others did not either.",
        http_answers_unread,
    );
    page.labelled(
        "claims_ignored_total",
        "counter",
        "Forwarded addresses, ignored because the sender is not a trusted proxy, by kind.",
        "claim",
        &[
            (AddressClaim::ForwardedFor.as_str(), forwarded_ignored),
            (AddressClaim::ProxyHeader.as_str(), proxy_headers_ignored),
        ],
    );
    page.labelled(
        "certificate_reloads_total",
        "counter",
        "How often the certificate was read again, by result.",
        "result",
        &[("ok", certificates_reloaded), ("failed", certificates_refused)],
    );
    if let Some(expires) = certificate.and_then(Certificate::expires_timestamp) {
        page.gauge(
            "certificate_expires_timestamp_seconds",
            "When the certificate in use expires, in seconds since 1970.",
            expires,
        );
    }
    page.counter(
        "log_lines_dropped",
        "Log lines that were dropped because the log is read too slowly.",
        log_lines_dropped,
    );
    page.counter("peers_connected", "Peers that got an id.", peers_connected);
    page.counter("peers_disconnected", "Peers whose connection has ended.", peers_disconnected);
    page.labelled(
        "peers_hung_up_total",
        "counter",
        "Peers that the server disconnected, by reason.",
        "reason",
        &[
            ("stalled", peers_stalled),
            ("crowded out", peers_crowded_out),
            ("misbehaved", peers_misbehaved),
            ("timed out", peers_timed_out),
        ],
    );
    page.counter(
        "peers_paused",
        "How often the server paused reading from a peer that had used up its rate.",
        peers_paused,
    );
    page.labelled(
        "peers",
        "gauge",
        "Connected peers by transport.",
        "transport",
        &TransportKind::ALL.map(|kind| (kind.as_str(), shared.metrics.peers(kind))),
    );
    page.gauge(
        "peers_extended",
        "Connected peers that speak the extension.",
        shared.metrics.extended_peers(),
    );
    page.labelled(
        "hellos_total",
        "counter",
        "HELLOs of clients that speak the extension, by result.",
        "result",
        &HelloResult::ALL.map(|result| (result.as_str(), shared.metrics.hellos(result))),
    );
    page.labelled(
        "resumes_total",
        "counter",
        "Resume tokens of clients that connected again, by result.",
        "result",
        &ResumeResult::ALL.map(|result| (result.as_str(), shared.metrics.resumes(result))),
    );
    page.gauge(
        "peers_away",
        "Peers that have lost their connection and may come back under the same id.",
        shared.away.len() as u64,
    );
    page.counter(
        "restarts_told",
        "Peers that were told of a shutdown before it ended their connection.",
        restarts_told,
    );
    page.counter("ids_renewed", "Peers that were given a new id on request.", ids_renewed);
    page.counter("ice_issued", "How often a peer was told of STUN and TURN servers.", ice_issued);
    page.counter("frames_in", "Whole frames received.", frames_in);
    page.counter("bytes_in", "Bytes of whole frames received, prefixes included.", bytes_in);
    page.counter("frames_forwarded", "Frames put into their recipient's outbox.", frames_forwarded);
    page.counter(
        "bytes_forwarded",
        "Bytes of frames put into their recipient's outbox.",
        bytes_forwarded,
    );
    page.counter("keep_alives", "Keep-alive frames received.", keep_alives);
    page.counter("controls", "Control frames of the extension received.", controls);
    page.counter(
        "controls_ignored",
        "Control frames of the extension that had no effect.",
        controls_ignored,
    );
    page.counter(
        "drops_told",
        "Dropped frames whose sender was told, which the extension does.",
        drops_told,
    );
    page.counter(
        "losses_told",
        "Frames lost with their recipient's connection whose sender was told, which the extension \
         does.",
        losses_told,
    );
    page.counter(
        "notices_sent",
        "Frames that told a peer what became of others, which the extension does.",
        notices_sent,
    );
    page.counter(
        "notices_dropped",
        "Such frames for which the peer's outbox had no room.",
        notices_dropped,
    );
    page.labelled(
        "frames_rejected_total",
        "counter",
        "Frames that were unusable, by reason.",
        "reason",
        &[("short", frames_rejected_short), ("reserved recipient", frames_rejected_reserved)],
    );
    page.labelled(
        "frames_dropped_total",
        "counter",
        "Frames that were valid but undeliverable, by reason.",
        "reason",
        &[
            (DropReason::UnknownRecipient.as_str(), frames_dropped_unknown),
            (DropReason::RecipientAway.as_str(), frames_dropped_away),
            (DropReason::OutboxFull.as_str(), frames_dropped_full),
            (DropReason::NoMemory.as_str(), frames_dropped_memory),
        ],
    );
    page.gauge(
        "outboxes_waiting",
        "Peers whose outbox waits because their socket takes no more.",
        shared.outboxes.charges() as u64,
    );
    page.gauge(
        "outbox_bytes",
        "Memory held by waiting outboxes. --outbox-total limits it. A waiting peer over TLS may \
         count 65536 bytes more, which TLS may hold.",
        shared.outboxes.held() as u64,
    );
    page.gauge(
        "unfinished_frames_bytes",
        "Memory held by incomplete incoming frames. It has a limit of its own, as high as \
         --outbox-total.",
        shared.partial_frames.held() as u64,
    );
    histograms(&mut page, shared);
    page.labelled(
        "build_info",
        "gauge",
        "Always 1. The label is the version of the server.",
        "version",
        &[(env!("CARGO_PKG_VERSION"), 1)],
    );
    page.text
}

/// Writes the histograms.
fn histograms(page: &mut Page, shared: &Shared) {
    let workers = shared.metrics.workers();
    let mut forward = HistogramSnapshot::default();
    for worker in workers.iter() {
        forward.add(&worker.forward);
    }
    page.head(
        "forward_seconds",
        "histogram",
        "Time from the read of a frame for an empty outbox to the write that emptied the outbox \
         again. Each such write is observed once, not each frame.",
    );
    page.histogram("forward_seconds", "", &forward);
    page.head(
        "event_loop_lag_seconds",
        "histogram",
        "Event-loop delay of each worker, sampled once a second. Timers have a granularity of a \
         millisecond.",
    );
    for (index, worker) in workers.iter().enumerate() {
        let mut lag = HistogramSnapshot::default();
        lag.add(&worker.lag);
        page.histogram("event_loop_lag_seconds", &format!("worker=\"{index}\""), &lag);
    }
}
