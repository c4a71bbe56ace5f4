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

const OUT: Do = Do::Call(Op::Out);

/// Writes anew from `at` on, in a file of so many symbols.
fn rewrite(size: usize, at: usize, text: &str, whole: Option<usize>) -> Do {
    Do::Call(Op::Rewrite { size, at, text: text.into(), whole })
}

/// Another file is moved here, or several are joined here.
fn made_of<const N: usize>(texts: [&str; N]) -> Do {
    Do::Call(Op::In(texts.map(Text::from).into()))
}

fn join(text: &str) -> Do {
    Do::Call(Op::Join(text.into()))
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
            complete: false,
            // Three actors without faults are many runs already.
            faults: usize::from(N == 2),
            fails: Call::writes,
            weight: 1,
            part: 2,
            inline: 1,
            engine: Config::aws(),
        }
    }

    /// All tails go to segments.
    fn segments(self) -> Self {
        Self { part: 3, inline: 0, ..self }
    }

    /// What is there before is complete.
    fn complete(self) -> Self {
        Self { complete: true, ..self }
    }

    fn on(self, engine: Config) -> Self {
        Self { engine, ..self }
    }

    /// Only these requests fail.
    fn fails(self, fails: fn(&Call) -> bool) -> Self {
        Self { fails, ..self }
    }

    fn weight(self, weight: usize) -> Self {
        Self { weight, ..self }
    }

    fn faults(self, faults: usize) -> Self {
        Self { faults, ..self }
    }
}

