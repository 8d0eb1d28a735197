//! Sends a text that is kept in pieces as it is, without making one of them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use poem::Body;

use crate::pieces::Pieces;

struct Sending {
    pieces: Pieces,
    sent: usize,
    left: u64,
}

/// A body of a known length.
pub fn in_pieces(pieces: Pieces) -> Body {
    let left = pieces.len() as u64;
    let sending = Sending { pieces, sent: 0, left };
    BoxBody::new(sending.map_err(|never| match never {})).into()
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.iter().nth(self.sent).cloned();
        Poll::Ready(next.map(|piece| {
            self.sent += 1;
            self.left -= piece.len() as u64;
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
