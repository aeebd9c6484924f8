"""What readers of results get: each event's first one, if it is wanted; whatever 1.x adds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from consumer.contract.trial import HEADERS, KEY, trial_result
from consumer.results import (
    EVERYTHING,
    FAILED,
    ResultStatus,
    SeenEvents,
    Sieve,
    Wanted,
    read_result,
)
from consumer.telemetry.trace import normalised
from tests.published import STATUSES, later, recorded_results
from tests.staging import result

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def value(number: int, **fields: object) -> bytes:
    return orjson.dumps(result(number, **fields))


def test_each_event_comes_once() -> None:
    """The first counts, also where a repeat says something else."""
    sieve = Sieve()
    first = sieve.take(value(1, status="succeeded"))
    assert first is not None
    assert sieve.take(value(1, status="partial")) is None
    assert sieve.take(value(2)) is not None


def test_a_repeat_of_what_was_not_wanted_does_not_come_either() -> None:
    """An event that succeeded at first has not failed."""
    sieve = Sieve(Wanted(statuses=FAILED))
    assert sieve.take(value(1, status="succeeded")) is None
    assert sieve.take(value(1, status="failed")) is None
    assert sieve.take(value(2, status="failed")) is not None


def test_memory_is_bounded() -> None:
    """In events, and in bytes of what somebody publishes as an event id."""
    seen = SeenEvents(3)
    assert [seen.first(each) for each in ("a", "b", "a", "c", "d", "a")] == [
        True, True, False, True, True, True,
    ]  # fmt: skip
    assert len(seen) == 3
    assert seen.first("x" * 1_000_000)
    assert max(map(len, seen._seen)) == 16
    with pytest.raises(ValueError, match="at least one"):
        SeenEvents(0)


def test_an_event_id_may_be_any_text() -> None:
    """Half a surrogate pair among them, which JSON can say."""
    sieve = Sieve()
    assert SeenEvents().first("\ud800")
    with pytest.raises(ValueError, match="not an upload result"):
        sieve.take(b'{"event_id": "\\ud800"}')


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (EVERYTHING, True),
        (Wanted(statuses={"succeeded"}), True),
        (Wanted(statuses=[ResultStatus.FAILED, "succeeded"]), True),
        (Wanted(statuses=FAILED), False),
        (Wanted(statuses=()), False),
        (Wanted(workspaces={"docs"}), True),
        (Wanted(workspaces={"others"}), False),
        (Wanted(document_ids=["document-1", "document-2"]), True),
        (Wanted(document_ids=["document-2"]), False),
        (Wanted(identities=["identity-1"]), True),
        (Wanted(identities=["document-1"]), False),
        (Wanted(trace_ids=[f"{1:032x}"]), True),
        (Wanted(trace_ids=["other"]), False),
        (Wanted(completed_since=NOON), False),
        (Wanted(completed_since=NOON.replace(hour=10)), True),
        (Wanted(statuses={"succeeded"}, workspaces={"others"}), False),
    ],
)
def test_what_is_not_wanted_is_left_out(wanted: Wanted, matches: bool) -> None:
    """Every question has to be answered with yes; a collection of nothing wants nothing."""
    assert wanted.matches(read_result(value(1))) is matches


def test_a_result_that_names_nothing_is_of_none() -> None:
    """An invalid event may show no document, and an odd result no time."""
    told = read_result(value(1, document_id=None, workspace_slug=None, completed_at=None))
    assert EVERYTHING.matches(told)
    assert not Wanted(document_ids=["None", "document-1"]).matches(told)
    assert not Wanted(completed_since=NOON).matches(told)


@pytest.mark.parametrize(
    "written",
    ["4BF92F35-77B3-4DA6-A3CE-929D0E0E4736", " 4bf92f3577b34da6a3ce929d0e0e4736",
     "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
)  # fmt: skip
def test_a_trace_is_found_as_its_publisher_wrote_it(written: str) -> None:
    """As a UUID, or as the header was; so is a foreign id, which results have as a hash."""
    told = read_result(value(1, trace_id="4bf92f3577b34da6a3ce929d0e0e4736"))
    foreign = read_result(value(1, trace_id=normalised("order 7")))
    assert Wanted(trace_ids=[written]).matches(told)
    assert Wanted(trace_ids=["order 7"]).matches(foreign)
    assert not Wanted(trace_ids=["order 8", "", "0"]).matches(foreign)


def test_a_deletion_is_found_by_its_document() -> None:
    """It names no document id; by default its identity is one."""
    told = read_result(value(1, document_id=None, identity="guide", status="deleted"))
    named = read_result(value(1, document_id="other", identity="guide"))
    assert Wanted(document_ids=["guide"]).matches(told)
    assert not Wanted(document_ids=["guide"]).matches(named)


def test_a_wish_that_could_never_come_true_is_refused() -> None:
    """One text is a collection of letters, and an instant without a zone is no instant."""
    with pytest.raises(ValueError, match="statuses has to be a collection"):
        Wanted(statuses="failed")
    with pytest.raises(ValueError, match="no time zone"):
        replace(EVERYTHING, completed_since=datetime(2026, 1, 1))


@pytest.mark.parametrize("recorded", recorded_results())
def test_results_of_every_status_and_of_a_later_version_are_read(recorded: bytes) -> None:
    """An unknown status is a text, an unknown field is kept, and nothing is lost of the rest."""
    told = orjson.loads(recorded)
    now, newer = read_result(recorded), read_result(orjson.dumps(later(told)))
    assert now.status in STATUSES
    assert orjson.loads(now.model_dump_json()).keys() >= told.keys()
    assert (newer.status, newer.schema_version, newer.event_id) == (
        "postponed", "1.1", told["event_id"],
    )  # fmt: skip
    assert newer.failed_chunks[0].reason == "quarantined"
    assert newer.model_extra == {"priority": {"level": 3, "by": ["somebody"]}}
    assert Wanted(statuses={"postponed"}).matches(newer)
    with pytest.raises(ValueError, match="frozen"):
        newer.status = "succeeded"  # type: ignore[misc]


def test_a_trial_is_nobodys_result() -> None:
    """Clients give headers as lists or as None; the same value without them is a result."""
    trial = trial_result(NOON, "cluster")
    sieve = Sieve()
    assert sieve.take(trial, KEY, list(HEADERS)) is None
    assert sieve.take(value(1), b"identity-1", None) is not None
    assert sieve.take(trial, KEY, None) is not None


@pytest.mark.parametrize("wrong", [None, b"", b"[]", b"{}", b"\xff", b"farewell"])
def test_what_is_no_result_is_told(wrong: bytes | None) -> None:
    """Somebody else's record: it is for the caller to say what becomes of it."""
    with pytest.raises(ValueError, match="not an upload result"):
        Sieve().take(wrong)


def test_no_kafka_client_is_imported() -> None:
    """Who has a client of his own need not install ours."""
    program = (
        "import sys, consumer.results\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('aiokafka', 'aiohttp', 'structlog')"
        " or m.startswith('consumer.kafka')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
