//! Files served over HTTP: those built into the program, and those of a folder.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use tokio::fs::File;

use super::body::{FileBody, ReplyBody};
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

pub(super) async fn from_folder(folder: &Path, path: &str, request: &HeaderMap) -> Reply {
    let Some(mut file) = within(folder, path) else { return not_found() };
    let open = async {
        let mut metadata = tokio::fs::metadata(&file).await?;
        if metadata.is_dir() {
            file.push("index.html");
            metadata = tokio::fs::metadata(&file).await?;
        }
        // Opening a pipe would wait for a process that writes to it.
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let opened = File::open(&file).await?;
        let metadata = opened.metadata().await?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let etag = format!("\"{:x}-{:x}\"", modified.as_nanos(), metadata.len());
        Ok::<_, io::Error>((etag, FileBody::new(opened, metadata.len())))
    };
    match open.await {
        Ok((etag, body)) => content(&file.to_string_lossy(), &etag, ReplyBody::File(body), request),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            text(StatusCode::FORBIDDEN, "the server may not read this file")
        }
        Err(_) => not_found(),
    }
}

/// Returns the file that a URL's path names inside a folder.
///
/// Returns `None` if the path leads out of the folder, names a hidden file or is no text. A percent
/// sign without two hexadecimal digits stands for itself, as in browsers.
fn within(folder: &Path, path: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    if decoded.contains('\0') {
        return None;
    }
    let relative = Path::new(&*decoded);
    let stays = relative.components().all(|part| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
        Component::CurDir => true,
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    });
    stays.then(|| folder.join(relative))
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
    fn paths_are_decoded_once() {
        for (path, file) in [
            ("", ""),
            ("a/b.js", "a/b.js"),
            ("a%20b.js", "a b.js"),
            ("%C3%bc", "\u{fc}"),
            ("100%25", "100%"),
            ("%252e%252e/x", "%2e%2e/x"),
            ("%%32%65%%32%65/x", "%2e%2e/x"),
        ] {
            assert_eq!(
                within(Path::new("/srv/www"), path),
                Some(format!("/srv/www/{file}").into())
            );
        }
    }

    #[test]
    fn malformed_escapes_name_files_of_the_folder() {
        for path in ["%", "%f", "%zz", "%+f", "100%", "a%/b"] {
            assert_eq!(
                within(Path::new("/srv/www"), path),
                Some(format!("/srv/www/{path}").into())
            );
        }
    }

    #[test]
    fn no_path_leads_out_of_the_folder() {
        for path in [
            "../x",
            "a/../../x",
            "%2e%2e/x",
            "%2E./x",
            "..%2fx",
            "%/../x",
            "%zz/%2e%2e/%2e%2e/x",
            "/etc/passwd",
            "%2fetc/passwd",
            "a/%00",
            "%00",
            "%ff",
            ".git/x",
            "%2egit/x",
        ] {
            assert_eq!(within(Path::new("/srv/www"), path), None, "{path}");
        }
    }
}
