//! The bytes of one file, in shared chunks.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// Pieces shorter than this many bytes are copied together; longer ones are kept as they came, unless they are known to
/// keep alive more memory than they show.
pub(super) const SMALL: usize = 16 * 1024;
/// How many small bytes are gathered before they become a chunk.
const TAIL: usize = 64 * 1024;
/// A reader copies a tail up to this long; a longer one becomes a chunk.
const COPIED_TAIL: usize = 4 * 1024;

static ZEROS: [u8; TAIL] = [0; TAIL];

/// Chunks that never change, then a tail that grows.
#[derive(Default)]
pub(super) struct Content {
    chunks: Chunks,
    tail: Vec<u8>,
}

impl Content {
    /// Content of one piece, which is kept as it is if it is large, or all that is left of its buffer.
    pub(super) fn whole(content: Bytes) -> Self {
        Self { chunks: Chunks::One(compact(content)), tail: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.chunks.len() + self.tail.len() as u64
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.len() >= SMALL {
            self.freeze_tail();
            self.chunks.push(compact(piece));
            return;
        }
        let mut rest = &piece[..];
        while !rest.is_empty() {
            if self.tail.is_empty() && self.chunks.len() >= TAIL as u64 {
                self.tail.reserve_exact(TAIL);
            }
            let (now, later) = rest.split_at(rest.len().min(TAIL - self.tail.len()));
            self.tail.extend_from_slice(now);
            if self.tail.len() == TAIL {
                self.freeze_tail();
            }
            rest = later;
        }
    }

    /// Puts all of `other` at the end, sharing its chunks.
    pub(super) fn append(&mut self, pieces: Pieces) {
        for piece in pieces {
            self.push(piece);
        }
    }

    pub(super) fn push_zeros(&mut self, mut count: u64) {
        while count > 0 {
            let now = count.min(TAIL as u64);
            self.push(Bytes::from_static(&ZEROS[..now as usize]));
            count -= now;
        }
    }

    /// Cuts off what is past the first `len` bytes.
    pub(super) fn truncate(&mut self, len: u64) {
        match len.checked_sub(self.chunks.len()) {
            Some(kept) => self.tail.truncate(usize::try_from(kept).unwrap_or(usize::MAX)),
            None => {
                self.tail = Vec::new();
                if let Some(rest) = self.chunks.truncate(len) {
                    self.push(rest);
                }
            }
        }
    }

    /// The bytes of a range that lies within the content, as they are now.
    pub(super) fn pieces(&mut self, range: Range<u64>) -> Pieces {
        if range.end > self.chunks.len() && self.tail.len() > COPIED_TAIL {
            self.freeze_tail();
        }
        let in_chunks = self.chunks.len();
        let in_tail = |at: u64| at.saturating_sub(in_chunks) as usize;
        Pieces {
            next: self.chunks.index_of(range.start),
            chunks: self.chunks.clone(),
            range: range.start..range.end.min(in_chunks),
            tail: Bytes::copy_from_slice(&self.tail[in_tail(range.start)..in_tail(range.end)]),
        }
    }

    fn freeze_tail(&mut self) {
        if !self.tail.is_empty() {
            let mut tail = std::mem::take(&mut self.tail);
            if tail.capacity() > 2 * tail.len() {
                tail.shrink_to_fit();
            }
            self.chunks.push(Bytes::from(tail));
        }
    }
}

/// The same bytes without the memory that they would keep alive beside themselves, as far as that can be known.
fn compact(bytes: Bytes) -> Bytes {
    match bytes.try_into_mut() {
        Ok(own) if own.capacity() <= 2 * own.len() => own.freeze(),
        Ok(own) => Bytes::copy_from_slice(&own),
        Err(shared) if shared.len() >= SMALL => shared,
        Err(shared) => Bytes::copy_from_slice(&shared),
    }
}

/// Bytes in order; most files are one chunk and need no list. A clone shares them.
#[derive(Clone)]
enum Chunks {
    One(Bytes),
    Many(Arc<Vec<Chunk>>),
}

#[derive(Clone)]
struct Chunk {
    /// Where it ends in the file.
    end: u64,
    bytes: Bytes,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::One(bytes) => bytes.len() as u64,
            Self::Many(chunks) => chunks.last().map_or(0, |last| last.end),
        }
    }

    fn push(&mut self, bytes: Bytes) {
        let end = self.len() + bytes.len() as u64;
        match self {
            Self::One(first) if first.is_empty() => *first = bytes,
            Self::One(first) => {
                let first = Chunk { end: first.len() as u64, bytes: std::mem::take(first) };
                *self = Self::Many(Arc::new(vec![first, Chunk { end, bytes }]));
            }
            Self::Many(chunks) => Arc::make_mut(chunks).push(Chunk { end, bytes }),
        }
    }

    /// The index of the chunk that holds the byte at `offset`.
    fn index_of(&self, offset: u64) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(chunks) => chunks.partition_point(|chunk| chunk.end <= offset),
        }
    }

    /// Keeps the chunks that end at or before `len`, and gives the part of the next one that is to stay.
    fn truncate(&mut self, len: u64) -> Option<Bytes> {
        let cut = self.index_of(len);
        let rest = match self {
            Self::One(bytes) => std::mem::take(bytes).slice(..len as usize),
            Self::Many(chunks) => {
                let start = cut.checked_sub(1).map_or(0, |before| chunks[before].end);
                let rest = chunks[cut].bytes.slice(..(len - start) as usize);
                Arc::make_mut(chunks).truncate(cut);
                rest
            }
        };
        Some(rest).filter(|rest| !rest.is_empty())
    }
}

