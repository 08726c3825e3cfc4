"""Bad input and bad circumstances: each is tried by a test through HTTP, a command or a server, and the table says where.

What is looked for each time: one clear error with place, reason and way out; nothing changed, nothing lost, no trace shown.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
TABLE: Final[dict[str, tuple[str, ...]]] = {
    "unknown field": ("faces/api/test_errors.py::test_unknown_fields_are_named_with_their_place",),
    "number, text or time nobody can mean": (
        "faces/api/test_attacks.py::test_a_change_nobody_can_mean_is_refused_at_its_place",
    ),
    "body of 20 MB": (
        "faces/server/test_slow_and_large.py::test_a_body_of_twenty_megabytes_is_not_read",
        "watch/telemetry/test_app.py::test_a_body_without_end_is_cut_off_at_the_limit",
    ),
    "slow body": (
        "faces/server/test_slow_and_large.py::test_a_body_that_does_not_come_is_not_waited_for",
        "faces/server/test_slow_and_large.py::test_a_body_the_receiver_waits_for_comes_in_time",
    ),
    "slow head": ("faces/server/test_slow_and_large.py::test_a_head_that_does_not_come_is_not_waited_for",),
    "huge headers": ("faces/server/test_slow_and_large.py::test_a_head_without_end_is_refused",),
    "body nested by the thousand": ("faces/api/test_attacks.py::test_a_body_that_cannot_be_read_has_a_way_out",),
    "policy typo": ("faces/api/test_attacks.py::test_a_policy_that_does_not_compile_holds_all_files_back",),
    "command on an ended change": ("faces/api/test_attacks.py::test_nothing_is_ordered_of_a_change_that_ended",),
    "two aborts at once": ("faces/api/test_attacks.py::test_two_aborts_at_once_are_one",),
    "vote on what was not seen": ("faces/api/test_errors.py::test_votes_and_orders_that_may_not_be",),
    "stale edit": ("faces/api/test_errors.py::test_a_stale_edit_is_refused",),
    "expired, missing or foreign token": (
        "faces/api/test_errors.py::test_tokens_are_as_good_as_their_scope_and_time",
        "faces/api/test_errors.py::test_every_route_asks_who_is_there",
        "watch/telemetry/test_app.py::test_who_may_not_write_is_refused",
    ),
    "request of another site": ("faces/api/test_errors.py::test_other_sites_cannot_use_a_session",),
    "strange cursor": ("faces/api/test_pages.py::test_a_cursor_of_another_list_is_refused",),
    "broken OTLP": (
        "watch/telemetry/test_app.py::test_bad_bodies_are_refused_whole",
        "watch/telemetry/test_app.py::test_one_bad_span_refuses_its_whole_request",
    ),
    "OTLP with a million distinct services": (
        "watch/telemetry/test_ingest.py::test_a_flood_of_services_is_bounded",
        "watch/telemetry/test_ingest.py::test_memory_is_flat_under_a_flood_of_names",
        "faces/server/test_flood.py::test_distinct_services_over_http_fill_no_memory",
    ),
    "OTLP with times an hour off": ("watch/telemetry/test_ingest.py::test_times_far_off_are_refused_and_told",),
    "port taken": ("faces/server/test_refused_starts.py::test_a_taken_port_is_named",),
    "data folder not writable": ("faces/server/test_refused_starts.py::test_a_folder_that_cannot_be_written_is_named",),
    "database of a newer version": (
        "faces/server/test_refused_starts.py::test_a_database_of_a_newer_version_is_left_alone",
    ),
    "signing key missing": ("faces/server/test_refused_starts.py::test_a_missing_signing_key_is_not_replaced",),
    "disk full under telemetry": ("watch/telemetry/test_app.py::test_a_store_that_fails_is_told_and_nothing_is_lost",),
    "clock set back at start": ("faces/api/test_attacks.py::test_a_clock_that_was_set_back_is_said",),
    "a fault of ours": ("faces/api/test_errors.py::test_a_bug_of_ours_tells_nothing_but_its_number",),
}


@cache
def _tests(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("what", TABLE)
def test_what_is_bad_is_tried(what: str) -> None:
    """The test that the table names for it exists."""
    for named in TABLE[what]:
        file, _, name = named.partition("::")
        assert name in _tests(file), f"{what}: {named}"
