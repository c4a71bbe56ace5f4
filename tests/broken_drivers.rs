//! The conformance suite against drivers that each break one promise: the case that is named must notice.

mod driver;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use holdall::conformance::model::{Operation, apply};
use holdall::conformance::{Case, cases};

use self::driver::Broken;

/// Names each fault once, with the case that catches it.
macro_rules! faults {
    ($($fault:ident => $case:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Fault {
            Nothing,
            $($fault,)*
        }
        use Fault::*;
        const ALL: &[Fault] = &[$($fault),*];

        mod caught {
            $(
                #[test]
                #[allow(non_snake_case, reason = "named after the fault")]
                fn $fault() {
                    super::assert_caught(super::Fault::$fault, stringify!($case));
                }
            )*
        }

        #[test]
        fn without_a_fault_the_same_cases_pass() {
            for name in [$(stringify!($case)),*] {
                let outcome = case(name).check(Arc::new(Broken::with(Fault::Nothing)));
                assert!(outcome.is_ok(), "{name}: {outcome:?}");
            }
        }
    };
}

faults! {
    // write_stream: bytes and sizes
    TruncatesLate => a_failed_rewrite_leaves_no_old_bytes,
    KeepsTheOldTail => a_rewrite_in_the_middle_truncates,
    AppendsAlways => a_rewrite_from_the_start_replaces,
    FillsTheGapWithOnes => a_gap_is_filled_with_zeros,
    LeavesOutTheGap => a_gap_on_a_missing_path_is_filled_with_zeros,
    AllowsAnyGap => a_gap_past_the_bound_is_refused,
    CreatesNothingForAnEmptyStream => an_empty_stream_creates_a_file,
    ReturnsTheSize => write_returns_the_bytes_read,
    SwapsPieces => pieces_of_any_size_keep_their_order,
    LosesTheLastByteOfLongStreams => a_large_stream_reads_back,
    // Failures
    LosesBytesOnFailure => a_failed_stream_keeps_its_prefix_and_resumes,
    SwallowsTheFailure => a_failed_append_keeps_its_prefix_and_resumes,
    SaysTheSizeAsBytesRead => a_failed_append_keeps_its_prefix_and_resumes,
    CallsAFailedStreamABackendFailure => a_failed_stream_keeps_its_prefix_and_resumes,
    HidesTheCause => the_cause_of_a_failed_stream_is_the_source,
    DiscardKeepsThePrefix => a_discarded_stream_leaves_a_file_as_it_was,
    DiscardCutsFirst => nothing_of_a_discardable_stream_shows_before_its_end,
    DiscardCreates => a_discarded_stream_creates_nothing,
    // Expected and completion
    IgnoresExpectedAbsent => expected_absent_refuses_a_file,
    IgnoresExpectedSize => expected_size_refuses_another_size,
    TakesAMissingFileForAnySize => expected_size_of_a_missing_file_is_0,
    ChecksTheSizeBeforeTheLock => of_two_appends_at_one_size_one_wins,
    ReadsTheStreamBeforeItChecks => expected_size_is_refused_before_the_stream_is_read,
    KeepsOneByteTooMany => one_byte_past_the_size_is_refused,
    KeepsNothingOfTooMany => one_byte_past_the_size_is_refused,
    CommitsWhatIsMissing => commit_of_what_is_no_file_is_refused,
    CommitTouches => commit_changes_nothing_in_a_complete_file,
    // Reads
    FailsPastTheEnd => read_stream_starts_at_the_offset,
    IgnoresTheEndOfARange => a_range_is_clamped,
    SuffixFromTheStart => a_range_is_clamped,
    SaysTheSizeOfTheRange => a_range_is_clamped,
    ReadsPieceByPiece => a_read_does_not_show_a_rewrite,
    ReadsADirectoryAsEmpty => a_directory_can_not_be_read,
    // put_content
    PutIsNotAtomic => put_content_is_atomic,
    PutKeepsTheOldTail => put_content_replaces_a_longer_content,
    PutMakesText => put_content_reads_back,
    IgnoresCase => paths_are_told_apart_by_case,
    ReplacesAFileByADirectory => put_content_below_a_file_loses_nothing,
    LeavesATemporaryFile => put_content_twice_replaces,
    // stat, list, walk
    TakesWhatIsMissingForADirectory => a_prefix_of_a_name_is_missing,
    StatIsStale => each_of_1024_appends_shows_at_once,
    TimeGoesBack => rewriting_advances_the_time,
    ListsSiblings => a_sibling_with_the_same_prefix_is_not_listed,
    ListsOnePage => more_than_a_page_of_children_are_listed,
    ListsInTheOrderOfKeys => files_and_directories_are_listed_once_and_sorted,
    ListsAFileAsEmpty => a_file_can_not_be_listed,
    WalksInTheOrderOfPaths => a_walk_gives_all_in_the_order_of_bytes,
    WalksFilesOnly => a_walk_gives_all_in_the_order_of_bytes,
    WalksSiblings => a_walk_stays_below_its_directory,
    SkipsNothing => a_walk_can_skip_directories,
    SkipsTheDirectoryItself => a_walk_can_skip_directories,
    StartsAtInsteadOfAfter => a_walk_goes_on_after_each_entry,
    StartsAfterAllOfADirectory => a_walk_goes_on_after_each_entry,
    // move_to, delete, concat
    MoveDropsTheTargetFirst => a_move_of_nothing_leaves_the_destination,
    MoveNamesTheTarget => a_move_of_nothing_leaves_the_destination,
    MoveLeavesTheSource => a_file_moves,
    MoveOntoItselfDeletes => a_move_onto_itself_changes_nothing,
    MoveRefusesToOverwrite => a_move_overwrites,
    DeleteTakesSiblings => delete_spares_siblings_with_the_same_prefix,
    DeleteTakesOneLevel => a_directory_is_deleted_whole,
    DeletesWhatIsMissing => a_missing_path_is_not_found,
    DeletesTheRoot => the_root_can_not_be_deleted,
    ConcatDropsTheLast => two_sources_are_joined,
    ConcatStopsAtAnEmptySource => empty_sources_add_nothing,
    ConcatReadsWhileItWrites => the_destination_can_be_a_source,
    ConcatSortsItsSources => a_source_can_come_twice,
    // Conditional puts
    IgnoresTheVersion => a_stale_version_is_refused,
    VersionIsTheContent => a_stale_version_is_refused,
    ChecksTheVersionBeforeTheLock => of_racing_conditional_puts_one_wins,
    PutIfAbsentReplaces => put_if_absent_creates_only,
    // Writers, crashes
    WritersMix => two_writers_never_mix,
    WritesWhatWasDeleted => delete_during_a_write_wins_or_is_refused,
    AppendsToWhatWasPut => put_content_during_a_write_wins_or_is_refused,
    LosesTheLastAppendInACrash => what_was_acknowledged_is_there_after_a_crash,
    LosesUncommittedFilesInACrash => an_append_to_an_uncommitted_file_can_be_resumed_after_a_crash,
    // Errors and capabilities
    NamesNoPath => a_missing_path_is_not_found,
    NamesNoDriver => the_driver_has_a_name,
    SaysBackendForAll => a_missing_path_is_not_found,
    PromisesUrls => a_url_gives_the_content,
}

/// Random operations on a model of the contract, the same in each run.
fn model_notices(fault: Fault) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..40).any(|_| {
        let operations: Vec<_> = (0..150).map(|_| Operation::decode(std::array::from_fn(|_| random()))).collect();
        let run = || runtime.block_on(apply(&Broken::with(fault), &operations));
        std::panic::catch_unwind(AssertUnwindSafe(run)).is_err()
    })
}

