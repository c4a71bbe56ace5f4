//! Who meets whom. A letter is a symbol: its case says whose it is, and which letter it is at which offset.

use super::*;

const STAT: Do = Do::Call(Op::Stat);
const READ: Do = Do::Call(Op::Read);
const COMMIT: Do = Do::Call(Op::Commit);
const DELETE: Do = Do::Call(Op::Delete);
const SWEEP: Do = Do::Call(Op::Sweep(false));
const YOUNG: Do = Do::Call(Op::Sweep(true));

/// Appends at this offset, to be committed.
fn more(at: usize, text: &str) -> Do {
    Do::Call(Op::Append { at: Some(at), text: text.into(), whole: None })
}

/// Appends at this offset, whole with so many symbols.
fn last(at: usize, text: &str, whole: usize) -> Do {
    Do::Call(Op::Append { at: Some(at), text: text.into(), whole: Some(whole) })
}

/// Creates the file, which must not be there.
fn new(text: &str) -> Do {
    Do::Call(Op::Append { at: None, text: text.into(), whole: None })
}

fn new_at_size(text: &str, whole: usize) -> Do {
    Do::Call(Op::Append { at: None, text: text.into(), whole: Some(whole) })
}

fn put(text: &str) -> Do {
    Do::Call(Op::Put(text.into()))
}

fn whole(text: &str) -> Do {
    Do::Call(Op::Whole(text.into()))
}

/// Asks how much is there, and goes on from it.
fn resume(text: &str, whole: Option<usize>) -> Do {
    Do::Resume(text.into(), whole)
}

impl Scenario {
    fn from<const N: usize>(start: usize) -> impl FnOnce([Vec<Do>; N]) -> Self {
        move |scripts| Self { start: Some(start), ..Self::nothing()(scripts) }
    }

    fn nothing<const N: usize>() -> impl FnOnce([Vec<Do>; N]) -> Self {
        |scripts| Self {
            scripts: scripts.into(),
            start: None,
            // Three actors without faults are many runs already.
            faults: usize::from(N == 2),
            part: 2,
            inline: 1,
            engine: Config::aws(),
        }
    }

    /// All tails go to segments.
    fn segments(self) -> Self {
        Self { part: 3, inline: 0, ..self }
    }

    fn on(self, engine: Config) -> Self {
        Self { engine, ..self }
    }

    fn faults(self, faults: usize) -> Self {
        Self { faults, ..self }
    }
}

/// Without faults, then with.
async fn try_all(name: &str, scenario: Scenario) {
    let most = std::env::var("HOLDALL_TEST_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(50);
    let phases = if scenario.faults == 0 { vec![0] } else { vec![0, scenario.faults] };
    let mut explorer = Explorer::new(scenario).await;
    for faults in phases {
        let (runs, states, begun) = (explorer.runs, explorer.seen.len(), std::time::Instant::now());
        let end = if explorer.explore(faults, most).await { "all" } else { "bounded" };
        let (runs, states) = (explorer.runs - runs, explorer.seen.len() - states);
        println!("{name}, {faults} faults: {runs} runs, {states} states, {end}, {:.1?}", begun.elapsed());
    }
}

macro_rules! scenarios {
    ($($name:ident: $scenario:expr;)+) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            try_all(stringify!($name), $scenario).await;
        })+
    };
}

type From<const N: usize> = [Vec<Do>; N];

fn on<const N: usize>(start: usize, scripts: From<N>) -> Scenario {
    Scenario::from(start)(scripts)
}

fn onto_nothing<const N: usize>(scripts: From<N>) -> Scenario {
    Scenario::nothing()(scripts)
}

