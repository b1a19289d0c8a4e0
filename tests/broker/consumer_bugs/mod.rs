//! The bugs that consumers of other projects have had, each by its row in the project's list of historical correctness
//! bugs: what went wrong elsewhere must not go wrong here.
//!
//! Those named `row_N_…` are in the files below, against the whole stack. For the others a rule was tested already:
//!
//! | row | bug | what holds it, in `src/consumer` unless another place is named |
//! |---|---|---|
//! | 50 | librdkafka 1.7, an abort without records | `fetcher::tests::isolation::an_abort_of_a_transaction_without_records_here_takes_nothing_along` |
//! | 51 | franz-go 1.21.4, the index not in order | `fetcher::tests::isolation::any_history_read_from_any_offset_gives_what_was_committed`, which shuffles it |
//! | 52 | franz-go 758, an index without need, markers without an entry | `…::isolation::aborted_records_are_left_out_and_markers_are_never_seen`, and that of rows 50 and 51 |
//! | 53 | franz-go, two markers for one entry | `…::isolation::two_markers_for_one_entry_and_entries_of_nobody_do_no_harm` |
//! | 54 | KAFKA-12980, nothing but aborted records | `…::isolation::a_poll_ends_although_only_aborted_records_were_passed` |
//! | 55 | librdkafka 4434 | `reading` |
//! | 56 | KAFKA-7747, 8429, 9840, 10113, 10123 | `fetcher::tests::validate`, all of it: `the_rule_is_kafkas`, `a_seek_or_another_leader_wins_over_a_validation_that_is_on_its_way`, `without_an_epoch_there_is_nothing_to_ask`; unclean elections in `tests/sim/consume.rs` |
//! | 57 | librdkafka 4433, 4447, 4492, 4680, 4901, 4970 | `positions` |
//! | 58 | librdkafka 5158, KAFKA-20507 | `positions` |
//! | 59 | KAFKA-14196 | `groups`; `group::tests::bugs::kafka_14196_…` |
//! | 60 | librdkafka 2782, 3774 | `groups`; `group::tests::bugs::librdkafka_2782_…` |
//! | 61 | librdkafka 5604, a late poll in a rebalance | `group::tests::bugs::librdkafka_5604_…` |
//! | 62 | franz-go 1.21.4, a seek undone by a slow load | `fetcher::tests::start::a_seek_wins_over_committed_offsets_that_are_on_their_way`, `…::rules::a_seek_wins_over_a_lookup_that_is_on_its_way`, `…::validate::a_seek_or_another_leader_wins_over_a_validation_that_is_on_its_way` |
//! | 63 | franz-go 1.21.0, commits that overlap | `groups`; `offsets::tests::commits::an_older_offset_never_follows_a_newer_one` |
//! | 64 | franz-go 1.20.3 | `reading` |
//! | 65 | KAFKA-8052, 13079, 13111, 16029, sessions | `fetcher::tests::sessions`, all of it: against a model of the broker's cache at random |
//! | 66 | KAFKA-8950 | `reading`; `group::tests::coordinator::a_disconnect_at_any_step_leads_on` |
//! | 67 | KAFKA-4547, librdkafka 3471 | `positions` |
//! | 68 | librdkafka 2.1.1, 2.4.0, a stale answer | `fetcher::tests::positions::a_seek_drops_what_was_buffered_and_what_is_on_its_way`, `…::positions::an_assignment_drops_answers_to_the_one_before`, `…::assigned::what_is_on_its_way_for_a_partition_that_left_is_dropped_even_if_it_comes_back` |
//! | 69 | franz-go 1.21.0 | `reading` |
//! | 70 | librdkafka 5430 | `reading`; for producers `client_bugs::cluster::a_partition_without_a_leader_for_a_while` |
//! | 71 | librdkafka 1390, the dead leader is asked on | `reading`; for producers `producer_faults::leaders_move_and_stop` |

mod groups;
mod positions;
mod reading;
