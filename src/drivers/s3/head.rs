//! The head of an uncommitted file: what it is made of so far, in a few bytes.
//!
//! Layout, numbers as LEB128 varints: magic and version (6 bytes), file id (16), nonce (16), state (1), part
//! size, highest part number handed out, upload id (length, bytes; empty: none), parts (count; each the number as the
//! difference to the one before, the length as 0 for the part size, the ETag), segments (count; each name (16), length),
//! inline bytes (length, bytes), and the first 8 bytes of the SHA-256 of all before. An ETag that is an MD5 takes 17
//! bytes (0, then binary), another one its length and its text.

use bytes::{Bytes, BytesMut};

use super::keys::{Id, hex_decode};

const MAGIC: &[u8; 6] = b"~head\x01";
const CHECK: usize = 8;
/// The most parts that S3 takes.
pub(super) const MAX_PARTS: u32 = 10_000;

/// What may be done with an uncommitted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It grows.
    Growing,
    /// All its parts are there, and it is being completed: it takes no more bytes.
    Sealed,
    /// It is gone, or about to be.
    Dead,
}

/// A finished part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) length: u64,
    pub(super) etag: ETag,
}

/// An ETag in the form that takes less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ETag {
    Md5([u8; 16]),
    Text(Box<str>),
}

impl ETag {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; 16];
        let is_md5 = hex_decode(text, &mut bytes) && !text.contains(|c: char| c.is_ascii_uppercase());
        if is_md5 { Self::Md5(bytes) } else { Self::Text(text.into()) }
    }

    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Md5(bytes) => Id(*bytes).to_string().into(),
            Self::Text(text) => (&**text).into(),
        }
    }
}

/// An object of bytes past the last part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: Id,
    pub(super) length: u64,
}

/// All that is known of an uncommitted file. Its bytes are those of the parts, the segments and the inline ones, in this
/// order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the file; also the metadata of the object that becomes of it.
    pub(super) file: Id,
    /// New at every write, so that no two writes have the same ETag.
    pub(super) nonce: Id,
    pub(super) state: State,
    /// The size of the next parts.
    pub(super) part_size: u64,
    /// The highest part number that was handed out. Those up to it that nobody has used are the writer's of this head.
    pub(super) top: u32,
    pub(super) upload: Option<Box<str>>,
    pub(super) parts: Vec<Part>,
    pub(super) segments: Vec<Segment>,
    pub(super) inline: Bytes,
}

/// Bytes that are no head, or none that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidHead {
    #[error("the head of the file is of another version or program")]
    Foreign,
    #[error("the head of the file is torn or damaged")]
    Damaged,
}

impl Head {
    /// An empty file.
    pub(super) fn new(file: Id, part_size: u64) -> Self {
        Self {
            file,
            nonce: Id::default(),
            state: State::Growing,
            part_size,
            top: 0,
            upload: None,
            parts: Vec::new(),
            segments: Vec::new(),
            inline: Bytes::new(),
        }
    }

    /// How many bytes are in parts.
    pub(super) fn parts_size(&self) -> u64 {
        self.parts.iter().map(|part| part.length).sum()
    }

    /// How many bytes are in segments and inline.
    pub(super) fn tail_size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum::<u64>() + self.inline.len() as u64
    }

    /// How many bytes the file has.
    pub(super) fn size(&self) -> u64 {
        self.parts_size() + self.tail_size()
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out =
            BytesMut::with_capacity(128 + self.parts.len() * 20 + self.segments.len() * 20 + self.inline.len());
        out.extend_from_slice(MAGIC);
        for id in [self.file, self.nonce] {
            out.extend_from_slice(&id.0);
        }
        out.extend_from_slice(&[match self.state {
            State::Growing => 0,
            State::Sealed => 1,
            State::Dead => 2,
        }]);
        put(&mut out, self.part_size);
        put(&mut out, self.top.into());
        put_bytes(&mut out, self.upload.as_deref().unwrap_or_default().as_bytes());
        put(&mut out, self.parts.len() as u64);
        let mut last = 0;
        for part in &self.parts {
            put(&mut out, u64::from(part.number.wrapping_sub(last)));
            put(&mut out, if part.length == self.part_size { 0 } else { part.length.saturating_add(1) });
            match &part.etag {
                ETag::Md5(bytes) => {
                    put(&mut out, 0);
                    out.extend_from_slice(bytes);
                }
                ETag::Text(text) => put_bytes(&mut out, text.as_bytes()),
            }
            last = part.number;
        }
        put(&mut out, self.segments.len() as u64);
        for segment in &self.segments {
            out.extend_from_slice(&segment.name.0);
            put(&mut out, segment.length);
        }
        put_bytes(&mut out, &self.inline);
        let check = check(&out);
        out.extend_from_slice(&check);
        out.freeze()
    }

    /// Reads a head. The inline bytes are a copy, so that they don't pin what they came in.
    ///
    /// # Errors
    /// [`InvalidHead`] for anything that [`encode`](Self::encode) can't have written.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, InvalidHead> {
        if !bytes.starts_with(MAGIC) {
            return Err(InvalidHead::Foreign);
        }
        let end = bytes.len().checked_sub(CHECK).ok_or(InvalidHead::Damaged)?;
        let (body, sum) = bytes.split_at_checked(end).ok_or(InvalidHead::Damaged)?;
        if check(body) != sum {
            return Err(InvalidHead::Damaged);
        }
        let mut input = Input(body.get(MAGIC.len()..).ok_or(InvalidHead::Damaged)?);
        input.head().filter(|_| input.0.is_empty()).ok_or(InvalidHead::Damaged)
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let mut out = [0; CHECK];
    for (out, byte) in out.iter_mut().zip(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref()) {
        *out = *byte;
    }
    out
}

