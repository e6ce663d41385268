//! Answers packed by gzip or zstd, for who accepts that.
//!
//! A result is packed part by part as it comes: nothing of it waits for the rest. What breaks off has no end, packed or not.

use std::io::{self, Write as _};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt as _, stream};

/// Less is not worth it.
const BYTES_MIN: u64 = 1 << 10;
/// What is sent once is packed fast.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// How an answer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What a header `Accept-Encoding` likes best, of what there is; `None` where that is the answer as it is.
    fn accepted(accept: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let coding = match () {
                () if name.eq_ignore_ascii_case("zstd") => Coding::Zstd,
                () if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => Coding::Gzip,
                () => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
            let Some(quality) = quality.filter(|quality| *quality > 0.0) else { continue };
            let is_better = best.is_none_or(|(most, kind)| quality > most || quality >= most && kind == Coding::Gzip);
            if is_better {
                best = Some((quality, coding));
            }
        }
        best.map(|(_, coding)| coding)
    }
}

/// Packs an answer that is large enough, and text or Arrow.
pub(crate) async fn pack(request: Request, next: Next) -> Response {
    let accept = request.headers().get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok());
    let coding = accept.and_then(Coding::accepted);
    let mut response = next.run(request).await;
    if !is_packable(response.headers()) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = coding.filter(|_| response.body().size_hint().lower() >= BYTES_MIN || is_open(&response)) else {
        return response;
    };
    let Ok(packer) = Packer::new(coding) else { return response };
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    Response::from_parts(parts, packed(body, packer))
}

/// Whether nobody knows how long it will be: it is more than a part, then.
fn is_open(response: &Response) -> bool {
    response.body().size_hint().upper().is_none()
}

fn is_packable(headers: &HeaderMap) -> bool {
    // What has a tag is compared byte by byte. Events have to come at once, one by one.
    if headers.contains_key(header::CONTENT_ENCODING) || headers.contains_key(header::ETAG) {
        return false;
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_text = kind.starts_with("text/") && kind != "text/event-stream";
    is_text
        || kind.ends_with("json")
        || matches!(kind, "application/x-ndjson" | "application/vnd.apache.arrow.stream" | "image/svg+xml")
}

fn packed(body: Body, packer: Packer) -> Body {
    let state = Some((body.into_data_stream(), packer));
    Body::from_stream(stream::unfold(state, |state| async move {
        let (mut parts, mut packer) = state?;
        match parts.next().await {
            Some(Ok(part)) => match packer.part(&part) {
                Ok(bytes) => Some((Ok(bytes), Some((parts, packer)))),
                Err(error) => Some((Err(axum::Error::new(error)), None)),
            },
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((packer.end().map_err(axum::Error::new), None)),
        }
    }))
}

/// Packs bytes as they come.
enum Packer {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Packer {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// What can be sent of it, which is all.
    fn part(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        let out = match self {
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(out).into())
    }

    /// What stands behind the last part.
    fn end(self) -> io::Result<Bytes> {
        let rest = match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        Ok(rest.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_accepted_is_read() {
        for (accept, expected) in [
            ("", None),
            ("identity, br", None),
            ("gzip, deflate", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("zstd, gzip", Some(Coding::Zstd)),
            ("zstd;q=0.5, GZIP", Some(Coding::Gzip)),
            ("gzip;q=0, zstd;q=0", None),
            ("gzip; q=0.1", Some(Coding::Gzip)),
        ] {
            assert_eq!(Coding::accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn parts_can_be_read_as_they_come() {
        let parts: Vec<Vec<u8>> = (0..5).map(|n| format!("part {n}\n").repeat(1_000).into_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Zstd] {
            let mut packer = Packer::new(coding).unwrap();
            let first = packer.part(&parts[0]).unwrap();
            let mut read = vec![0; parts[0].len()];
            match coding {
                Coding::Gzip => flate2::read::GzDecoder::new(&first[..]).read_exact(&mut read).unwrap(),
                Coding::Zstd => zstd::Decoder::new(&first[..]).unwrap().read_exact(&mut read).unwrap(),
            }
            assert_eq!(read, parts[0], "{coding:?}");
            let mut all = first.to_vec();
            for part in &parts[1..] {
                all.extend_from_slice(&packer.part(part).unwrap());
            }
            all.extend_from_slice(&packer.end().unwrap());
            let whole = match coding {
                Coding::Gzip => io::read_to_string(flate2::read::GzDecoder::new(&all[..])),
                Coding::Zstd => io::read_to_string(zstd::Decoder::new(&all[..]).unwrap()),
            };
            assert!(whole.unwrap().into_bytes() == parts.concat() && all.len() < parts[0].len(), "{coding:?}");
        }
    }

    #[test]
    fn not_everything_is_packed() {
        let check = |kind: &str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(is_packable(&headers), expected, "{kind}");
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            assert!(!is_packable(&headers), "{kind}");
        };
        check("application/json", true);
        check("application/problem+json", true);
        check("text/csv; charset=utf-8", true);
        check("application/vnd.apache.arrow.stream", true);
        check("application/vnd.apache.parquet", false);
        check("text/event-stream", false);
    }
}
