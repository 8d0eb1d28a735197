//! Compresses answers that are long enough for whoever takes it (RFC 9110 §12.5.3).
//!
//! An answer with a strong tag is left as it is: the tag stands for its very bytes, and is what `If-Match` sends back.

use std::{io, sync::Arc};

use async_compression::{
    Level,
    tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder},
};
use bytes::{Buf as _, Bytes};
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::body::Body as _;
use poem::{
    Body, Endpoint, Request, Response, Result,
    http::{
        HeaderMap, HeaderValue,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY},
    },
};
use tokio::io::AsyncWriteExt as _;

use crate::{
    http::pieces::in_pieces,
    pieces::{Packed, Pieces},
};

/// What is shorter gains nothing.
const WORTH_BYTES: u64 = 1024;

/// What takes so long to compress that other requests should not wait for it.
const LARGE_BYTES: usize = 128 * 1024;

/// The types that are worth it.
const TYPES: [&str; 4] = ["application/json", "application/problem+json", "text/", "image/svg+xml"];

/// How an answer is compressed, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

impl Coding {
    const ALL: [Self; Packed::CODINGS] = [Self::Gzip, Self::Brotli, Self::Zstd];

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The one that the client likes best.
    fn preferred(headers: &HeaderMap) -> Option<Self> {
        let accepted: Vec<(String, u16)> = headers
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|item| {
                let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
                (name.trim().to_ascii_lowercase(), weight(parameters))
            })
            .collect();
        let weight_of = |name: &str| accepted.iter().find(|(one, _)| one == name).map(|(_, weight)| *weight);
        let weighed = Self::ALL
            .into_iter()
            .map(|coding| (coding, weight_of(coding.name()).or_else(|| weight_of("*")).unwrap_or_default()));
        let best = weighed.filter(|(_, weight)| *weight > 0).max_by_key(|(_, weight)| *weight)?;
        Some(best.0)
    }

    async fn encode(self, plain: &Pieces) -> io::Result<Bytes> {
        let packed = Vec::with_capacity(plain.len() / 8);
        macro_rules! through {
            ($encoder:expr) => {{
                let mut encoder = $encoder;
                for piece in plain.iter() {
                    encoder.write_all(piece).await?;
                }
                encoder.shutdown().await?;
                Ok(encoder.into_inner().into())
            }};
        }
        match self {
            Self::Gzip => through!(GzipEncoder::with_quality(packed, Level::Precise(4))),
            Self::Brotli => through!(BrotliEncoder::with_quality(packed, Level::Precise(4))),
            Self::Zstd => through!(ZstdEncoder::with_quality(packed, Level::Precise(3))),
        }
    }

    /// Compresses it where it keeps nobody waiting.
    async fn pack(self, plain: Pieces) -> io::Result<Bytes> {
        if plain.len() < LARGE_BYTES {
            return self.encode(&plain).await;
        }
        // Writing to memory never waits, so that it is done when it is first looked at.
        let work = move || self.encode(&plain).now_or_never();
        let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
        done.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }
}

/// How much a client likes something, in thousandths; not at all where it is said in no way that is known.
fn weight(parameters: &str) -> u16 {
    let mut parameters = parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty());
    let Some(first) = parameters.next() else { return 1000 };
    let weight = first.strip_prefix("q=").or_else(|| first.strip_prefix("Q="));
    let Some((whole, part)) = weight.map(|weight| weight.split_once('.').unwrap_or((weight, ""))) else {
        return 0;
    };
    let thousandths = format!("{part:0<3}").parse::<u16>().ok().filter(|part| *part < 1000);
    match (whole, thousandths) {
        ("0", Some(thousandths)) => thousandths,
        ("1", Some(0)) => 1000,
        _ => 0,
    }
}

fn is_worth(headers: &HeaderMap, length: Option<u64>) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let has_type = text(CONTENT_TYPE).is_some_and(|found| TYPES.iter().any(|known| found.starts_with(known)));
    let is_strong = text(ETAG).is_some_and(|tag| !tag.starts_with("W/"));
    let is_packed = headers.contains_key(CONTENT_ENCODING);
    has_type && !is_strong && !is_packed && length.is_some_and(|length| length > WORTH_BYTES)
}

/// A body as it comes, which is not made one: see [`Pieces`].
async fn pieces(body: BoxBody<Bytes, io::Error>) -> Result<Pieces> {
    let mut whole = body.collect().await.map_err(poem::error::BadRequest)?.aggregate();
    let mut pieces = Vec::new();
    while whole.has_remaining() {
        pieces.push(whole.copy_to_bytes(whole.chunk().len()));
    }
    Ok(pieces.into())
}

