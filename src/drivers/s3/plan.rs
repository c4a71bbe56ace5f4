//! How large parts are, and of which pieces a copy is made.

use std::ops::Range;

use super::config::{S3_MAX_PART, S3Config};
use super::head::MAX_PARTS;

/// How many part numbers a file is planned for; the others are for tries that failed and for writers that died.
const PLANNED: u64 = MAX_PARTS as u64 / 2;
/// How many numbers are kept for that where some are used already.
const SPARE: u64 = MAX_PARTS as u64 / 10;
/// After how many parts they double, while the size of the file isn't known.
const STEP: u32 = 400;
const MIB: u64 = 1 << 20;

/// The size of parts, for one configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    part: u64,
    largest: u64,
    equal: bool,
}

impl Plan {
    pub(super) fn new(config: &S3Config) -> Self {
        Self { part: config.part_size, largest: config.max_part_size(), equal: config.equal_parts }
    }

    /// The size of the parts of a file that will have `total` bytes, or that will have nobody knows how many.
    ///
    /// # Errors
    /// The size that parts would need, where that is more than memory allows.
    pub(super) fn first(&self, total: Option<u64>) -> Result<u64, u64> {
        let Some(total) = total else { return Ok(self.part) };
        let needed = total.div_ceil(PLANNED).max(self.part);
        let needed = if needed > self.part { needed.next_multiple_of(MIB) } else { needed };
        if needed > self.largest { Err(needed) } else { Ok(needed) }
    }

    /// The size of the parts for the `rest` of a file, whose parts were to have `current` bytes and which has used the numbers
    /// up to `top`.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub(super) fn rest(&self, rest: u64, top: u32, current: u64) -> Result<u64, u64> {
        let numbers = u64::from(MAX_PARTS.saturating_sub(top)).saturating_sub(SPARE).clamp(1, PLANNED);
        let needed = rest.div_ceil(numbers);
        if needed <= current {
            return Ok(current);
        }
        let needed = needed.next_multiple_of(MIB);
        if needed > self.largest { Err(needed) } else { Ok(needed) }
    }

    /// The size of the part that follows `count` others, the last of which was to have `current` bytes: larger by whole
    /// steps, so that a file of unknown size can reach 5 TiB.
    pub(super) fn next(&self, count: usize, current: u64) -> u64 {
        if self.equal {
            return current;
        }
        let steps = u32::try_from(count).unwrap_or(u32::MAX) / STEP;
        let grown = self.part.checked_shl(steps).filter(|grown| *grown >> steps == self.part);
        current.max(grown.unwrap_or(u64::MAX).min(self.largest))
    }
}

/// A range in pieces of about the same size, none over `most`.
pub(super) fn balanced(range: Range<u64>, most: u64) -> impl Iterator<Item = Range<u64>> {
    let length = range.end.saturating_sub(range.start);
    let count = length.div_ceil(most.max(1));
    (0..count).map(move |n| {
        // Widened, since length * count may pass 64 bits.
        let at = |n: u64| range.start + (u128::from(length) * u128::from(n) / u128::from(count)) as u64;
        at(n)..at(n + 1)
    })
}

/// A part of a file made of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A range of one source, copied by the engine.
    Copy(usize, Range<u64>),
    /// Ranges of sources that go through this machine.
    Through(Vec<(usize, Range<u64>)>),
}

/// The parts of a concatenation of sources of these sizes: copies where they may be, of `most` bytes at most, and what is
/// too small for a part of its own goes through this machine with its neighbours. All parts but the last are at least
/// `min` bytes.
pub(super) fn concat(sizes: &[u64], min: u64, most: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut small, mut gathered): (Vec<(usize, Range<u64>)>, u64) = (Vec::new(), 0);
    for (source, &size) in sizes.iter().enumerate() {
        let mut at = 0;
        if gathered > 0 {
            // What is too small takes from its neighbour what it lacks.
            let taken = size.min(min - gathered);
            if taken > 0 {
                small.push((source, 0..taken));
            }
            (at, gathered) = (taken, gathered + taken);
            if gathered >= min {
                pieces.push(Piece::Through(std::mem::take(&mut small)));
                gathered = 0;
            }
        }
        let left = size - at;
        // S3 copies ranges only of what is larger than the smallest part.
        if left >= min && size > min {
            // Balanced pieces of at least half of `most`, which is at least `min`.
            pieces.extend(balanced(at..size, most).map(|range| Piece::Copy(source, range)));
        } else if left > 0 {
            small.push((source, at..size));
            gathered = left;
        }
    }
    if gathered > 0 {
        pieces.push(Piece::Through(small));
    }
    pieces
}

