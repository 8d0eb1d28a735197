//! A long text in pieces.
//!
//! Freeing one piece of memory as large as a whole matrix teaches the allocator to keep so much of each thread's memory for
//! ever (glibc's dynamic thresholds, mallopt(3)); what is freed in small pieces goes back to the system.

use std::{io, mem, sync::Arc};

use bytes::Bytes;

/// How long a piece may get: well below the 128 KiB from which on the thresholds move.
const PIECE_BYTES: usize = 64 * 1024;

/// What was written, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pieces(Arc<[Bytes]>);

impl Pieces {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.iter().map(Bytes::len).sum()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter()
    }

    /// All in one, for what reads no other way.
    pub fn joined(&self) -> Bytes {
        match &*self.0 {
            [one] => one.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

impl From<Vec<Bytes>> for Pieces {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into())
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(text: Vec<u8>) -> Self {
        Self([text.into()].into())
    }
}

/// Writes pieces.
#[derive(Debug, Default)]
pub struct PieceWriter {
    full: Vec<Bytes>,
    last: Vec<u8>,
}

impl PieceWriter {
    /// Adds to what was written.
    pub fn push(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let room = PIECE_BYTES - self.last.len();
            let (now, later) = text.split_at(room.min(text.len()));
            self.last.extend_from_slice(now);
            if self.last.len() == PIECE_BYTES {
                self.full.push(mem::take(&mut self.last).into());
                self.last.reserve_exact(PIECE_BYTES);
            }
            text = later;
        }
    }

    /// What was written.
    pub fn finish(mut self) -> Pieces {
        self.full.push(self.last.into());
        Pieces(self.full.into())
    }
}

impl io::Write for PieceWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.push(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_the_same_in_small_pieces() {
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 7] {
            let text: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let mut writer = PieceWriter::default();
            text.chunks(1000).for_each(|part| writer.push(part));
            let pieces = writer.finish();
            assert_eq!((pieces.joined(), pieces.len()), (Bytes::from(text), length));
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        }
    }
}
