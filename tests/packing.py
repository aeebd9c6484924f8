"""Whole suites with packs: TEST_CHUNKS_PER_PACK sets UPLOAD_CHUNKS_PER_PACK in all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

PACKING = "TEST_CHUNKS_PER_PACK"


def packing_or(usual: str) -> str:
    """What all tests are asked to take, or what this one takes by itself."""
    return os.environ.get(PACKING, usual)


_ONE_UPLOAD = "what befalls one chunk's upload befalls those of its pack as well"
_FILES = "it counts files or rows"
_DEATHS = "two deaths split a pack, so there are two more; counted for chunks alone"
_LONGER = "a culprit in a pack is judged twice: this bound is for chunks alone"
_CUT = "in a pack its text is cut elsewhere"

UNPACKED: Mapping[str, str] = MappingProxyType(
    {
        "test_a_refused_connection_proves_nothing_behind_a_proxy": _ONE_UPLOAD,
        "test_a_plan_that_is_dropped_in_doubt_leaves_no_double": _ONE_UPLOAD,
        "test_an_answer_that_is_none_of_anythingllms_own_leaves_no_double": _ONE_UPLOAD,
        "test_restarts_without_end_put_no_look_off": _ONE_UPLOAD,
        "test_five_restarts_in_ten_minutes_keep_no_chunk_for_longer_than_one_ambiguity_time": (
            "a pack that is split waits for its own upload in doubt, its chunks for theirs"
        ),
        "test_one_trace_leads_from_the_publisher_to_the_result": "a pack is one request",
        "test_nothing_is_said_to_be_stored_meanwhile": _FILES,
        "test_a_large_document_is_not_uploaded_whole_before_anybody_looks": (
            "the bound is of requests, and each has ten chunks"
        ),
        "test_an_embedding_again_makes_one_row": _FILES,
        "test_a_workspace_beyond_what_can_be_listed_pauses_alone": _FILES,
        "test_updates_and_tombstones_settle": _FILES,
        "test_a_fresh_workspace_is_proven_as_ever": _FILES,
        "test_a_tombstone_that_goes_by_files_takes_them_out_of_every_workspace": _FILES,
        "test_a_database_that_is_down_stops_everything_until_it_is_back": _FILES,
        "test_what_is_refused_right_after_a_test_of_removals_is_told": _FILES,
        "test_the_count_goes_from_owner_to_owner_with_the_commit": _DEATHS,
        "test_the_count_survives_a_restart_of_ours_and_a_rebalance": _DEATHS,
        "test_a_restart_after_the_last_kill_kills_no_more": _DEATHS,
        "test_a_chunk_that_kills_late_is_found_too": _DEATHS,
        "test_a_killer_whose_controls_are_refused_for_their_kind_falls_too": _DEATHS,
        "test_a_killer_among_many_is_found_and_the_others_are_stored_meanwhile": _DEATHS,
        "test_a_killing_chunk_falls_after_five_kills_and_its_siblings_are_stored": _DEATHS,
        "test_what_a_proxy_answers_between_two_kills_clears_nobody": _DEATHS,
        "test_a_killer_is_found_while_the_embedder_refuses_what_is_long": _DEATHS,
        "test_two_killers_excuse_each_other_for_nothing": _DEATHS,
        "test_while_two_share_the_partitions_nothing_falls": _DEATHS,
        "test_deaths_count_for_nothing_while_others_have_partitions": _DEATHS,
        "test_others_do_not_notice_a_blocked_document": _LONGER,
        "test_signs_that_a_firewall_dislikes_are_no_outage": _LONGER,
        "test_an_odd_chunk_does_not_pause_its_workspace": _CUT,
        "test_a_text_that_the_database_does_not_take_is_dead_lettered_within_five_minutes": _CUT,
    }
)
"""Tests in virtual time that say something of chunks that go alone, with the reason."""

_FORBIDDEN = "a pack that can't be removed stays with texts that were stored once more"
_ASKED = "the bound of requests is for one chunk of a document in doubt, and here all of a pack are"

UNPACKED_CELLS: Mapping[str, str] = MappingProxyType(
    {
        "answers-401-removal-lasts": _FORBIDDEN,
        "answers-403-removal-lasts": _FORBIDDEN,
        "answers-413-upload-lasts": _ASKED,
        "answers-422-upload-lasts": _ASKED,
    }
)
"""Cells of the matrix (`tests.between`) that are otherwise with packs, with the reason."""
