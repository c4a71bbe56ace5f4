//! Every promise of the [`StorageDriver`](crate::StorageDriver) contract as a named case, for this crate's drivers and anyone's.
//!
//! A driver proves itself with one line. It makes a module of plain `#[test]` functions, one per case, so that a failure
//! names the promise that was broken:
//! ```
//! use std::sync::Arc;
//!
//! use holdall::conformance::Harness;
//! use holdall::drivers::InMemoryDriver;
//! use holdall::{StorageDriver, StoragePath};
//!
//! #[derive(Default)]
//! struct Mine(InMemoryDriver);
//!
//! #[async_trait::async_trait]
//! impl Harness for Mine {
//!     async fn open(&self) -> Arc<dyn StorageDriver> {
//!         Arc::new(self.0.clone())
//!     }
//!
//!     async fn leftovers(&self) -> Vec<String> {
//!         let children = self.0.list(&StoragePath::root()).await.unwrap_or_default();
//!         children.iter().map(ToString::to_string).collect()
//!     }
//! }
//!
//! holdall::conformance_tests!(mine, Mine::default());
//! ```
//! [`cases`] is the same table for a program that runs them otherwise.
//!
//! Each case begins on a fresh backend of its own [`Harness`], and ends when it has deleted all it made and the harness
//! finds nothing left behind. It is skipped, and says so, only where [`Capabilities`](crate::Capabilities) say that the
//! driver doesn't do it. Streams are driven by hand; no case depends on time, but `HOLDALL_TEST_TIMEOUT_SECS` (300) ends
//! one that hangs. Sizes follow `HOLDALL_TEST_LARGE_MIB` (64), `HOLDALL_TEST_READERS_MIB` (16), `HOLDALL_TEST_STREAM_MIB`
//! (1) and `HOLDALL_TEST_CHILDREN` (1,100).
#![allow(clippy::expect_used, reason = "a case that finds a broken promise fails by a panic that says which")]

mod context;
mod data;
mod feed;
mod harness;
pub mod model;
mod settings;

mod concat;
mod concurrency;
mod conditional;
mod content;
mod crash;
mod delete;
mod expected;
mod failure;
mod list;
mod moves;
mod read;
mod stat;
mod uncommitted;
mod url;
mod walk;
mod write;

use futures::future::LocalBoxFuture;

pub use self::context::Context;
pub use self::harness::{Fetched, Harness, Outcome, run};

/// One promise, or a few that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is promised; unique.
    pub name: &'static str,
    /// The part of the contract that it belongs to.
    pub theme: &'static str,
    run: for<'a> fn(&'a mut Context) -> LocalBoxFuture<'a, ()>,
}

