//! What a node promises: each scenario is written once and passed by every kind of network.
//!
//! The networks are real ones, of nodes on tokio, on smol, and on both in turn, and the simulator's. On the simulator's
//! run the scenarios that need no more than [`world::Peer`]. The others are about what it does not have: bytes on a wire
//! (hostile and foreign peers), and the shell around the core (queues of slow readers, sockets, orderly shutdown).

mod alone;
mod foreign;
mod net;
mod runtimes;
mod scenarios;
mod table;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use foreign::{interop, js};
use net::{frames, hostile, liar};
use scenarios::{flattery, idle, shell};
use table::Suite;
use world::{Real, Simulated};

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(300);

/// Scenarios over [`world::World`].
macro_rules! everywhere {
    ($suite:ident, $($scenario:ident),+ $(,)?) => {
        $($suite.network(
            stringify!($scenario),
            |mix| Box::pin(scenarios::$scenario(Real::new(mix))),
            Some(|| Box::pin(scenarios::$scenario(Simulated::new()))),
        );)+
    };
}

/// Scenarios of whole nodes with their shells.
macro_rules! real {
    ($suite:ident, $module:ident: $($scenario:ident),+ $(,)?) => {
        $($suite.network(stringify!($scenario), |mix| Box::pin($module::$scenario(mix)), None);)+
    };
}

/// Tests of one node, or of a few that are all alike.
macro_rules! either {
    ($suite:ident, $module:ident: $($test:ident),+ $(,)?) => {
        $($suite.either(stringify!($test), |mix| Box::pin($module::$test(mix)));)+
    };
}

fn main() -> ExitCode {
    let mut suite = Suite::default();
    everywhere!(
        suite,
        a_restarted_node_knows_what_it_knew,
        what_one_node_publishes_others_find_and_fetch_even_when_it_is_gone,
        a_fetch_that_was_cut_off_goes_on_after_a_restart,
        a_node_that_was_away_catches_up,
        values_providers_and_messages_travel_between_nodes,
        dropped_operations_are_cancelled,
        a_hundred_operations_at_once_all_end_well,
    );
    real!(
        suite,
        shell: a_node_that_was_stopped_has_let_go_of_everything,
        operations_end_with_a_reason,
        a_slow_reader_misses_events_and_holds_nobody_up,
        a_node_stops_in_the_middle_of_much_work,
    );
    real!(suite, liar: attack_28_a_provider_of_wrong_blocks_is_banned_and_the_transfer_completes);
    either!(suite, flattery: the_simulator_does_not_flatter);
    either!(suite, shell: an_address_in_use_is_refused_by_name);
    either!(suite, idle: many_starts_and_stops_leave_nothing_behind, idle_nodes_use_next_to_nothing);
    either!(
        suite,
        frames: requests_of_both_protocols_are_answered_each_with_its_own,
        too_many_waiting_requests_are_refused_and_the_rest_is_answered,
        a_request_that_is_closed_without_an_answer_fails_at_once,
        one_way_messages_arrive_in_order_and_notices_on_streams_of_their_own,
        peers_learn_what_the_other_serves_and_when_that_changes,
        dials_fail_for_the_right_reason,
        whoever_answers_at_another_address_does_not_end_a_dial,
        a_disconnect_ends_requests_and_is_told_once,
        attack_60_two_peers_that_dial_each_other_at_once_are_up_once_and_down_once,
        a_second_connection_of_the_same_peer_is_no_news_and_one_too_many_is_refused,
    );
    either!(
        suite,
        hostile: attack_01_prefixes_above_the_limit_close_the_stream_before_anything_is_reserved,
        attack_02_endless_and_overlong_varints_close_the_stream,
        a_peer_that_breaks_every_stream_is_disconnected,
        attack_03_a_stream_that_ends_in_the_middle_of_a_frame_is_a_fault,
        attack_04_frames_glued_together_or_split_byte_by_byte_are_served_alike,
        attack_08_a_frame_that_trickles_in_loses_its_slot_at_the_deadline,
        attack_09_a_flood_of_streams_is_capped_and_others_are_served,
        unfinished_frames_of_one_connection_are_bounded_together,
        attack_58_a_peer_that_never_reads_loses_blocks_while_others_get_theirs,
        random_bytes_on_the_port_and_on_streams_are_harmless,
        pending_connections_are_capped_and_the_others_get_their_turn,
        floods_of_idle_connections_cost_less_than_100_mib,
    );
    either!(
        suite,
        interop: values_and_provider_records_are_stored_and_found_both_ways,
        provider_records_expire_on_both_kinds_unless_they_are_announced_again,
        signed_messages_reach_every_subscriber_once_through_peers_of_the_other_kind,
        a_foreign_peer_is_identified_and_stays_connected_for_more_than_a_ping_interval,
        messages_as_large_as_either_side_sends_are_read_by_the_other,
        a_new_connection_brings_everything_back,
        values_that_wharf_does_not_keep_are_refused_without_a_charge,
    );
    either!(
        suite,
        js: js_libp2p_identifies_pings_stores_and_finds,
        js_libp2p_hears_and_is_heard_on_each_new_connection,
        js_libp2p_and_rust_libp2p_meet_through_a_hub,
    );
    suite.run()
}
