//! What a server counts and measures, each with its name and meaning.

use super::page::Page;
use crate::entry::entrance::Entrance;
use crate::forward::fate::DropReason;
use crate::forward::shared::Shared;
use crate::histogram::HistogramSnapshot;
use crate::labels::AddressClaim;
use crate::labels::FailureReason;
use crate::labels::TransportKind;
use crate::labels::UpgradeRefusal;
use crate::metrics::MetricsSnapshot;

/// Writes all that is measured.
pub(super) fn page(entrance: &Entrance) -> String {
    let shared = &entrance.shared;
    let mut page = Page::default();
    let MetricsSnapshot {
        connections_accepted,
        connections_refused,
        accept_errors,
        accepts_paused,
        handshakes_failed: _,
        upgrades_refused: _,
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
        frames_in,
        bytes_in,
        frames_forwarded,
        bytes_forwarded,
        keep_alives,
        frames_rejected_short,
        frames_rejected_reserved,
        frames_dropped_unknown,
        frames_dropped_full,
        frames_dropped_memory,
        peers_paused,
    } = shared.metrics.snapshot();
    page.counter("connections_accepted", "Connections accepted.", connections_accepted);
    page.counter(
        "connections_refused",
        "Connections refused because a limit on their number, or on descriptors, was reached.",
        connections_refused,
    );
    page.counter("accept_errors", "Errors while accepting connections.", accept_errors);
    page.counter(
        "accepts_paused",
        "Times that accepting was paused because of the limit on its rate.",
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
        "Requests for a WebSocket that were refused, by reason.",
        "reason",
        &UpgradeRefusal::ALL
            .map(|refusal| (refusal.as_str(), shared.metrics.upgrades_refused_by(refusal))),
    );
    page.labelled(
        "claims_ignored_total",
        "counter",
        "Times that somebody who is no trusted proxy said whom it speaks for, by how.",
        "claim",
        &[
            (AddressClaim::ForwardedFor.as_str(), forwarded_ignored),
            (AddressClaim::ProxyHeader.as_str(), proxy_headers_ignored),
        ],
    );
    page.labelled(
        "certificate_reloads_total",
        "counter",
        "Times that the certificate was read again, by what came of it.",
        "result",
        &[("ok", certificates_reloaded), ("failed", certificates_refused)],
    );
    let certificate = entrance.tls.as_ref().map(|tls| &tls.certificate);
    if let Some(expires) = certificate.and_then(|it| it.expires_timestamp()) {
        page.gauge(
            "certificate_expires_timestamp_seconds",
            "When the certificate in use expires, in seconds since 1970.",
            expires,
        );
    }
    page.counter(
        "log_lines_dropped",
        "Lines of the log that were dropped, as nobody took them fast enough.",
        log_lines_dropped,
    );
    page.counter("peers_connected", "Peers that were given an id.", peers_connected);
    page.counter("peers_disconnected", "Peers whose id is gone again.", peers_disconnected);
    page.labelled(
        "peers_hung_up_total",
        "counter",
        "Peers that the server hung up, by reason.",
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
        "Times that reading from a peer was paused because it had used up its rate.",
        peers_paused,
    );
    page.labelled(
        "peers",
        "gauge",
        "Peers connected now, by transport.",
        "transport",
        &TransportKind::ALL.map(|kind| (kind.as_str(), shared.metrics.peers(kind))),
    );
    page.counter("frames_in", "Whole frames received.", frames_in);
    page.counter("bytes_in", "Bytes of whole frames received, prefixes included.", bytes_in);
    page.counter("frames_forwarded", "Frames put into their recipient's outbox.", frames_forwarded);
    page.counter(
        "bytes_forwarded",
        "Bytes of frames put into their recipient's outbox.",
        bytes_forwarded,
    );
    page.counter("keep_alives", "Keep-alive frames received.", keep_alives);
    page.labelled(
        "frames_rejected_total",
        "counter",
        "Frames that no peer should send, by reason.",
        "reason",
        &[("short", frames_rejected_short), ("reserved recipient", frames_rejected_reserved)],
    );
    page.labelled(
        "frames_dropped_total",
        "counter",
        "Frames that could not be delivered, by reason.",
        "reason",
        &[
            (DropReason::UnknownRecipient.as_str(), frames_dropped_unknown),
            (DropReason::OutboxFull.as_str(), frames_dropped_full),
            (DropReason::NoMemory.as_str(), frames_dropped_memory),
        ],
    );
    page.gauge(
        "outboxes_waiting",
        "Peers for which something waits that their socket does not take.",
        shared.outboxes.charges() as u64,
    );
    page.gauge(
        "outbox_bytes",
        "Memory held by what waits for those peers; --outbox-total limits it. A peer over TLS \
         counts 65536 more, which is what TLS may hold.",
        shared.outboxes.held() as u64,
    );
    page.gauge(
        "unfinished_frames_bytes",
        "Memory held by frames that peers have begun to send; limited as outbox_bytes is.",
        shared.partial_frames.held() as u64,
    );
    measured(&mut page, shared);
    page.labelled(
        "build_info",
        "gauge",
        "Always 1; says which version runs.",
        "version",
        &[(env!("CARGO_PKG_VERSION"), 1)],
    );
    page.text
}

/// Writes what is measured in time.
fn measured(page: &mut Page, shared: &Shared) {
    let workers = shared.metrics.workers();
    let mut forward = HistogramSnapshot::default();
    for worker in workers.iter() {
        forward.add(&worker.forward);
    }
    page.head(
        "forward_seconds",
        "histogram",
        "Time from the read of a frame, into an outbox that was empty, to the write that emptied \
         the outbox again; one observation for each such write, not for each frame.",
    );
    page.histogram("forward_seconds", "", &forward);
    page.head(
        "event_loop_lag_seconds",
        "histogram",
        "How late a timer fired that each worker sets once a second, by worker: what whatever \
         happens on a connection waits for its turn. Up to 0.001 is the timers' granularity.",
    );
    for (index, worker) in workers.iter().enumerate() {
        let mut lag = HistogramSnapshot::default();
        lag.add(&worker.lag);
        page.histogram("event_loop_lag_seconds", &format!("worker=\"{index}\""), &lag);
    }
}
