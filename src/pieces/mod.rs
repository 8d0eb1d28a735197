//! A long text in pieces, beside the allocator's memory.
//!
//! Freeing one block as large as a whole matrix teaches glibc to keep so much of each thread's memory for ever (its dynamic
//! thresholds, mallopt(3)), and what is freed in the middle of a thread's memory stays with the process. A mapping of its own
//! goes back to the system as soon as nobody reads it any more.

mod packed;

use std::{
    io::{self, Write as _},
    mem,
    sync::Arc,
};

use bytes::Bytes;
use memmap2::MmapMut;

pub use self::packed::Packed;

/// How long a text may get before it is mapped.
const SMALL_BYTES: usize = 64 * 1024;

/// How long a mapping is.
const MAPPED_BYTES: usize = 256 * 1024;

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
    last: Last,
}

/// The piece that is being written.
#[derive(Debug)]
enum Last {
    Small(Vec<u8>),
    Mapped { map: MmapMut, written: usize },
}

impl Default for Last {
    fn default() -> Self {
        Self::Small(Vec::new())
    }
}

impl Last {
    /// Takes as much as there is room for, and tells how much that was.
    fn take(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Self::Small(small) => {
                let room = (SMALL_BYTES - small.len()).min(text.len());
                small.write(text.get(..room).unwrap_or_default())
            }
            Self::Mapped { map, written } => {
                let taken = map.get_mut(*written..).unwrap_or_default().write(text)?;
                *written += taken;
                Ok(taken)
            }
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::Small(small) => small.into(),
            Self::Mapped { map, written } => Bytes::from_owner(map).slice(..written),
        }
    }
}

impl PieceWriter {
    /// What was written.
    pub fn finish(mut self) -> Pieces {
        self.full.push(self.last.finish());
        Pieces(self.full.into())
    }
}

impl io::Write for PieceWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let taken = self.last.take(text)?;
        if taken > 0 || text.is_empty() {
            return Ok(taken);
        }
        let next = Last::Mapped { map: MmapMut::map_anon(MAPPED_BYTES)?, written: 0 };
        self.full.push(mem::replace(&mut self.last, next).finish());
        self.last.take(text)
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
        let small = [0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1];
        let large = [SMALL_BYTES + MAPPED_BYTES, SMALL_BYTES + MAPPED_BYTES + 1, 5 * MAPPED_BYTES + 7];
        for length in small.into_iter().chain(large) {
            let text: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let mut writer = PieceWriter::default();
            text.chunks(1000).for_each(|part| writer.write_all(part).unwrap());
            let pieces = writer.finish();
            assert_eq!((pieces.joined(), pieces.len()), (Bytes::from(text), length));
            assert!(pieces.iter().all(|piece| piece.len() <= MAPPED_BYTES));
        }
    }
}
