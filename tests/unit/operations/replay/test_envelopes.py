"""A dead letter in an envelope comes back as the event that it was, with what says what it is in.

So is an event that an instance without envelopes dead-lettered, while another one reads them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.contract.dead_letter import restored
from consumer.contract.envelope import Envelope
from consumer.contract.received_letter import letter_of
from consumer.model.event import DocumentEvent, TombstoneEvent
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Record
from consumer.operations.replay.verdict import replay_of
from consumer.publishing import DocumentDraft, EventRecord, RecordMaker
from consumer.settings import load_settings
from consumer.wiring.events import event_reader
from tests.publisher_records import DELETED, STORED, recorded
from tests.unit.contract.letters import DOCUMENTS, letter_record

SETTINGS = load_settings({"ANYTHINGLLM_API_KEY": "k"})
TIMESTAMP = 1_796_000_000_000


def _made(envelope: Envelope) -> EventRecord:
    draft = DocumentDraft(id="d", title="T", source_url="https://x", technology="docs")
    maker = RecordMaker(envelope=envelope, key_envelope=envelope)
    return maker.document(draft.add_chunk("Text.").encode())


RECORDS = {envelope.value: _made(envelope) for envelope in Envelope} | {
    each.name: EventRecord(each.key or b"", each.value, each.headers)
    for each in recorded()
    if each.outcome in (STORED, DELETED)
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_replay_is_read_as_the_original_was(name: str) -> None:
    """Key, value and headers byte for byte; identity, version and place with them."""
    made = RECORDS[name]
    original = Record(Coordinates(DOCUMENTS, 2, 7), TIMESTAMP, made.key, made.value, made.headers)
    # As an instance writes it that knows no envelopes: neither identity nor id is known.
    lies = letter_record(original, identity=None, reason=FailureReason.UNDECODABLE)
    letter = letter_of(lies)
    replayed = replay_of(letter, lies, "run-1")
    there = Coordinates(SETTINGS.kafka.replay_topic, 2, 0)
    back = Record(there, TIMESTAMP + 5, replayed.key, replayed.value, replayed.headers)
    reader = event_reader(SETTINGS)
    now, then = reader.read(back), reader.read(original)

    assert (lies.key, lies.value) == (replayed.key, replayed.value) == (made.key, made.value)
    assert restored(lies.headers) == restored(replayed.headers) == made.headers
    assert isinstance(now.body, DocumentEvent | TombstoneEvent)
    assert now.body == then.body
    assert (
        replace(now.origin, replays=0, event_id=None, first_failed_at=None, run=None) == then.origin
    )
    assert now.origin.run == "run-1"
