"""The list of files: none is missed, whatever comes and goes while it is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import pytest

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.file_store import PAGE, FileStore
from consumer.anythingllm.models import FilePage, StoredFile
from consumer.anythingllm.transport import Errand
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.listing import Listed
from consumer.model.marker import StoredUnit, unit_of
from consumer.model.names import Location
from consumer.model.version import DocumentVersion

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def _source(n: int) -> str:
    document = ProcessedDocument(f"d{n}", "T", "tech", "u", (Chunk(f"d{n}_0", "text", 0),))
    return unit_of(document.chunks, document, DocumentVersion(NOW, 0, n)).marker.encode()


def _file(n: int, source: str | None = None) -> StoredFile:
    name = Location(f"custom-documents/raw-{n:06d}.json")
    return StoredFile(name, _source(n) if source is None else source, cached=True)


class _Server:
    """Gives out pages of files by name; ``between`` is called before each."""

    def __init__(self, files: list[StoredFile], between: Callable[[int], None]) -> None:
        self.files = files
        self._between = between
        self.pages = 0

    async def files_page(self, errand: Errand, offset: int, limit: int) -> FilePage:
        self._between(self.pages)
        self.pages += 1
        files = sorted(self.files, key=lambda file: file.location)
        page = tuple(files[offset : offset + limit])
        return FilePage(page, more=offset + len(page) < len(files), date=NOW)


class _Api:
    def __init__(self, server: _Server) -> None:
        self.files = server.files_page


async def _scan(server: _Server) -> tuple[Listed, set[Location]]:
    errand = Errand(1.0, lambda: 0.0)
    store = FileStore(cast(Api, _Api(server)), errand=lambda *_: errand, timeout=1.0)
    found: list[StoredUnit] = []
    listed = await store.scan(found.append, None)
    return listed, {unit.location for unit in found}


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 2 * PAGE - 50, 3 * PAGE])
async def test_all_pages_are_read(count: int) -> None:
    """Each file is given away, and the pages come to an end."""
    server = _Server([_file(n) for n in range(count)], lambda page: None)
    listed, found = await _scan(server)

    assert found == {file.location for file in server.files}
    assert listed.rows == count


async def test_only_our_own_files_count() -> None:
    """Others' files, test documents, and files in strange places are none of ours."""
    strange = StoredFile(Location("custom-documents/folder/x.json"), _source(9))
    server = _Server([_file(1), _file(2, "their source"), strange], lambda page: None)
    listed, found = await _scan(server)

    assert found == {_file(1).location}
    assert listed.rows == 3


@pytest.mark.parametrize("gone", [1, 49, 50, 200])
async def test_files_that_go_between_two_pages_hide_none(gone: int) -> None:
    """Those behind them move into a page that was read already."""
    files = [_file(n) for n in range(3 * PAGE)]

    def between(page: int) -> None:
        if page == 1:
            del server.files[:gone]

    server = _Server(files, between)
    _, found = await _scan(server)

    assert found >= {file.location for file in server.files}


async def test_files_that_come_between_two_pages_do_no_harm() -> None:
    """Some are given away twice."""

    def between(page: int) -> None:
        if page == 1:
            server.files += [
                StoredFile(Location(f"custom-documents/a{n}.json"), _source(n)) for n in range(300)
            ]

    server = _Server([_file(n) for n in range(2 * PAGE)], between)
    _, found = await _scan(server)

    assert found >= {_file(n).location for n in range(2 * PAGE)}


async def test_a_list_that_never_holds_still_is_not_taken_for_whole() -> None:
    """Whoever relies on it would leave chunks behind."""

    def between(page: int) -> None:
        del server.files[:100]

    server = _Server([_file(n) for n in range(4 * PAGE)], between)
    with pytest.raises(AnythingLLMError, match="change too fast"):
        await _scan(server)
