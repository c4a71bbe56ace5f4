//! The record of all requests, and counts over it.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use http::StatusCode;

use super::call::{Call, Op};
use super::control::Outcome;

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The request.
    pub call: Arc<Call>,
    /// What became of it; `None` while it waits.
    pub outcome: Option<Outcome>,
    /// The status of the engine's answer, if the engine did it.
    pub status: Option<StatusCode>,
    /// The bytes of the answer's body that went out.
    pub bytes_out: u64,
}

/// Requests and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The number of requests.
    pub requests: u64,
    /// Bytes of the requests' bodies.
    pub bytes_in: u64,
    /// Bytes of the answers' bodies.
    pub bytes_out: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// Counts by operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<Op, Count>);

impl Counts {
    /// What one operation amounts to.
    pub fn of(&self, op: Op) -> Count {
        self.0.get(&op).copied().unwrap_or_default()
    }

    /// What all amount to.
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        self.0.values().for_each(|count| total += *count);
        total
    }
}

impl<'a> FromIterator<&'a Entry> for Counts {
    fn from_iter<T: IntoIterator<Item = &'a Entry>>(entries: T) -> Self {
        let mut counts = Self::default();
        for entry in entries {
            let count = Count { requests: 1, bytes_in: entry.call.bytes_in, bytes_out: entry.bytes_out };
            *counts.0.entry(entry.call.op).or_default() += count;
        }
        counts
    }
}

/// The record.
#[derive(Debug, Default)]
pub(super) struct Record(Vec<Entry>);

impl Record {
    pub(super) fn arrived(&mut self, call: &Arc<Call>) {
        self.0.push(Entry { call: Arc::clone(call), outcome: None, status: None, bytes_out: 0 });
    }

    pub(super) fn answered(&mut self, call: &Call, outcome: Outcome, status: Option<StatusCode>, bytes_out: u64) {
        if let Some(entry) = self.0.iter_mut().rev().find(|entry| entry.call.number == call.number) {
            entry.outcome = Some(outcome);
            entry.status = status;
            entry.bytes_out = bytes_out;
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
