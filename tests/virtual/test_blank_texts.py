"""Texts that are blank for one language and not for another, end to end with default settings."""

from __future__ import annotations

from tests.virtual.loop import virtually
from tests.virtual.world import event, on_each_database, world


@on_each_database
@virtually
async def test_a_byte_order_mark_alone_is_invalid_at_once(vector_db: str) -> None:
    """AnythingLLM answers success and embeds nothing: nobody asks it."""
    async with world(vector_db=vector_db) as w:
        w.publish(event("a", ["text", "\ufeff"]))
        await w.settled(within=1)

        assert w.statuses() == {"invalid": 1}
        assert [letter["dlq.reason"] for letter in w.letters] == ["invalid"]
        assert w.results[0]["errors"] == ["/chunks/1/content: is blank"]
        assert w.uploads() == 0


@on_each_database
@virtually
async def test_what_only_python_strips_is_stored(vector_db: str) -> None:
    """AnythingLLM embeds it."""
    async with world(vector_db=vector_db) as w:
        w.publish(event("a", ["\x85", "\x1c\x1f", "\ufefftext\ufeff"]))
        await w.settled(within=600)

        assert w.statuses() == {"succeeded": 1}
        assert w.stored() == {"a_0": 1, "a_1": 1, "a_2": 1}
