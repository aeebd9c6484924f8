"""Dead letters that others wrote by known conventions: what is told of them, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.contract.other_letter import Convention, OtherLetter, other_letter_of
from consumer.contract.received_letter import letter_of
from consumer.model.record import Coordinates, Record
from tests.unit.contract.letters import document_record, letter_record
from tests.unit.contract.other_letters import connect_record, share_record, spring_record

ORIGINAL = document_record(41, partition=3, headers=(("traceparent", b"00-1-2-01"),))


def _other(record: Record) -> OtherLetter:
    found = other_letter_of(record)
    assert found is not None
    return found


def test_a_letter_of_the_broker_for_a_share_group() -> None:
    """Without key and value it only names its original, and is no tombstone."""
    record = share_record(ORIGINAL)
    letter = letter_of(record)

    assert letter.other == OtherLetter(
        Convention.SHARE_GROUP,
        ORIGINAL.at,
        None,
        "sharers",
        "Offset rejected by client.; deliveries: 1",
        has_payload=False,
    )
    assert (letter.by_reference, letter.tombstone, letter.is_ours) == (True, False, False)
    assert (letter.group, letter.message) == ("sharers", letter.other.message)

    copied = letter_of(share_record(ORIGINAL, copied=True))
    assert copied.other is not None
    assert (copied.other.has_payload, copied.by_reference) == (True, False)


def test_a_letter_of_spring() -> None:
    """Numbers are big-endian, and the time of the original is told."""
    letter = letter_of(spring_record(ORIGINAL))

    assert letter.other == OtherLetter(
        Convention.SPRING,
        ORIGINAL.at,
        ORIGINAL.timestamp_ms,
        "spring-app",
        "IllegalStateException: Listener failed; no such page",
        has_payload=True,
    )
    assert (letter.reason, letter.by_reference, letter.group) == ("foreign", False, "spring-app")


def test_a_record_that_spring_refused_twice() -> None:
    """The first headers tell where it began, the last ones why it ended."""
    retried = replace(document_record(5, partition=0), at=Coordinates("docs-retry-0", 0, 5))
    again = spring_record(ORIGINAL).headers + spring_record(retried).headers[1:]
    last = (("kafka_dlt-exception-message", b"still no such page"),)

    other = _other(replace(spring_record(ORIGINAL), headers=again + last))

    assert other.original == ORIGINAL.at
    assert other.message == "IllegalStateException: still no such page"


def test_a_letter_of_kafka_connect() -> None:
    """Its bytes are the original's; a connector is no consumer group."""
    letter = letter_of(connect_record(ORIGINAL))

    assert letter.other == OtherLetter(
        Convention.CONNECT,
        ORIGINAL.at,
        None,
        "pages-sink",
        "DataException: Converting byte[] failed",
        has_payload=True,
    )
    assert (letter.message, letter.group) == ("Converting byte[] failed", None)
    assert letter.other.writer == "Kafka Connect (pages-sink)"


def test_our_own_letters_are_not_those_of_others() -> None:
    """They have Kafka Connect's headers, too."""
    assert letter_of(letter_record(ORIGINAL)).other is None
    assert other_letter_of(ORIGINAL) is None


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("__dlq.errors.topic", b""),
        ("__dlq.errors.topic", b"\xff"),
        ("__dlq.errors.topic", b"x" * 1_000),
        ("__dlq.errors.partition", b"-1"),
        ("__dlq.errors.partition", b"2147483648"),
        ("__dlq.errors.offset", b"9" * 30),
        ("__dlq.errors.offset", None),
        ("kafka_dlt-original-partition", b"3"),
        ("kafka_dlt-original-offset", b"\xff" * 8),
        ("kafka_dlt-original-offset", b"\x00" * 9),
        ("__connect.errors.partition", b"\xd9\xa3"),
        ("__connect.errors.offset", b"0x29"),
    ],
)
def test_headers_that_make_no_sense_tell_nothing(header: str, value: bytes) -> None:
    """A place that can't be is not looked at, and the letter stays merely foreign."""
    for record in (share_record(ORIGINAL), spring_record(ORIGINAL), connect_record(ORIGINAL)):
        names = {name for name, _ in record.headers}
        if header in names:
            headers = tuple((n, value if n == header else v) for n, v in record.headers)
            letter = letter_of(replace(record, headers=headers))

            assert (letter.other, letter.by_reference) == (None, False)
            return
    raise AssertionError(f"none has {header}")


def test_what_they_say_is_one_short_line() -> None:
    """Whatever is in an exception's message: it is shown in tables and logs."""
    headers = (
        *share_record(ORIGINAL).headers[:3],
        ("__dlq.errors.message", b"a\n\xff\t b" * 4_000),
    )

    other = _other(replace(share_record(ORIGINAL), headers=headers))

    assert other.owner == ""
    assert other.writer == "share group"
    assert len(other.message) == 1_000
    assert "\n" not in other.message
