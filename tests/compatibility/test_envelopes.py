"""What was published before there were envelopes is what it was: none is seen where there is none.

`test_same_bytes` holds the results of recorded events to those of commit cdefe5a; here every
recorded event, and what publishers' samples are, is read with and without envelopes.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from consumer.contract.envelope import fields_in
from consumer.model.event import DocumentEvent
from consumer.model.outcome import Refused
from consumer.model.record import Coordinates, Record
from consumer.sandbox.samples import sample_events
from consumer.settings import load_settings
from consumer.wiring.events import event_reader
from tests.compatibility.forms import FOLDER, recorded
from tests.compatibility.present import record_in

SETTINGS = {"ANYTHINGLLM_API_KEY": "k", "ROUTING_WORKSPACE": "docs"}


def _records() -> Iterator[Record]:
    for name in ("settled.json", "markers.json", "dead_letters.json"):
        for case in recorded(name)["cases"]:
            yield record_in(case["given"]["record"])
    values = [*(FOLDER / "events.ndjson").read_bytes().splitlines(), *sample_events(50)]
    for offset, value in enumerate(values):
        key = f"guide-{offset}".encode()
        yield Record(Coordinates("documents.processed", 0, offset), 1_795_000_000_000, key, value)
        yield Record(Coordinates("documents.processed", 1, offset), 1_795_000_000_000, key, None)


def _same(records: Iterable[Record]) -> int:
    """Every record is read alike with envelopes and without; how many are documents."""
    reader = event_reader(load_settings(SETTINGS))
    before = event_reader(load_settings(SETTINGS | {"DOCUMENT_ENVELOPES": "false"}))
    documents = 0
    for record in records:
        now, then = reader.read(record), before.read(record)
        documents += isinstance(now.body, DocumentEvent)
        if isinstance(then.body, Refused) and (record.value or b"").startswith(b"\0"):
            assert isinstance(now.body, Refused)  # what is behind it is told in other words
            then = replace(then, body=replace(then.body, problems=now.body.problems))
        assert now == replace(then, received_at=now.received_at)
    return documents


def test_recorded_events_have_the_same_identity_version_and_place() -> None:
    """The event id is made of the place; all of an event is compared, problems too."""
    assert _same(_records()) > 70


def test_real_documents_have_the_same_identity_version_and_place(corpus_path: Path) -> None:
    """Two hundred of them, keyed by their ids."""
    with gzip.open(corpus_path / "processed-documents.ndjson.gz") as lines:
        values = [line.strip() for line in islice(lines, 200)]
    topic, timestamp = "documents.processed", 1_796_000_000_000
    assert _same(
        Record(
            Coordinates(topic, 0, offset), timestamp, fields_in(value).fields["id"].encode(), value
        )
        for offset, value in enumerate(values)
    ) == len(values)