scenarios! {
    create_create: onto_nothing([vec![new("a")], vec![new("AB"), STAT]]).faults(2);
    append_append: on(0, [vec![more(0, "ab")], vec![more(0, "AB")]]).faults(2);
    resume_resume: on(1, [vec![last(1, "bc", 3), STAT, resume("abc", Some(3))], vec![last(1, "BC", 3), STAT, resume("ABC", Some(3))]]);
    parts: on(1, [vec![more(1, "bcd"), STAT], vec![more(1, "BCD"), STAT, resume("ABCDE", None)]]);
    parts_of_one_upload: on(3, [vec![more(3, "d"), STAT], vec![more(3, "D"), STAT, COMMIT]]);
    stale_cache: on(0, [vec![more(0, "abc"), more(3, "de"), STAT], vec![STAT, resume("ABCD", None)]]);
    same_bytes: on(0, [vec![more(0, "a"), STAT], vec![more(0, "a"), STAT]]);
    segments_append: on(1, [vec![last(1, "bc", 3), STAT], vec![more(1, "BC"), STAT]]).segments();
    segments_sweep: on(1, [vec![more(1, "b"), more(2, "c"), STAT], vec![SWEEP, STAT]]).segments();
    append_sweep: on(1, [vec![last(1, "bc", 3), STAT, resume("abc", Some(3))], vec![SWEEP, STAT]]);
    create_sweep: onto_nothing([vec![new_at_size("abc", 3), STAT, resume("abc", Some(3))], vec![SWEEP, STAT]]);
    sweep_sweep: on(2, [vec![SWEEP, STAT, more(0, "A")], vec![SWEEP, STAT]]);
    young_sweep: on(1, [vec![YOUNG], vec![more(1, "bc"), STAT]]);
    young_sweep_segments: on(1, [vec![YOUNG], vec![more(1, "b"), STAT]]).segments();
    append_commit: on(1, [vec![more(1, "bc")], vec![COMMIT, READ]]);
    commit_commit: on(3, [vec![COMMIT, READ], vec![COMMIT, READ]]).faults(2);
    commit_delete_new: on(1, [vec![COMMIT], vec![DELETE, more(0, "A"), STAT]]);
    commit_delete_new_part: on(2, [vec![COMMIT], vec![DELETE, more(0, "A"), STAT]]);
    commit_commit_delete_new: on(1, [vec![COMMIT], vec![COMMIT, DELETE, more(0, "A"), STAT]]);
    append_delete_new: on(1, [vec![more(1, "bcd")], vec![DELETE, more(0, "A"), STAT]]);
    delete_delete_new: on(2, [vec![DELETE, STAT], vec![DELETE, more(0, "A"), COMMIT, STAT]]);
    delete_create_commit: onto_nothing([vec![DELETE, STAT], vec![new("ab"), COMMIT, READ]]);
    stat_delete_create: onto_nothing([vec![STAT, DELETE, STAT], vec![more(0, "a"), STAT]]);
    stat_append_at_size: on(1, [vec![STAT, STAT], vec![last(1, "bc", 3)]]);
    create_create_at_size: onto_nothing([vec![new("A"), STAT], vec![new_at_size("ab", 2), READ]]);
    create_create_at_size_parts: onto_nothing([vec![new("A"), STAT], vec![new_at_size("abc", 3), READ]]);
    put_append: on(1, [vec![put("A"), READ], vec![more(1, "b"), STAT]]);
    put_commit: on(2, [vec![put("A"), READ], vec![COMMIT, READ]]);
    put_create_at_size: onto_nothing([vec![put("A"), READ], vec![new_at_size("ab", 2), READ]]);
    put_create_at_size_parts: onto_nothing([vec![put("A"), READ], vec![new_at_size("abc", 3), READ]]);
    put_delete: on(1, [vec![put("A"), READ], vec![DELETE, STAT]]);
    put_stale_cache: on(1, [vec![put("A"), READ], vec![more(1, "b"), more(2, "c"), COMMIT, READ]]);
    put_stale_cache_at_size: on(1, [vec![put("A"), READ], vec![more(1, "b"), last(2, "c", 3), READ]]);
    put_sweep_stale_at_size: on(1, [vec![put("A"), SWEEP, READ], vec![more(1, "b"), last(2, "c", 3), READ]]).on(Config { complete_again: true, ..Config::aws() });
    whole_create: onto_nothing([vec![whole("A"), READ], vec![new_at_size("ab", 2), READ]]);
    whole_delete_new: onto_nothing([vec![whole("A"), READ], vec![DELETE, more(0, "a"), STAT]]);

    append_commit_delete: on(1, [vec![more(1, "bc")], vec![COMMIT], vec![DELETE, STAT]]);
    commit_sweep_delete_new: on(2, [vec![COMMIT], vec![SWEEP], vec![DELETE, more(0, "A"), STAT]]);
    append_append_sweep: on(1, [vec![more(1, "bc")], vec![more(1, "BC")], vec![SWEEP, STAT]]);
    create_create_delete: onto_nothing([vec![new_at_size("ab", 2)], vec![more(0, "A")], vec![DELETE, STAT]]);
    delete_delete_create: on(1, [vec![DELETE], vec![DELETE], vec![more(0, "A"), STAT]]);
}
