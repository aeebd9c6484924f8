"""Feeds AnythingLLM from Kafka without losing, doubling or inventing anything.

An event's way through this package is one way, and its type changes at each station:

    poll      kafka.source      bytes with their coordinates       -> Delivery
    decode    pipeline.read     Record                             -> Event
    plan      pipeline.plan     Event + what is stored             -> Plan
    upload    pipeline.upload   Plan                               -> Outcome
    settle    pipeline.settle   Outcome                            -> UploadResult, DeadLetter
    commit    kafka.ledger      settled offsets                    -> committed prefix

``consumer/README.md`` tells which room holds what and which rules the rooms keep.
"""

__version__ = "0.1.0"