/// The middleware. What is kept for others comes with what was made of it for them.
pub async fn compress<E>(next: Arc<E>, request: Request) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let coding = Coding::preferred(request.headers());
    let mut response = next.get_response(request).await;
    let body = BoxBody::from(response.take_body());
    if !is_worth(response.headers(), body.size_hint().exact()) {
        response.set_body(Body::from(body));
        return Ok(response);
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = coding else {
        response.set_body(Body::from(body));
        return Ok(response);
    };
    let plain = pieces(body).await?;
    let kept = response.extensions().get::<Packed>().cloned().unwrap_or_default();
    let packed = kept.get(coding as usize, || coding.pack(plain.clone())).await;
    match packed {
        Ok(packed) => {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            response.headers_mut().remove(CONTENT_LENGTH);
            response.set_body(packed);
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be compressed");
            response.set_body(in_pieces(plain));
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
    use poem::{EndpointExt as _, endpoint::make_sync};
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// The answer to a client that accepts this, unpacked, and how it was packed.
    async fn answer(accepted: &str, body: &Bytes, packed: &Packed) -> (Vec<u8>, Option<String>) {
        let (given, packed) = (body.clone(), packed.clone());
        let endpoint = make_sync(move |_| {
            let response = Response::builder().content_type("application/json").extension(packed.clone());
            response.body(given.clone())
        });
        let request = Request::builder().header(ACCEPT_ENCODING, accepted).finish();
        let response = endpoint.around(compress).get_response(request).await;
        let coding = response.header(CONTENT_ENCODING).map(ToOwned::to_owned);
        assert_eq!(response.header(VARY).is_some(), body.len() as u64 > WORTH_BYTES);
        let bytes = response.into_body().into_vec().await.unwrap();
        let mut plain = Vec::new();
        match coding.as_deref() {
            Some("gzip") => GzipDecoder::new(bytes.as_slice()).read_to_end(&mut plain).await.unwrap(),
            Some("br") => BrotliDecoder::new(bytes.as_slice()).read_to_end(&mut plain).await.unwrap(),
            Some("zstd") => ZstdDecoder::new(bytes.as_slice()).read_to_end(&mut plain).await.unwrap(),
            _ => bytes.as_slice().read_to_end(&mut plain).await.unwrap(),
        };
        (plain, coding)
    }

    #[tokio::test]
    async fn long_answers_are_compressed_and_the_same() {
        for length in [1000, 2000, LARGE_BYTES * 2] {
            let body: Bytes = (0..length).map(|n| b"{\"abc\": 1}"[n % 10]).collect();
            for accepted in ["gzip", "br", "zstd", "identity"] {
                let (plain, coding) = answer(accepted, &body, &Packed::default()).await;
                assert_eq!(plain, body);
                let expected = (length > 1024 && accepted != "identity").then(|| accepted.to_owned());
                assert_eq!(coding, expected, "{length}");
            }
        }
    }

    #[tokio::test]
    async fn what_was_compressed_for_one_is_there_for_the_next() {
        let (packed, one, other) = (Packed::default(), vec![b'a'; 2000].into(), vec![b'b'; 2000].into());
        assert_eq!(answer("zstd", &one, &packed).await.0, one);
        assert_eq!(answer("zstd", &other, &packed).await.0, one, "it is kept");
        assert_eq!(answer("br", &other, &packed).await.0, other, "each form by itself");
    }

    #[test]
    fn the_client_chooses_and_the_best_of_equals_is_taken() {
        for (accepted, expected) in [
            ("", None),
            ("identity", None),
            ("gzip", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate, br", Some(Coding::Brotli)),
            ("gzip;q=1.0, br;q=0.5, *;q=0", Some(Coding::Gzip)),
            ("br;q=0.9, GZIP ; q=0.91", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("*;q=0.1, zstd;q=0", Some(Coding::Brotli)),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip;q=2", None),
            ("gzip;q=much", None),
            ("gzip;level=1", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(Coding::preferred(&headers), expected, "{accepted}");
        }
        assert_eq!(Coding::preferred(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_short_bears_a_strong_tag_or_is_packed_already_is_left_as_it_is() {
        let json = || (CONTENT_TYPE, "application/json; charset=utf-8");
        for (headers, length, expected) in [
            (vec![json()], Some(2000), true),
            (vec![json(), (ETAG, "W/\"1\"")], Some(2000), true),
            (vec![json(), (ETAG, "\"1\"")], Some(2000), false),
            (vec![json(), (CONTENT_ENCODING, "gzip")], Some(2000), false),
            (vec![json()], Some(1024), false),
            (vec![json()], None, false),
            (vec![(CONTENT_TYPE, "image/x-icon")], Some(2000), false),
            (vec![], Some(2000), false),
        ] {
            let map = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            assert_eq!(is_worth(&map.collect(), length), expected, "{headers:?} {length:?}");
        }
    }
}
