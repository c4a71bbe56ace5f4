//! Bytes that can be made, and recognized, at any offset.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use futures::stream::{self, StreamExt};

use crate::driver::ByteStream;

/// A prime, so that bytes that were displaced by any power of two differ.
const PERIOD: u64 = 1_048_583;

static TABLE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = Random::new(0);
    Bytes::from((0..PERIOD).map(|_| random.next() as u8).collect::<Vec<_>>())
});

/// Numbers that look random and are the same in each run (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// An endless run of bytes, told apart from others by its number.
#[derive(Clone, Copy)]
pub(super) struct Data(pub(super) u64);

impl Data {
    /// The longest piece that starts at `offset` and is at hand without a copy.
    fn piece(self, offset: u64, most: u64) -> Bytes {
        let start = (Random::new(self.0).next() % PERIOD + offset) % PERIOD;
        TABLE.slice(start as usize..(start + most).min(PERIOD) as usize)
    }

    fn pieces(self, range: Range<u64>, most: u64) -> impl Iterator<Item = Bytes> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let piece = (at < range.end).then(|| self.piece(at, most.min(range.end - at)))?;
            at += piece.len() as u64;
            Some(piece)
        })
    }

    /// The bytes of a range, in a buffer of their own.
    pub(super) fn bytes(self, range: Range<u64>) -> Bytes {
        Bytes::from(self.pieces(range, PERIOD).fold(Vec::new(), |mut all, piece| {
            all.extend_from_slice(&piece);
            all
        }))
    }

    /// The bytes of a range as a stream of pieces of at most so many bytes.
    pub(super) fn stream(self, range: Range<u64>, most: u64) -> ByteStream {
        stream::iter(self.pieces(range, most).map(Ok)).boxed()
    }

    /// The offset of the first byte that is not what it should be at `offset`.
    pub(super) fn mismatch(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut rest = bytes;
        for piece in self.pieces(offset..offset + bytes.len() as u64, PERIOD) {
            let (now, later) = rest.split_at(piece.len());
            if now != piece {
                let at = offset + (bytes.len() - rest.len()) as u64;
                return now.iter().zip(&piece).position(|(a, b)| a != b).map(|i| at + i as u64);
            }
            rest = later;
        }
        None
    }
}

/// A stream of these pieces.
pub(super) fn pieces<const N: usize>(pieces: [&'static [u8]; N]) -> ByteStream {
    stream::iter(pieces.map(|piece| Ok(Bytes::from_static(piece)))).boxed()
}