fn put(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.extend_from_slice(&[value as u8 | 0x80]);
        value >>= 7;
    }
    out.extend_from_slice(&[value as u8]);
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn head(&mut self) -> Option<Head> {
        let (file, nonce) = (self.id()?, self.id()?);
        let state = match self.take(1)? {
            [0] => State::Growing,
            [1] => State::Sealed,
            [2] => State::Dead,
            _ => return None,
        };
        let part_size = self.number()?;
        let top = u32::try_from(self.number()?).ok()?;
        let upload = std::str::from_utf8(self.bytes()?).ok().filter(|upload| !upload.is_empty()).map(Box::from);
        let count = self.count(MAX_PARTS.into())?;
        let mut parts = Vec::with_capacity(count);
        let (mut last, mut size) = (0u32, 0u64);
        for _ in 0..count {
            let step = u32::try_from(self.number()?).ok().filter(|step| *step > 0)?;
            let number = last.checked_add(step).filter(|number| *number <= top)?;
            let length = self.number()?.checked_sub(1).unwrap_or(part_size);
            size = size.checked_add(length)?;
            let etag = match self.bytes()? {
                [] => ETag::Md5(self.take(16)?.try_into().ok()?),
                text => ETag::Text(std::str::from_utf8(text).ok()?.into()),
            };
            parts.push(Part { number, length, etag });
            last = number;
        }
        let count = self.count(self.0.len() as u64 / 17)?;
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            let segment = Segment { name: self.id()?, length: self.number()? };
            size = size.checked_add(segment.length)?;
            segments.push(segment);
        }
        let inline = self.bytes()?;
        size.checked_add(inline.len() as u64)?;
        let inline = Bytes::copy_from_slice(inline);
        Some(Head { file, nonce, state, part_size, top, upload, parts, segments, inline })
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn id(&mut self) -> Option<Id> {
        self.take(16)?.try_into().ok().map(Id)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            let bits = u64::from(byte & 0x7f);
            // No bit may fall off at the top, and no number have two forms.
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn count(&mut self, most: u64) -> Option<usize> {
        self.number().filter(|count| *count <= most)?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Head {
        let part = |number, length, etag: &str| Part { number, length, etag: ETag::new(etag) };
        Head {
            nonce: Id([2; 16]),
            state: State::Sealed,
            top: 300,
            upload: Some("upload/Id+=".into()),
            parts: vec![
                part(1, 8 << 20, "d41d8cd98f00b204e9800998ecf8427e"),
                part(200, 8 << 20, "not-an-md5"),
                part(201, 0, "D41D8CD98F00B204E9800998ECF8427E"),
            ],
            segments: vec![Segment { name: Id([4; 16]), length: 70_000 }],
            inline: Bytes::from_static(b"tail"),
            ..Head::new(Id([1; 16]), 8 << 20)
        }
    }

    #[test]
    fn a_head_reads_back_as_it_was_written() {
        for head in [example(), Head::new(Id([9; 16]), 1)] {
            assert_eq!(Head::decode(&head.encode()), Ok(head));
        }
        assert_eq!(example().size(), (16 << 20) + 70_000 + 4);
        assert_eq!(example().parts[2].etag.text(), "D41D8CD98F00B204E9800998ECF8427E");
    }

    #[test]
    fn five_thousand_equal_parts_take_under_100_kib() {
        let etag = ETag::new("d41d8cd98f00b204e9800998ecf8427e");
        let parts = (1..=5000).map(|number| Part { number, length: 8, etag: etag.clone() }).collect();
        let head = Head { parts, top: 5000, ..Head::new(Id([1; 16]), 8) };
        let bytes = head.encode();
        assert!(bytes.len() < 100 << 10, "{}", bytes.len());
        assert_eq!(Head::decode(&bytes), Ok(head));
    }

    #[test]
    fn what_is_foreign_or_torn_is_told_apart() {
        let bytes = example().encode();
        assert_eq!(Head::decode(b""), Err(InvalidHead::Foreign));
        assert_eq!(Head::decode(b"~head\x02...................."), Err(InvalidHead::Foreign));
        assert_eq!(Head::decode(MAGIC), Err(InvalidHead::Damaged));
        for end in MAGIC.len()..bytes.len() {
            assert_eq!(Head::decode(&bytes[..end]), Err(InvalidHead::Damaged), "{end}");
        }
        for at in MAGIC.len()..bytes.len() {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 1;
            assert_eq!(Head::decode(&bytes), Err(InvalidHead::Damaged), "{at}");
        }
    }

    fn heads() -> impl Strategy<Value = Head> {
        let id = || any::<[u8; 16]>().prop_map(Id);
        let text = || prop::collection::vec(any::<char>(), 1..20).prop_map(String::from_iter);
        let etag = prop_oneof![any::<[u8; 16]>().prop_map(ETag::Md5), text().prop_map(|text| ETag::new(&text))];
        let length = || prop_oneof![9 => 0u64..1 << 40, 1 => 0..u64::MAX];
        let part =
            (prop_oneof![1u32..4, any::<u16>().prop_map(|step| u32::from(step) + 1)], prop::option::of(length()), etag);
        let ids = (id(), id(), 0u8..3);
        let parts = (0u64..1 << 40, prop::option::of(text()), prop::collection::vec(part, 0..6), 0u32..9);
        let segment = (id(), length()).prop_map(|(name, length)| Segment { name, length });
        let tail = (prop::collection::vec(segment, 0..4), prop::collection::vec(any::<u8>(), 0..40));
        (ids, parts, tail).prop_map(|((file, nonce, state), (part_size, upload, parts, unused), tail)| {
            let mut head = Head { nonce, upload: upload.map(Box::from), ..Head::new(file, part_size) };
            head.state = [State::Growing, State::Sealed, State::Dead][usize::from(state)];
            for (step, length, etag) in parts {
                head.top += step;
                head.parts.push(Part { number: head.top, length: length.unwrap_or(part_size), etag });
            }
            head.top += unused;
            Head { segments: tail.0, inline: tail.1.into(), ..head }
        })
    }

    /// Bytes among which are long numbers.
    fn noise(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], length)
    }

    /// With the checksum that makes it worth reading further.
    fn checked(mut body: Vec<u8>) -> Vec<u8> {
        body.extend(check(&body));
        body
    }

    /// What is refused is refused; what is read is what the same head would be written as.
    fn assert_sound(bytes: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(head) = Head::decode(bytes) {
            prop_assert!(head.size() >= head.tail_size(), "which takes sums that fit");
            prop_assert_eq!(Head::decode(&head.encode()), Ok(head));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_head_reads_back_as_it_was_written_unless_it_is_too_large(head in heads()) {
            let lengths = head.parts.iter().map(|part| part.length).chain(head.segments.iter().map(|segment| segment.length));
            let size = lengths.chain([head.inline.len() as u64]).try_fold(0, u64::checked_add);
            prop_assert_eq!(Head::decode(&head.encode()), size.map(|_| head).ok_or(InvalidHead::Damaged));
        }

        #[test]
        fn no_change_of_a_head_panics_or_has_two_readings(
            head in heads(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, noise(0..12)), 1..6),
        ) {
            let mut body = head.encode().to_vec();
            body.truncate(body.len() - CHECK);
            for (at, taken, put) in changes {
                let at = at.index(body.len() + 1).max(MAGIC.len().min(body.len()));
                let end = (at + taken).min(body.len());
                body.splice(at..end, put);
            }
            assert_sound(&checked(body))?;
        }

        #[test]
        fn no_bytes_panic_or_have_two_readings(noise in noise(0..300)) {
            assert_sound(&noise)?;
            assert_sound(&checked([MAGIC, &*noise].concat()))?;
        }
    }
}
