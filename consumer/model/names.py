"""The kinds of text that are handed round together, as types: one can't stand for another."""

from __future__ import annotations

from typing import NewType

Slug = NewType("Slug", str)
"""A workspace's key in AnythingLLM (`consumer.model.slug`)."""

Identity = NewType("Identity", str)
"""Which document an event speaks of (`consumer.model.identity`); the key of its record."""

Location = NewType("Location", str)
"""AnythingLLM's handle of one unit: the path of its file, ``custom-documents/….json``."""

TraceId = NewType("TraceId", str)
"""32 lower-case hex characters that follow an event everywhere (`consumer.telemetry.trace`)."""

ServerName = NewType("ServerName", str)
"""What an operator calls one of several AnythingLLMs; it stays while the address changes."""