/// The most that S3 keeps in one object.
pub(super) const MAX_OBJECT: u64 = S3_MAX_PART << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn plan(config: &S3Config) -> Plan {
        Plan::new(config)
    }

    fn roomy() -> S3Config {
        S3Config::new("b").memory_budget(10 * GIB)
    }

    #[test]
    fn a_known_total_fits_half_of_the_numbers() {
        for total in [0, 1, 8 * MIB, 39 * GIB, 40 * GIB, 300 * GIB, MAX_OBJECT] {
            let size = plan(&roomy()).first(Some(total)).unwrap();
            assert!((8 * MIB..=S3_MAX_PART).contains(&size));
            assert!(total.div_ceil(size) <= 5000, "{total}");
        }
        assert_eq!(plan(&S3Config::new("b")).first(Some(300 * GIB)), Ok(62 * MIB));
        assert_eq!(plan(&S3Config::new("b")).first(Some(400 * GIB)), Err(82 * MIB), "parts must fit into memory");
    }

    #[test]
    fn the_rest_fits_the_numbers_that_are_left() {
        let plan = plan(&S3Config::new("b"));
        assert_eq!(plan.rest(100 * MIB, 3, 5 * MIB), Ok(5 * MIB), "what suffices stays, whatever the configuration");
        assert_eq!(plan.rest(8 * MIB * 3_500, 5_500, 8 * MIB), Ok(8 * MIB));
        assert_eq!(plan.rest(8 * MIB * 3_600, 5_500, 8 * MIB), Ok(9 * MIB));
        assert_eq!(plan.rest(200 * GIB, 2, 8 * MIB), Ok(41 * MIB));
        assert!(plan.rest(200 * GIB, 8_000, 8 * MIB).is_err());
        assert_eq!(plan.rest(8 * MIB, MAX_PARTS, 8 * MIB), Ok(8 * MIB));
    }

    #[test]
    fn an_unknown_total_reaches_5_tib_within_half_of_the_numbers() {
        for part in [5 * MIB, 8 * MIB, 100 * MIB] {
            let config = roomy().part_size(part);
            let (mut total, mut count, mut size) = (0, 0, plan(&config).first(None).unwrap());
            while total < MAX_OBJECT {
                let next = plan(&config).next(count, size);
                assert!(next >= size && next <= S3_MAX_PART);
                (total, count, size) = (total + next, count + 1, next);
            }
            assert!(count <= 5000, "{part}: {count}");
        }
    }

    #[test]
    fn equal_parts_stay_equal_and_memory_bounds_the_others() {
        let equal = plan(&roomy().equal_parts(true));
        assert_eq!(equal.next(9000, 8 * MIB), 8 * MIB);
        let tight = plan(&S3Config::new("b"));
        assert_eq!(tight.next(9999, 8 * MIB), 64 * MIB);
    }

    proptest! {
        #[test]
        fn a_concatenation_is_whole_and_no_part_too_small(
            sizes in prop::collection::vec(prop_oneof![0u64..12, 0u64..200], 0..12),
            most in 20u64..50,
        ) {
            let pieces = concat(&sizes, 10, most);
            let mut covered = Vec::new();
            for (n, piece) in pieces.iter().enumerate() {
                let ranges = match piece {
                    Piece::Copy(source, range) => vec![(*source, range.clone())],
                    Piece::Through(ranges) => ranges.clone(),
                };
                let length: u64 = ranges.iter().map(|(_, range)| range.end - range.start).sum();
                prop_assert!(length >= 10 || n + 1 == pieces.len(), "{pieces:?}");
                prop_assert!(length <= most, "{pieces:?}");
                covered.extend(ranges.into_iter().flat_map(|(source, range)| range.map(move |at| (source, at))));
            }
            let all: Vec<_> = sizes.iter().enumerate().flat_map(|(source, size)| (0..*size).map(move |at| (source, at))).collect();
            prop_assert_eq!(covered, all);
        }
    }
}