/// What single calls in a row can't show: crashes, races, times, causes, what lies beside the files, and what is large.
const BEYOND_THE_MODEL: [Fault; 14] = [
    AllowsAnyGap,
    ChecksTheSizeBeforeTheLock,
    CommitTouches,
    HidesTheCause,
    IgnoresCase,
    LeavesATemporaryFile,
    ListsOnePage,
    LosesTheLastAppendInACrash,
    LosesTheLastByteOfLongStreams,
    LosesUncommittedFilesInACrash,
    PromisesUrls,
    PutIsNotAtomic,
    ReadsTheStreamBeforeItChecks,
    TimeGoesBack,
];

#[test]
fn the_model_notices_every_other_fault() {
    assert!(!model_notices(Fault::Nothing));
    for fault in ALL.iter().filter(|fault| !BEYOND_THE_MODEL.contains(fault)) {
        assert!(model_notices(*fault), "random operations did not notice the fault {fault:?}");
    }
}

fn case(name: &str) -> &'static Case {
    cases().iter().find(|case| case.name == name).unwrap_or_else(|| panic!("there is no case {name}"))
}

fn assert_caught(fault: Fault, name: &str) {
    match case(name).check(Arc::new(Broken::with(fault))) {
        Ok(outcome) => panic!("{name} did not notice the fault {fault:?}: {outcome:?}"),
        Err(message) => assert!(!message.contains("within"), "{name} hung at the fault {fault:?}: {message}"),
    }
}
