//! What callers may see of one path, whatever the order of requests: linearisability.
//!
//! The register holds nothing, or bytes that are complete or not. [`Views`] is the set of all states that some order of the calls so
//! far allows; once it is empty, callers saw what no order explains. An append is a row of steps of one symbol each that nobody
//! may split (a long stream's checkpoints), then the step that completes. A call that failed, or never answered, may have
//! happened, in part or whole, up to the moment when it failed and its last late request landed; only its completing step may
//! still be done by somebody else. Sizes, contents and refusals that name what is there are observations.

use std::collections::{BTreeSet, HashMap};

/// Symbols: a letter stands for some bytes.
pub(super) type Text = Vec<u8>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Register {
    text: Text,
    complete: bool,
    /// An uncommitted file that `put_content` has hidden: its writer may still be told that he wrote.
    hidden: Option<Text>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Op {
    /// At this offset (`None`: expecting that nothing is there); whole with so many symbols (`None`: when committed).
    Append {
        at: Option<usize>,
        text: Text,
        whole: Option<usize>,
    },
    /// Writes anew from an offset within a file of so many symbols.
    Rewrite {
        size: usize,
        at: usize,
        text: Text,
        whole: Option<usize>,
    },
    /// An `EndOfStream` write of a file that must not be there.
    Whole(Text),
    Put(Text),
    /// Files of these texts, which nobody else knows, are moved or joined to become this one.
    In(Vec<Text>),
    /// It is moved away: the answer is what arrived.
    Out,
    /// It is joined with another one of this text: the answer is what that makes.
    Join(Text),
    Commit,
    Delete,
    /// `true`: heads are too young for it.
    Sweep(bool),
    Stat,
    Read,
}

/// What a call answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Answer {
    Ok,
    Nothing,
    Size(usize),
    Text(Text),
    NotCommitted,
    Exists,
    /// Another size is there than the caller named.
    Offset(usize),
    /// Anything that says nothing of what is there.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Invoked,
    /// The symbols before the append, and how many of its own are there.
    Under(Text, usize),
    Done(Answer),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Pending {
    Call(Op, Step),
    /// The completing step of a call that failed, of a file of this text.
    Helper(Text),
}

/// A call's actor and number.
pub(super) type Slot = (u8, usize);
type View = (Option<Register>, BTreeSet<(Slot, Pending)>);

/// All that may be so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Views(BTreeSet<View>);

fn uncommitted(text: Text) -> Option<Register> {
    Some(Register { text, complete: false, hidden: None })
}

fn complete(text: Text) -> Option<Register> {
    Some(Register { text, complete: true, hidden: None })
}

fn done(answer: Answer) -> Step {
    Step::Done(answer)
}

/// The bytes that are beside an object, as its writer sees them.
fn beside(register: &Option<Register>) -> Option<Text> {
    let register = register.as_ref()?;
    if register.complete { register.hidden.clone() } else { Some(register.text.clone()) }
}

/// All that one step of a call can lead to.
fn steps(register: &Option<Register>, op: &Op, step: &Step, short: usize) -> Vec<(Option<Register>, Step)> {
    let same = || register.clone();
    // An empty uncommitted file may come and go unseen.
    let empty = register.is_none() || *register == uncommitted(Text::new());
    let there = register.as_ref();
    let mut next = Vec::new();
    match (op, step) {
        (_, Step::Done(_)) => {}
        (Op::Stat, _) if empty => next.extend([Answer::Nothing, Answer::Size(0)].map(|answer| (same(), done(answer)))),
        (Op::Read | Op::Join(_) | Op::Out, _) if empty => {
            next.extend([Answer::Nothing, Answer::NotCommitted].map(|answer| (same(), done(answer))));
        }
        (Op::Stat, _) => {
            let answer = there.map_or(Answer::Nothing, |there| Answer::Size(there.text.len()));
            next.push((same(), done(answer)));
        }
        (Op::Read | Op::Join(_) | Op::Out, _) => {
            let answer = match (op, there) {
                (_, None) => Answer::Nothing,
                (Op::Join(with), Some(there)) if there.complete => Answer::Text([&there.text[..], with].concat()),
                (_, Some(there)) if there.complete => Answer::Text(there.text.clone()),
                (_, Some(_)) => Answer::NotCommitted,
            };
            let left = there.filter(|there| !(there.complete && *op == Op::Out));
            next.push((left.cloned(), done(answer)));
        }
        (Op::Whole(_), _) if there.is_some_and(|there| there.complete) => next.push((same(), done(Answer::Exists))),
        (Op::Put(text) | Op::Whole(text), _) => {
            let put = Register { text: text.clone(), complete: true, hidden: beside(register) };
            next.push((Some(put), done(Answer::Ok)));
            // Somebody's bytes may be there, or nothing but a head.
            if matches!(op, Op::Whole(_)) && there.is_some() {
                next.push((same(), done(Answer::Exists)));
            }
        }
        (Op::In(texts), _) => {
            let put = Register { text: texts.concat(), complete: true, hidden: beside(register) };
            next.push((Some(put), done(Answer::Ok)));
        }
        (Op::Delete, _) => {
            let answer = if there.is_some() { Answer::Ok } else { Answer::Nothing };
            next.push((None, done(answer)));
        }
        (Op::Sweep(young), _) => {
            next.push((same(), done(Answer::Ok)));
            if !young && there.is_some_and(|there| !there.complete) {
                next.push((None, done(Answer::Ok)));
            }
        }
        (Op::Commit, _) if empty => {
            next.push((complete(Text::new()), done(Answer::Ok)));
            next.push((same(), done(Answer::Nothing)));
        }
        (Op::Commit, _) => {
            let ended = there.map(|there| Register { complete: true, ..there.clone() });
            next.push((ended, done(Answer::Ok)));
        }
        (Op::Append { at, text, whole }, Step::Invoked) => {
            let first = at.is_none_or(|at| at == 0);
            if first && text.len() <= short && *whole == Some(text.len()) && there.is_none_or(|there| !there.complete) {
                // Brought whole by one call, it may be put without a head, and then behaves as `put_content`.
                let put = Register { text: text.clone(), complete: true, hidden: beside(register) };
                next.push((Some(put), done(Answer::Ok)));
            }
            match (there, at) {
                _ if empty => {
                    if first {
                        next.push((uncommitted(Text::new()), Step::Under(Text::new(), 0)));
                    }
                    next.push((same(), done(at.map_or(Answer::Exists, |_| Answer::Offset(0)))));
                }
                (Some(there), at) if there.complete || at.is_none() => {
                    next.push((same(), done(Answer::Exists)));
                    let size = there.text.len();
                    match at {
                        Some(at) if *at != size => next.push((same(), done(Answer::Offset(size)))),
                        Some(at) if *whole == Some(at + text.len()) => {
                            let longer = [&there.text[..], text].concat();
                            next.push((complete(longer), done(Answer::Ok)));
                        }
                        _ => {}
                    }
                }
                (Some(there), Some(at)) if there.text.len() == *at => {
                    next.push((same(), Step::Under(there.text.clone(), 0)));
                }
                (Some(there), _) => next.push((same(), done(Answer::Offset(there.text.len())))),
                (None, _) => {}
            }
            if let Some(hidden) =
                there.and_then(|there| there.hidden.as_ref()).filter(|hidden| Some(hidden.len()) == *at)
            {
                next.push((same(), Step::Under(hidden.clone(), 0)));
            }
        }
        (Op::Rewrite { size, at, text, whole }, Step::Invoked) => {
            let cut = |text: &Text| text[..*at].to_vec();
            match there {
                None => next.push((same(), done(Answer::Offset(0)))),
                Some(there) if there.text.len() != *size => {
                    next.push((same(), done(Answer::Offset(there.text.len()))));
                }
                Some(there) if there.complete && *whole == Some(at + text.len()) => {
                    next.push((complete([&cut(&there.text)[..], text].concat()), done(Answer::Ok)));
                }
                Some(there) if there.complete => {}
                Some(there) => next.push((uncommitted(cut(&there.text)), Step::Under(cut(&there.text), 0))),
            }
            if there.is_some_and(|there| there.complete) {
                next.push((same(), done(Answer::Exists)));
            }
        }
        (Op::Append { text, whole, .. } | Op::Rewrite { text, whole, .. }, Step::Under(before, count)) => {
            let have = [&before[..], &text[..*count]].concat();
            let now = text.get(*count).map(|symbol| [&have[..], &[*symbol]].concat());
            let under = Step::Under(before.clone(), count + 1);
            match there {
                Some(there) if !there.complete && there.text == have => match now {
                    Some(now) => next.push((uncommitted(now), under)),
                    None if Some(have.len()) == *whole => next.push((complete(have), done(Answer::Ok))),
                    None => next.push((same(), done(Answer::Ok))),
                },
                // Hidden by an object: still acknowledged, never seen.
                Some(there) if there.hidden.as_ref() == Some(&have) => match now {
                    Some(now) => next.push((Some(Register { hidden: Some(now), ..there.clone() }), under)),
                    None if Some(have.len()) != *whole => next.push((same(), done(Answer::Ok))),
                    None => {}
                },
                _ => {}
            }
        }
    }
    next
}

/// Keeps what was computed before.
pub(super) struct Monitor {
    /// So many symbols in one call may make a file without a head.
    short: usize,
    closed: HashMap<Views, Views>,
}

impl Monitor {
    pub(super) fn new(short: usize) -> Self {
        Self { short, closed: HashMap::new() }
    }

    /// Nothing is there, and nobody has called.
    pub(super) fn start() -> Views {
        Views(BTreeSet::from([(None, BTreeSet::new())]))
    }

    /// Adds all that pending calls may have done by now.
    fn close(&mut self, views: Views) -> Views {
        if let Some(closed) = self.closed.get(&views) {
            return closed.clone();
        }
        let mut out = views.0.clone();
        let mut todo: Vec<View> = views.0.iter().cloned().collect();
        while let Some((register, calls)) = todo.pop() {
            for (slot, pending) in &calls {
                let mut without = calls.clone();
                without.remove(&(*slot, pending.clone()));
                let next: Vec<View> = match pending {
                    Pending::Helper(text) if register == uncommitted(text.clone()) => {
                        vec![(complete(text.clone()), without)]
                    }
                    Pending::Helper(_) => Vec::new(),
                    Pending::Call(op, step) => {
                        let next = steps(&register, op, step, self.short).into_iter();
                        let next = next.map(|(register, step)| {
                            let mut calls = without.clone();
                            calls.insert((*slot, Pending::Call(op.clone(), step)));
                            (register, calls)
                        });
                        next.collect()
                    }
                };
                todo.extend(next.into_iter().filter(|view| out.insert(view.clone())));
            }
        }
        let closed = Views(out);
        self.closed.insert(views, closed.clone());
        closed
    }

    /// A call begins.
    pub(super) fn invoke(&mut self, views: &Views, slot: Slot, op: &Op) -> Views {
        let with = views.0.iter().map(|(register, calls)| {
            let mut calls = calls.clone();
            calls.insert((slot, Pending::Call(op.clone(), Step::Invoked)));
            (register.clone(), calls)
        });
        let with = Views(with.collect());
        self.close(with)
    }

    /// A call gave this answer. `None`: no order explains it.
    pub(super) fn answer(&mut self, views: &Views, slot: Slot, answer: &Answer) -> Option<Views> {
        let mut out = BTreeSet::new();
        for (register, calls) in &views.0 {
            for call in calls {
                let explains = match call {
                    (of, Pending::Call(op, Step::Done(found))) if *of == slot => {
                        found == answer || *op == Op::Delete && *answer == Answer::Ok
                    }
                    _ => false,
                };
                if explains {
                    let mut calls = calls.clone();
                    calls.remove(call);
                    out.insert((register.clone(), calls));
                }
            }
        }
        (!out.is_empty()).then_some(Views(out))
    }

    /// These calls (`None`: all) failed or died, and nothing of theirs is under way any more.
    pub(super) fn end(&mut self, views: &Views, slot: Option<Slot>) -> Views {
        let ended = views.0.iter().map(|(register, calls)| {
            let keep = calls.iter().filter_map(|call| match call {
                (of, _) if slot.is_some_and(|slot| slot != *of) => Some(call.clone()),
                (_, Pending::Helper(_)) => Some(call.clone()),
                (of, Pending::Call(op, step)) => {
                    let sealed = match (op, step, register) {
                        (
                            Op::Append { text, whole: Some(whole), .. } | Op::Rewrite { text, whole: Some(whole), .. },
                            Step::Under(before, count),
                            _,
                        ) if before.len() + count == *whole => [&before[..], text].concat(),
                        (Op::Commit, Step::Invoked, Some(there)) if !there.complete => there.text.clone(),
                        _ => return None,
                    };
                    Some((*of, Pending::Helper(sealed)))
                }
            });
            (register.clone(), keep.collect())
        });
        let ended = Views(ended.collect());
        self.close(ended)
    }
}
