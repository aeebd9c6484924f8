"""A log line for people: when, how bad, what happened, to which document; then all the rest.

What is looked for stands first (how it ended, the document, its workspace, its record), sentences
stand last because they are long. What is empty is left out, and the time is that of the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import structlog

_HEAD = ("timestamp", "level", "event", "logger")
_NAMES = ("status", "identity", "document_id", "workspace", "server", "at")
_SENTENCES = ("error", "errors", "because", "consequence", "what_to_do", "trace_id")
_PLACE = ("topic", "partition", "offset")
# Of our own events the name says where they come from; of what libraries say it does not.
_OF_LIBRARIES = "library.message"
_EVENT_WIDTH = 20
_CONTROL = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})


def console(*, colors: bool) -> Callable[[dict[str, object]], bytes]:
    """What makes a line of an event's fields, which are clean already.

    Args:
        colors: whether it goes to a terminal.
    """
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, sort_keys=False, pad_event_to=_EVENT_WIDTH
    )

    def render(event: dict[str, object]) -> bytes:
        line = renderer(None, "", dict(arranged(event)))
        return (str(line) + "\n").encode("utf-8", "backslashreplace")

    return render


def arranged(event: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The fields of an event in the order in which people want them, each on one line."""
    fields = {name: value for name, value in event.items() if value not in (None, "", [], {})}
    if event.get("event") != _OF_LIBRARIES:
        fields.pop("logger", None)
    if all(name in fields for name in _PLACE):
        topic, partition, offset = (fields.pop(name) for name in _PLACE)
        fields["at"] = f"{topic}-{partition}@{offset}"
    last = [name for name in _SENTENCES if name in fields]
    first = [name for name in (*_HEAD, *_NAMES) if name in fields]
    between = [name for name in fields if name not in {*first, *last}]
    for name in (*first, *between, *last):
        yield name, _shown(name, fields[name])


def _shown(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if name == "exception":
        return "\n".join("    " + line for line in value.split("\n"))
    if name == "timestamp":
        return _local(value)
    # The renderer prints texts raw: a line feed in one would look like a line of ours.
    return value.translate(_CONTROL)


def _local(timestamp: str) -> str:
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError:
        return timestamp.translate(_CONTROL)
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
