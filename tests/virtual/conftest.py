"""With packs (`tests.packing`) tests that are about chunks which go alone are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from structlog.typing import EventDict, WrappedLogger

from consumer.telemetry.events import NAMES_OF_DOCUMENTS, OF_DOCUMENTS
from tests.packing import UNPACKED, packing_or


@pytest.fixture(autouse=True)
def nameless() -> Iterator[list[EventDict]]:
    """Whatever happens in a play: each line of the log about a document names it."""
    found: list[EventDict] = []

    def look(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if event["event"] in OF_DOCUMENTS and not any(map(event.get, NAMES_OF_DOCUMENTS)):
            found.append(dict(event))
        return event

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, look, *before])
    yield found
    structlog.reset_defaults()
    assert found == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip them, with the reason."""
    if packing_or("1") == "1":
        return
    for item in items:
        name = getattr(item, "originalname", item.name)
        if (reason := UNPACKED.get(name)) is not None:
            item.add_marker(pytest.mark.skip(reason=f"with packs: {reason}"))