/// A range of one version of a content: clones of its chunks, made as they are asked for.
pub(super) struct Pieces {
    chunks: Chunks,
    next: usize,
    range: Range<u64>,
    tail: Bytes,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.range.is_empty() {
            return Some(std::mem::take(&mut self.tail)).filter(|tail| !tail.is_empty());
        }
        let (bytes, end) = match &self.chunks {
            Chunks::One(bytes) => (bytes, bytes.len() as u64),
            Chunks::Many(chunks) => chunks.get(self.next).map(|chunk| (&chunk.bytes, chunk.end))?,
        };
        let start = end - bytes.len() as u64;
        let piece = bytes.slice((self.range.start - start) as usize..(self.range.end.min(end) - start) as usize);
        self.next += 1;
        self.range.start = end;
        Some(piece)
    }
}

impl Pieces {
    /// All of them as one; a single one is not copied.
    pub(super) fn gather(mut self) -> Bytes {
        let len = self.range.end.saturating_sub(self.range.start) as usize + self.tail.len();
        match self.next() {
            None => Bytes::new(),
            Some(only) if only.len() == len => only,
            Some(first) => {
                let mut all = Vec::with_capacity(len);
                all.extend_from_slice(&first);
                self.for_each(|piece| all.extend_from_slice(&piece));
                Bytes::from(all)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(content: &mut Content) -> Bytes {
        content.pieces(0..content.len()).gather()
    }

    fn chunk_count(content: &Content) -> usize {
        match &content.chunks {
            Chunks::One(bytes) => usize::from(!bytes.is_empty()),
            Chunks::Many(chunks) => chunks.len(),
        }
    }

    #[test]
    fn every_range_and_cut_of_mixed_pieces_is_right() {
        let lengths = [1, SMALL, 40, 3, 2 * SMALL + 7, SMALL - 1, SMALL, SMALL, 5];
        let whole: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|i| (i * 7 % 251) as u8).collect();
        let build = || {
            let mut content = Content::default();
            let mut at = 0;
            for length in lengths {
                content.push(Bytes::copy_from_slice(&whole[at..at + length]));
                at += length;
            }
            content
        };
        let step = 997;
        for start in (0..=whole.len()).step_by(step) {
            let mut cut = build();
            cut.truncate(start as u64);
            cut.push(Bytes::from_static(b"new"));
            assert_eq!(bytes(&mut cut), [&whole[..start], b"new"].concat());
            for end in (start..=whole.len()).step_by(step) {
                let range = start as u64..end as u64;
                assert_eq!(build().pieces(range).gather(), &whole[start..end]);
            }
        }
    }

    #[test]
    fn small_pieces_share_chunks_and_large_ones_are_kept() {
        let mut content = Content::default();
        for _ in 0..64 * 1024 {
            content.push(Bytes::from_static(&[7; 32]));
        }
        assert_eq!(chunk_count(&content), 64 * 1024 * 32 / TAIL);
        let large = Bytes::from(vec![1; SMALL]);
        content.push(large.clone());
        assert_eq!(content.pieces(2 << 20..(2 << 20) + 1).next().unwrap().as_ptr(), large.as_ptr());
    }

    #[test]
    fn a_reader_keeps_its_version_while_the_content_is_cut_and_grows() {
        let mut content = Content::default();
        content.push(Bytes::from(vec![1; 3 * SMALL]));
        content.push(Bytes::from(vec![2; 3 * SMALL]));
        content.push(Bytes::from_static(b"tail"));
        let before = content.pieces(0..content.len());
        content.truncate(10);
        content.push(Bytes::from(vec![3; 9 * SMALL]));
        let before = before.gather();
        assert_eq!(before.len(), 6 * SMALL + 4);
        assert!(before.ends_with(b"\x02tail"));
    }

    #[test]
    fn a_gap_is_clones_of_one_chunk() {
        let mut content = Content::default();
        content.push_zeros(1 << 30);
        assert_eq!((content.len(), chunk_count(&content)), (1 << 30, (1 << 30) / TAIL));
        let mut pieces = content.pieces(0..content.len());
        assert_eq!(pieces.next().unwrap().as_ptr(), pieces.next().unwrap().as_ptr());
    }

    #[test]
    fn what_would_keep_a_larger_buffer_alive_is_copied() {
        let buffer = Bytes::from(vec![9; 1 << 20]);
        let slice = buffer.slice(100..200);
        let mut content = Content::whole(slice.clone());
        assert_ne!(bytes(&mut content).as_ptr(), slice.as_ptr());

        let mut roomy = bytes::BytesMut::with_capacity(1 << 20);
        roomy.extend_from_slice(&[1; SMALL]);
        let roomy = roomy.freeze();
        let address = roomy.as_ptr();
        content.push(roomy);
        assert_ne!(content.pieces(100..101).next().unwrap().as_ptr(), address);

        let tight = Bytes::from(vec![1; 10]);
        let address = tight.as_ptr();
        assert_eq!(bytes(&mut Content::whole(tight)).as_ptr(), address);
    }
}
