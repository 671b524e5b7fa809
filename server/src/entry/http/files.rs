//! Files served over HTTP: those built into the program, and those of a folder.

use std::io;
use std::path::Path;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};

use super::body::{FileBody, ReplyBody};
use super::file_reads::FileReads;
use super::folder::{FoundFile, relative};
use super::reply::{Reply, not_found, reply, text};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A file that is part of the program.
#[derive(Debug)]
pub(super) struct Embedded {
    /// The path in its URL, without the slash at the beginning.
    path: &'static str,
    bytes: &'static [u8],
    /// Changes with the bytes.
    etag: &'static str,
}

pub(super) fn find(files: &'static [Embedded], path: &str) -> Option<&'static Embedded> {
    files.iter().find(|file| file.path == path)
}

pub(super) fn embedded(file: &Embedded, request: &HeaderMap) -> Reply {
    content(file.path, file.etag, Bytes::from_static(file.bytes).into(), request)
}

/// Answers with a file of a folder. `path` is decoded, and has no slash at the beginning.
pub(super) async fn from_folder<B>(
    reads: &FileReads,
    folder: &Path,
    path: &str,
    request: &Request<B>,
) -> Reply {
    let Some(relative) = relative(path) else { return not_found() };
    let (folder, relative) = (folder.to_owned(), relative.to_owned());
    let read = request.method() == Method::GET;
    let found = reads.clone().run(move || FoundFile::find(&folder, &relative, read)).await;
    match found {
        Ok((file, first)) => {
            let (name, etag) = (file.name().to_string_lossy().into_owned(), file.etag());
            let body = ReplyBody::File(FileBody::new(file, first, reads.clone()));
            content(&name, &etag, body, request.headers())
        }
        Err(error) => no_file(&error),
    }
}

/// Answers for a file that cannot be read.
fn no_file(error: &io::Error) -> Reply {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            text(StatusCode::FORBIDDEN, "the server may not read this file")
        }
        io::ErrorKind::TimedOut => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the server reads too many files at the moment")
        }
        // Includes names that the file system cannot have, and circles of links.
        _ => not_found(),
    }
}

fn content(path: &str, etag: &str, body: ReplyBody, request: &HeaderMap) -> Reply {
    let known =
        request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    });
    let (status, body) = if unchanged {
        (StatusCode::NOT_MODIFIED, ReplyBody::default())
    } else {
        (StatusCode::OK, body)
    };
    let mut reply = reply(status, content_type(path), body);
    if let Ok(etag) = HeaderValue::from_str(etag) {
        reply.headers_mut().insert(header::ETAG, etag);
    }
    // The browser keeps the file but asks for changes each time, so that a new server's page is
    // never mixed with an old server's package.
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "md" | "ts" | "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_answered_by_its_reason() {
        for (kind, status) in [
            (io::ErrorKind::PermissionDenied, 403),
            (io::ErrorKind::NotFound, 404),
            (io::ErrorKind::NotADirectory, 404),
            (io::ErrorKind::TimedOut, 503),
        ] {
            assert_eq!(no_file(&kind.into()).status(), status, "{kind}");
        }
    }
}