/// Without faults, then with.
async fn try_all(name: &str, scenario: Scenario) {
    let most = std::env::var("HOLDALL_TEST_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(50);
    let phases = if scenario.faults == 0 { vec![0] } else { vec![0, scenario.faults] };
    let most = most * scenario.weight;
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

/// All that writes, but for a `put_content`: where it got no answer it is sent again, and takes effect twice.
fn all_but_puts(call: &Call) -> bool {
    call.writes() && (call.op != Request::PutObject || call.key.contains('~'))
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
    whole_create: onto_nothing([vec![whole("A"), READ], vec![new_at_size("ab", 2), READ]]);
    whole_delete_new: onto_nothing([vec![whole("A"), READ], vec![DELETE, more(0, "a"), STAT]]);

    stale_last_put: on(1, [vec![more(1, "b"), last(2, "c", 3)], vec![put("A")]]).fails(|call| call.op == Request::CompleteMultipartUpload).weight(3);
    stale_last_put_sweep: on(1, [vec![more(1, "b"), last(2, "c", 3)], vec![put("A")], vec![SWEEP]]).on(Config { complete_again: true, ..Config::aws() }).weight(5);
    commit_delete_stat: on(2, [vec![COMMIT], vec![DELETE], vec![STAT, STAT]]).weight(3);
    create_beside_object: on(1, [vec![more(0, "a")], vec![more(0, "A")]]).complete();
    delete_stat_put: on(1, [vec![DELETE], vec![STAT, put("A")]]);
    delete_create_at_size: onto_nothing([vec![DELETE], vec![new_at_size("abc", 3)]]).weight(3);
    late_create_stat: onto_nothing([vec![new("ab"), COMMIT], vec![STAT]]).fails(|call| call.header("if-none-match").is_some() && call.op == Request::PutObject).weight(4);

    complete_append_append: on(5, [vec![last(5, "f", 6)], vec![last(5, "F", 6), READ]]).complete();
    complete_append_put: on(5, [vec![last(5, "f", 6), READ], vec![put("A"), READ]]).complete();
    complete_append_put_twice: on(5, [vec![last(5, "f", 6), READ], vec![put("ABCDE"), put("A")]]).complete().fails(all_but_puts);
    complete_append_delete: on(5, [vec![last(5, "f", 6)], vec![DELETE, STAT, more(0, "A"), STAT]]).complete();
    complete_append_sweep: on(5, [vec![last(5, "f", 6), READ], vec![SWEEP, READ]]).complete();
    complete_rewrite_put: on(5, [vec![rewrite(5, 4, "EF", Some(6))], vec![put("ABCDE"), READ]]).complete();
    complete_rewrite_short: on(2, [vec![rewrite(2, 1, "B", Some(2)), READ], vec![last(2, "c", 3), READ]]).complete();
    complete_rewrite_short_put: on(2, [vec![rewrite(2, 1, "B", Some(2)), READ], vec![put("AB"), READ]]).complete();
    rewrite_stat: onto_nothing([vec![new("ab"), rewrite(2, 1, "BCD", None), STAT], vec![STAT, STAT]]).segments();
    rewrite_append: on(2, [vec![rewrite(2, 1, "BC", None), STAT], vec![more(2, "CD"), STAT]]).segments();
    rewrite_rewrite: on(2, [vec![rewrite(2, 1, "b", None), STAT], vec![rewrite(2, 1, "B", None), STAT]]).segments();
    rewrite_commit: on(2, [vec![rewrite(2, 1, "BCD", Some(4)), READ], vec![COMMIT, READ]]).segments();
    rewrite_inline_append: on(3, [vec![rewrite(3, 2, "C", None), STAT], vec![last(3, "d", 4), READ]]);
    rewrite_of_parts_append: on(4, [vec![rewrite(4, 2, "C", None), STAT], vec![more(4, "de"), READ]]);
    move_in_append: on(1, [vec![made_of(["AB"]), READ], vec![more(1, "b"), STAT]]);
    move_in_commit: on(2, [vec![made_of(["ABCDE"]), READ], vec![COMMIT, READ]]);
    move_in_delete: on(1, [vec![made_of(["ABCDE"]), READ], vec![DELETE, STAT]]);
    // A put that got no answer is done again: then it comes back after it was moved away.
    move_out_put: on(5, [vec![OUT, STAT], vec![put("ABCDE"), READ]]).complete().faults(0);
    move_out_put_short: on(2, [vec![OUT, STAT], vec![put("AB"), READ]]).complete().faults(0);
    move_out_append: on(5, [vec![OUT, STAT], vec![last(5, "f", 6), READ]]).complete();
    move_out_delete: on(2, [vec![OUT, STAT], vec![DELETE, STAT]]).complete();
    move_out_commit: on(3, [vec![OUT, STAT], vec![COMMIT, READ]]);
    join_put: on(5, [vec![join("xyz")], vec![put("ABCDE"), READ]]).complete();
    join_put_short: on(1, [vec![join("x")], vec![put("AB"), READ]]).complete();
    join_append: on(5, [vec![join("xyz")], vec![last(5, "f", 6), READ]]).complete();
    join_in_append: on(1, [vec![made_of(["ABC", "D", "EF"]), READ], vec![more(1, "b"), STAT]]);
    join_in_delete: on(1, [vec![made_of(["ABC", "DEF"]), READ], vec![DELETE, STAT]]);
    join_in_complete: on(5, [vec![made_of(["ABC", "DEF"]), READ], vec![last(5, "f", 6), READ]]).complete();

    minio_delete_delete_new: on(2, [vec![DELETE, STAT], vec![DELETE, more(0, "A"), COMMIT, STAT]]).on(Config::minio());
    minio_commit_commit_delete_new: on(1, [vec![COMMIT], vec![COMMIT, DELETE, more(0, "A"), STAT]]).on(Config::minio());
    minio_append_delete_new: on(1, [vec![more(1, "bcd")], vec![DELETE, more(0, "A"), STAT]]).on(Config::minio());
    minio_append_sweep: on(1, [vec![last(1, "bc", 3), STAT, resume("abc", Some(3))], vec![SWEEP, STAT]]).on(Config::minio());
    minio_create_create_delete: onto_nothing([vec![new_at_size("ab", 2)], vec![more(0, "A")], vec![DELETE, STAT]]).on(Config::minio());
    parts_random_etags: on(1, [vec![more(1, "bcd"), STAT], vec![more(1, "BCD"), STAT]]).on(Config { random_etags: true, ..Config::aws() });

    append_commit_delete: on(1, [vec![more(1, "bc")], vec![COMMIT], vec![DELETE, STAT]]);
    commit_sweep_delete_new: on(2, [vec![COMMIT], vec![SWEEP], vec![DELETE, more(0, "A"), STAT]]);
    append_append_sweep: on(1, [vec![more(1, "bc")], vec![more(1, "BC")], vec![SWEEP, STAT]]);
    create_create_delete: onto_nothing([vec![new_at_size("ab", 2)], vec![more(0, "A")], vec![DELETE, STAT]]);
    delete_delete_create: on(1, [vec![DELETE], vec![DELETE], vec![more(0, "A"), STAT]]);
}
