"""A kit for publishers: valid events, stable ids, keys, tombstones, trace headers.

It makes records, and leaves the sending to whatever Kafka client you have; none is imported::

    from consumer.publishing import DocumentDraft, RecordMaker, stable_id

    draft = DocumentDraft(
        id=stable_id("https://docs.example/guide"), title="Getting started",
        source_url="https://docs.example/guide", technology="river-pilot",
        updated_at=datetime.now(UTC),
    )
    draft.add_chunk("First, untie the boat.")
    record = RecordMaker().document(draft.encode())
    producer.send(topic, key=record.key, value=record.value, headers=list(record.headers))

What the fields mean is in schemas/README.md, "Documents".
"""

from consumer.contract.envelope import Envelope
from consumer.contract.processed_document import ContractError, ContractProblem
from consumer.publishing.draft import DocumentDraft, stable_id
from consumer.publishing.records import EventRecord, RecordMaker, trace_headers

__all__ = [
    "ContractError",
    "ContractProblem",
    "DocumentDraft",
    "Envelope",
    "EventRecord",
    "RecordMaker",
    "stable_id",
    "trace_headers",
]
