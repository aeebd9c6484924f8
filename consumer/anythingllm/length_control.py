"""A control of a text's length: a test document that is as long, uploaded and removed again.

Whether AnythingLLM dies of one text or of every one of that length is seen by uploading another.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import structlog

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.proof import StorageProof
from consumer.anythingllm.sentinel import sentinel_body, sentinel_source
from consumer.anythingllm.transport import NewErrand
from consumer.model.fault import Fault
from consumer.model.names import Location, Slug, TraceId

log = structlog.get_logger(__name__)

_SENTENCE = "A plain sentence that every embedder can embed. "


def plain_text(size: int) -> str:
    """A text of so many UTF-16 units that says nothing; no blank at its ends."""
    return (_SENTENCE * (size // len(_SENTENCE) + 1))[:size].rstrip().ljust(size, ".")


class LengthControl:
    """See the module's docstring.

    Args:
        left: hears which workspace a test document may be left in.
        timeout: seconds for a call, and for a removal.
        upload_timeout: seconds for an upload.
    """

    def __init__(
        self,
        api: Api,
        proof: StorageProof,
        left: Callable[[Slug], None],
        *,
        errand: NewErrand,
        timeout: float,
        upload_timeout: float,
    ) -> None:
        self._api = api
        self._proof = proof
        self._left = left
        self._errand = errand
        self._timeout = timeout
        self._upload_timeout = upload_timeout

    async def passes(self, slug: Slug, size: int, trace_id: TraceId | None) -> None:
        """Return when a text of so many UTF-16 units was stored and embedded; it is removed.

        Raises:
            AnythingLLMError: it was not, or nobody could find out; about nobody's document.
        """
        name = uuid.uuid4().hex
        try:
            location = await self._stored(slug, name, size, trace_id)
        except AnythingLLMError as error:
            if error.fault.is_counted:
                error.fault = Fault.THEIRS
            error.ambiguous = False  # about a test document, which is not sent again
            self._left(slug)
            raise
        await self._remove(slug, location, trace_id)

    async def _stored(self, slug: Slug, name: str, size: int, trace_id: TraceId | None) -> Location:
        errand = self._errand(self._upload_timeout, trace_id)
        file = await self._api.raw_text(errand, _body(slug, name, size))
        if not await self._proof.by_file(file.location, sentinel_source(name), trace_id):
            raise AnythingLLMError("a test document as long as the text was not embedded")
        return file.location

    async def _remove(self, slug: Slug, location: Location, trace_id: TraceId | None) -> None:
        try:
            await self._api.remove(self._errand(self._timeout, trace_id), [location])
        except AnythingLLMError as error:
            # Not worth failing for: the look after left-overs removes it.
            log.warning("workspace.sentinels_left", workspace=slug, error=error.message)
            self._left(slug)


def _body(slug: Slug, name: str, size: int) -> dict[str, Any]:
    body = sentinel_body(slug, name)
    own = str(body["textContent"])
    filling = plain_text(max(size - len(own) - 1, 0))
    return {**body, "textContent": f"{own} {filling}".rstrip()}