/// The one list of the cases: hands them to the macro that is named, after its further arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ([$($then:tt)+] $($arguments:tt)*) => {
        $($then)+! { { $($arguments)* }
            content::valid_paths_round_trip
            content::longest_paths_round_trip
            content::invalid_paths_are_refused
            content::paths_are_told_apart_by_case
            content::put_content_reads_back
            content::write_stream_reads_back
            content::empty_content_is_a_file
            content::put_content_replaces_a_longer_content
            content::put_content_twice_replaces
            content::put_content_below_a_file_loses_nothing
            content::put_content_onto_a_directory_loses_nothing
            content::a_missing_path_is_not_found
            content::small_bytes_do_not_keep_their_buffer
            content::the_driver_has_a_name
            content::sweep_spares_complete_files
            read::read_stream_starts_at_the_offset
            read::a_range_is_clamped
            read::an_empty_file_reads_as_nothing
            read::ranges_of_a_long_file_are_exact
            read::a_large_stream_reads_back
            read::a_read_does_not_show_a_replacement
            read::a_read_does_not_show_what_is_appended
            read::a_read_does_not_show_a_rewrite
            read::a_read_does_not_end_short_where_the_file_is_cut
            read::a_read_does_not_show_a_deletion
            read::a_directory_can_not_be_read
            write::a_stream_continues_in_chunks_of_32_bytes
            write::a_stream_continues_in_chunks_of_10_mib
            write::write_returns_the_bytes_read
            write::an_empty_stream_creates_a_file
            write::an_empty_stream_can_be_appended_to
            write::an_empty_content_can_be_appended_to
            write::a_put_content_can_be_appended_to
            write::pieces_of_any_size_keep_their_order
            write::a_rewrite_in_the_middle_truncates
            write::a_rewrite_from_the_start_replaces
            write::a_long_file_can_be_cut_and_continued
            write::a_gap_is_filled_with_zeros
            write::a_gap_on_a_missing_path_is_filled_with_zeros
            write::a_gap_past_the_bound_is_refused
            write::each_of_1024_appends_shows_at_once
            write::a_write_below_a_file_loses_nothing
            write::a_write_onto_a_directory_loses_nothing
            failure::a_failed_stream_keeps_its_prefix_and_resumes
            failure::a_failed_append_keeps_its_prefix_and_resumes
            failure::a_failed_rewrite_leaves_no_old_bytes
            failure::the_cause_of_a_failed_stream_is_the_source
            failure::a_discarded_stream_leaves_a_file_as_it_was
            failure::a_discarded_stream_creates_nothing
            failure::nothing_of_a_discardable_stream_shows_before_its_end
            failure::a_discardable_stream_that_ends_well_counts
            failure::a_stream_is_let_go_when_the_write_ends
            expected::expected_absent_refuses_a_file
            expected::expected_absent_creates
            expected::expected_size_refuses_another_size
            expected::expected_size_of_a_missing_file_is_0
            expected::expected_size_lets_the_right_size_pass
            expected::expected_size_is_refused_before_the_stream_is_read
            uncommitted::an_uncommitted_file_grows_and_is_committed
            uncommitted::an_uncommitted_file_goes_on_after_a_failed_stream
            uncommitted::the_tail_of_an_uncommitted_file_can_be_rewritten
            uncommitted::a_file_completes_at_its_size
            uncommitted::a_file_completes_at_its_size_in_one_call
            uncommitted::one_byte_past_the_size_is_refused
            uncommitted::an_offset_past_the_size_is_refused
            uncommitted::a_discarded_stream_leaves_an_uncommitted_file_as_it_was
            uncommitted::a_stream_of_unknown_end_ends_an_uncommitted_file
            uncommitted::commit_changes_nothing_in_a_complete_file
            uncommitted::commit_twice_is_the_same_as_once
            uncommitted::commit_of_what_is_no_file_is_refused
            uncommitted::an_uncommitted_file_can_be_deleted
            uncommitted::an_uncommitted_file_goes_with_its_directory
            uncommitted::an_uncommitted_file_is_there_for_expected_absent
            uncommitted::put_content_replaces_an_uncommitted_file
            uncommitted::moving_an_uncommitted_file_works_or_is_refused
            uncommitted::concat_of_an_uncommitted_file_works_or_is_refused
            list::an_empty_root_lists_nothing
            list::each_level_lists_its_own_children
            list::more_than_a_page_of_children_are_listed
            list::files_and_directories_are_listed_once_and_sorted
            list::a_sibling_with_the_same_prefix_is_not_listed
            list::a_file_can_not_be_listed
            walk::a_walk_gives_all_in_the_order_of_bytes
            walk::a_walk_stays_below_its_directory
            walk::a_walk_can_skip_directories
            walk::a_walk_goes_on_after_each_entry
            walk::a_walk_goes_on_after_what_is_gone
            walk::a_long_walk_is_whole
            walk::a_walk_of_what_is_no_directory_gives_an_error
            walk::a_walk_of_an_empty_root_is_empty
            walk::empty_directories_may_be_walked_or_not
            stat::the_root_is_a_directory
            stat::a_file_has_size_and_time
            stat::a_directory_has_no_size
            stat::a_prefix_of_a_name_is_missing
            stat::rewriting_advances_the_time
            stat::reading_does_not_advance_the_time
            moves::a_file_moves
            moves::an_empty_file_moves
            moves::a_move_overwrites
            moves::a_move_of_nothing_leaves_the_destination
            moves::a_move_below_a_file_loses_nothing
            moves::a_move_onto_itself_changes_nothing
            moves::a_move_of_a_directory_is_refused
            moves::a_move_onto_a_directory_loses_nothing
            moves::a_move_leaves_siblings_with_the_same_prefix
            delete::a_file_is_deleted
            delete::a_deleted_file_can_be_made_again
            delete::a_directory_is_deleted_child_by_child
            delete::a_directory_is_deleted_whole
            delete::a_large_directory_is_deleted_whole
            delete::delete_spares_siblings_with_the_same_prefix
            delete::a_prefix_of_a_name_is_not_deleted
            delete::the_root_can_not_be_deleted
            concat::one_source_is_copied
            concat::two_sources_are_joined
            concat::a_hundred_sources_are_joined
            concat::short_and_long_sources_are_joined
            concat::empty_sources_add_nothing
            concat::no_sources_make_an_empty_file
            concat::a_source_can_come_twice
            concat::the_destination_can_be_a_source
            concat::concat_replaces_the_destination
            concat::a_missing_source_is_named_and_changes_nothing
            concat::concat_of_or_onto_a_directory_is_refused
            url::a_url_gives_the_content
            url::a_url_for_head_gives_the_length
            url::a_url_sets_type_and_disposition
            url::a_url_for_put_replaces_the_content
            url::a_url_for_one_file_gives_no_other
            conditional::put_if_absent_creates_only
            conditional::put_if_version_replaces_that_version
            conditional::a_stale_version_is_refused
            conditional::a_version_outlives_the_driver
            conditional::put_if_keeps_files_and_directories_apart
            concurrency::ten_readers_at_random_offsets
            concurrency::thirty_two_streams_at_once
            concurrency::two_writers_never_mix
            concurrency::of_two_appends_at_one_size_one_wins
            concurrency::of_two_creators_one_wins
            concurrency::of_two_open_writers_one_gets_a_conflict
            concurrency::put_content_is_atomic
            concurrency::racing_puts_leave_one_whole
            concurrency::files_come_and_go_in_one_directory
            concurrency::another_instance_sees_what_is_done
            concurrency::put_content_during_a_write_wins_or_is_refused
            concurrency::delete_during_a_write_wins_or_is_refused
            concurrency::a_file_made_anew_during_a_write_is_spared
            concurrency::a_move_during_a_write_wins_or_is_refused
            concurrency::a_move_onto_a_file_that_is_written_wins_or_is_refused
            concurrency::an_open_append_does_not_block_others
            concurrency::a_failed_write_lets_the_next_begin
            concurrency::of_racing_conditional_puts_one_wins
            concurrency::a_walk_beside_writers_gives_what_stays
            crash::a_dropped_append_can_be_resumed
            crash::a_dropped_append_to_an_uncommitted_file_can_be_resumed
            crash::a_dropped_write_up_to_a_size_can_be_resumed
            crash::an_append_can_be_resumed_after_a_crash
            crash::an_append_to_an_uncommitted_file_can_be_resumed_after_a_crash
            crash::a_write_up_to_a_size_can_be_resumed_after_a_crash
            crash::a_rewrite_cut_off_leaves_no_new_bytes_before_old_ones
            crash::a_put_cut_off_leaves_the_old_content_or_the_new
            crash::a_dropped_discardable_write_counts_for_nothing
            crash::a_discardable_write_counts_for_nothing_after_a_crash
            crash::what_was_acknowledged_is_there_after_a_crash
        }
    };
}

macro_rules! table {
    ({} $($theme:ident::$name:ident)*) => {
        &[$(Case { name: stringify!($name), theme: stringify!($theme), run: |t| Box::pin($theme::$name(t)) }),*]
    };
}

/// All cases.
pub fn cases() -> &'static [Case] {
    conformance_cases! { [table] }
}

/// Makes a module of tests, one per case of the [conformance suite](crate::conformance), each with a [`Harness`] of its
/// own that the expression makes: `conformance_tests!(mine, Harness::new());`
#[macro_export]
macro_rules! conformance_tests {
    ($module:ident, $harness:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the expression may need none of them")]
            use super::*;

            $crate::conformance_cases! { [$crate::conformance_test] $harness }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test {
    ({ $harness:expr } $($theme:ident::$name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::run(stringify!($name), $harness);
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = super::cases().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), super::cases().len());
    }
}
