"""How bytes and long inputs stand in the recorded files (tests/data/cdefe5a/README.md).

Used by the tests and by the program that records, so nothing of `consumer` is imported here.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]
Pairs = tuple[tuple[str, bytes], ...]

FOLDER = Path(__file__).resolve().parents[1] / "data" / "cdefe5a"
# Longer bytes stand as their size and digest: nobody reads them, and they would fill the folder.
LONGEST = 2_000


def recorded(name: str) -> Json:
    """The content of a recorded file, its abbreviations written out."""
    return written_out(orjson.loads((FOLDER / name).read_bytes()))  # type: ignore[no-any-return]


def written_out(node: Any) -> Any:
    """JSON without abbreviations.

    ``{"text": "ab", "times": 3}`` is ``"ababab"``; ``{"each": X, "count": 2}`` is a list of two
    X in whose texts ``{n}`` is 0 and 1; ``{"joined": [...]}`` is the texts one after the other.
    """
    if isinstance(node, list):
        return [written_out(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"text", "times"}:
        return node["text"] * node["times"]
    if node.keys() == {"each", "count"}:
        return [written_out(_numbered(node["each"], n)) for n in range(node["count"])]
    if node.keys() == {"joined"}:
        return "".join(written_out(each) for each in node["joined"])
    return {name: written_out(each) for name, each in node.items()}


def _numbered(node: Any, number: int) -> Any:
    if isinstance(node, str):
        return node.replace("{n}", str(number))
    if isinstance(node, list):
        return [_numbered(each, number) for each in node]
    if isinstance(node, dict):
        return {name: _numbered(each, number) for name, each in node.items()}
    return node


def bytes_in(form: Any) -> bytes | None:
    """The bytes that a form stands for; a JSON object without ``base64`` is an event."""
    if form is None:
        return None
    if isinstance(form, str):
        return form.encode(errors="surrogatepass")
    if form.keys() == {"base64"}:
        return base64.b64decode(form["base64"])
    if form.keys() == {"json"}:
        return orjson.dumps(form["json"])
    raise ValueError(f"no form of bytes: {sorted(form)}")


def form_of(value: bytes | None) -> Any:
    """Bytes as a form: text where they are UTF-8, else base64; long ones as their digest."""
    if value is None:
        return None
    if len(value) > LONGEST:
        return {"bytes": len(value), "sha256": digest(value)}
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def in_short(node: Any) -> Any:
    """JSON in which long texts and long lists are their digests."""
    if isinstance(node, dict):
        return {name: in_short(each) for name, each in node.items()}
    if isinstance(node, list):
        text = orjson.dumps(node)
        return form_of(text) if len(text) > 2 * LONGEST else [in_short(each) for each in node]
    return form_of(node.encode(errors="surrogatepass")) if isinstance(node, str) else node


def headers_in(form: list[list[Any]]) -> Pairs:
    """Headers from pairs of a name and a form of bytes."""
    return tuple((name, bytes_in(value)) for name, value in form)  # type: ignore[misc]


def is_whole(sent: Json) -> bool:
    """Whether a record's bytes stand in the file, and not the digest of some."""
    forms = [sent["key"], sent["value"], *(value for _, value in sent["headers"])]
    return not any(isinstance(form, dict) and "sha256" in form for form in forms)


def laid_out(content: Json) -> bytes:
    """A file's bytes: a line for each member of a case, so that a change is easy to see."""
    members = [f"{_line(name)}: {_member(value)}" for name, value in content.items()]
    return ("{\n" + ",\n".join(members) + "\n}\n").encode()


def _member(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_case, value)) + "\n]"
    return _case(value)


def _case(value: Any) -> str:
    if not isinstance(value, dict):
        return _line(value)
    return "{" + ",\n ".join(f"{_line(name)}: {_line(each)}" for name, each in value.items()) + "}"


def _line(value: Any) -> str:
    return orjson.dumps(value).decode()


@dataclass(frozen=True, slots=True)
class Sent:
    """A record on its way to Kafka."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Pairs

    def form(self) -> Json:
        """As it stands in the files."""
        return {
            "topic": self.topic,
            "key": form_of(self.key),
            "value": form_of(self.value),
            "headers": [[name, form_of(content)] for name, content in self.headers],
        }
