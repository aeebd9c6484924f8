"""How requests are read and answers are shaped, as AnythingLLM 1.16 does it. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from consumer.sandbox.simulator import names, text
from consumer.sandbox.simulator.exchange import Exchange, WireAnswer, json_answer, number
from consumer.sandbox.simulator.jsontext import loads
from consumer.sandbox.simulator.state import KeptWorkspace, SourceFile
from consumer.sandbox.simulator.vector_databases import SimulatedDatabase
from consumer.sandbox.simulator.vector_store import Hit

TITLE_MISSING = (
    "You are missing required metadata key:value pairs in your request. "
    "Required metadata key:values are 'title'"
)
PAGE = 100
PAGE_MOST = 1000


def metadata_of(given: object) -> dict[str, Any] | None:
    """The metadata object; it may come as JSON text, and null breaks the server."""
    if given is None:
        return None
    if isinstance(given, str):
        try:
            given = loads(given)
        except orjson.JSONDecodeError:
            return {}
    return given if isinstance(given, dict) else {}


def complaint(metadata: dict[str, Any], content: object, slugs: object) -> str | None:
    """What validation says about an upload, None when it is fine. A list is no empty value."""
    if not metadata.get("title") and metadata.get("title") not in ([], {}):
        return TITLE_MISSING
    if not content and content != {}:
        return "The 'textContent' key cannot have an empty value."
    if not isinstance(slugs, str):
        kind = "number" if isinstance(slugs, int | float) else "object"
        return f"addToWorkspaces must be a string of comma-separated workspace slugs. Got {kind}"
    return None


def shown_metadata(given: Mapping[str, Any], content: str, now: datetime) -> dict[str, Any]:
    """An upload's fields as the server keeps them: four verbatim, title mangled, others gone."""
    title = names.title_slug(given["title"]) + ".txt"
    published = number(given["published"]) if "published" in given else None
    return {
        "url": _url(given.get("url"), title),
        "title": title,
        "docAuthor": _verbatim(given, "docAuthor", "no author specified"),
        "description": _verbatim(given, "description", "no description found"),
        "docSource": _verbatim(given, "docSource", "no source set"),
        "chunkSource": _verbatim(given, "chunkSource", title),
        "published": text.locale_date(published, now.astimezone(UTC)),
        "wordCount": text.word_count(content),
        "token_count_estimate": text.token_estimate(content),
    }


def refused(error: str, **more: Any) -> WireAnswer:
    """A 500 with the collector's words."""
    return json_answer({"success": False, "error": error, **more}, 500)


def uploaded(metadata: Any, content: str, location: str) -> WireAnswer:
    """The answer to an upload: everything it says stays the same whether it was embedded or not."""
    before = {key: metadata[key] for key in metadata if key != "token_count_estimate"}
    document = {
        **before,
        "pageContent": content,
        "token_count_estimate": metadata["token_count_estimate"],
        "location": location,
        "isDirectUpload": False,
    }
    return json_answer({"success": True, "error": None, "documents": [document]})


def _verbatim(given: Mapping[str, Any], key: str, default: str) -> str:
    value = given.get(key)
    return value if isinstance(value, str) else default


def _url(url: object, title: str) -> str:
    if isinstance(url, str) and urlsplit(url).scheme.lower() in ("http", "https"):
        return f"web://{url.lower()}.website"
    return f"file://{title}"


def file_json(file: SourceFile) -> dict[str, Any]:
    """A file as ``GET /v1/document/{name}`` shows it."""
    cached = file.cache is not None
    return {"name": file.name, "type": "file", **file.metadata, "cached": cached}


def listed_json(file: SourceFile) -> dict[str, Any]:
    """A file as folder listings show it."""
    return {**file_json(file), "canWatch": False, "pinnedWorkspaces": [], "watched": False}


def page_size(limit: str | None, default: int | None, total: int) -> int:
    """How many files a page has; None as the default means all."""
    if limit == "all" or (limit is None and default is None):
        return total
    wanted = number(limit) if limit is not None else None
    return min(int(wanted), PAGE_MOST) if wanted else (default or PAGE)


def search_limits(request: Exchange, workspace: KeptWorkspace) -> tuple[int, float]:
    """How many hits, and from which score; nonsense means the workspace's own."""
    limit = number(request.get("topN"))
    wanted = request.get("scoreThreshold")
    threshold = None if wanted is None else number(wanted)
    if threshold is None or not 0 <= threshold <= 1:
        threshold = float(workspace.fields["similarityThreshold"])
    return int(limit) if limit and limit >= 1 else int(workspace.fields["topN"]), threshold


def _shown_distance(hit: Hit) -> float | None:
    return None if hit.score is None else hit.distance


def hit_json(hit: Hit, database: SimulatedDatabase) -> dict[str, Any]:
    """A search hit; some databases give neither a distance nor, from the cache, an id."""
    shown = hit.stored.file.metadata
    kept = ("description", "docSource", "chunkSource", "published", "wordCount")
    metadata = {
        "url": shown["url"],
        "title": shown["title"],
        "author": shown["docAuthor"],
        **{key: shown[key] for key in kept},
        "tokenCount": shown["token_count_estimate"],
    }
    return {
        **({} if hit.stored.id is None else {"id": hit.stored.id}),
        "text": database.stored_text(hit.stored.embedded.text),
        "metadata": metadata,
        **({"distance": _shown_distance(hit)} if database.shows_distance else {}),
        "score": hit.score,
    }
