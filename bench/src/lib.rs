//! What waddell costs; see `benches/`.
