"""The splitter counts, cuts and trims as JavaScript does, and half an emoji survives the server."""

from __future__ import annotations

import aiohttp
import pytest

from consumer.sandbox.simulator import Simulator, jsontext, text
from consumer.sandbox.simulator import simulator as running

EMOJI = "\U0001f600"
HIGH, LOW = "\ud83d", "\ude00"


@pytest.mark.parametrize(
    ("whole", "lengths"),
    [
        (EMOJI * 500, [500]),
        (EMOJI * 501, [500, 11]),
        ("\u6f22" * 1000, [1000]),
        ((EMOJI * 3 + " ") * 600, [571, 567, 567, 567, 155]),
    ],
    ids=["just fits", "one too many", "one unit each", "cut at blanks"],
)
def test_lengths_are_those_of_javascript(whole: str, lengths: list[int]) -> None:
    """An emoji counts twice there, or a text would get fewer vectors here than on the server."""
    assert [len(piece) for piece in text.split(whole)] == lengths


def test_an_emoji_on_the_seam_is_cut_in_two() -> None:
    """A valid text until it is split: pgvector then loses it and Chroma refuses it."""
    pieces = text.split("x" * 999 + EMOJI + " and more words")

    assert pieces == ["x" * 999 + HIGH, "x" * 19 + EMOJI, "and more words"]


def test_an_emoji_off_the_seam_stays_whole() -> None:
    """Halves that belong together become one character again."""
    pieces = text.split(EMOJI * 1200)

    assert len(pieces) == 3
    assert set("".join(pieces)) == {EMOJI}


@pytest.mark.parametrize("blank", [*text.BLANKS, text.BLANKS])
def test_what_javascript_trims_is_blank(blank: str) -> None:
    """Recorded of space, tab, line feed, NBSP, U+FEFF and U+2028: nothing is embedded."""
    assert text.split(blank) == []
    assert text.split(f"{blank}word{blank}") == ["word"]


@pytest.mark.parametrize("kept", ["\x85", "\x1c", "\x1f", "\u200b", "\x00"])
def test_what_only_python_trims_is_text(kept: str) -> None:
    """Recorded of U+0085, U+001C, U+200B and NUL: they are embedded."""
    assert text.split(kept) == [kept]


def test_the_size_of_pieces_can_be_chosen() -> None:
    """Servers whose splitter is set otherwise."""
    assert [len(piece) for piece in text.split("w" * 250, 100)] == [100, 100, 90]


async def test_a_server_splits_as_its_options_say() -> None:
    """Five pieces are five vectors."""
    async with running(split_size=100) as server:
        server.state.create_workspace("docs", {})
        await upload(server, "word " * 60)
        table = server.tables.get("docs")

    assert table is not None
    assert table.count == 4


async def upload(server: Simulator, whole: str) -> dict[str, object]:
    """The document that an upload's answer shows."""
    body = {"textContent": whole, "addToWorkspaces": "docs", "metadata": {"title": "t"}}
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(server.endpoint, headers=headers) as session,
        session.post("/api/v1/document/raw-text", data=jsontext.dumps(body)) as answer,
    ):
        assert answer.status == 200
        document: dict[str, object] = jsontext.loads(await answer.read())["documents"][0]
        return document


@pytest.mark.parametrize("half", [HIGH, LOW])
async def test_half_an_emoji_comes_back_as_it_was_sent(simulator: Simulator, half: str) -> None:
    """Recorded: 200 and the same escape; the body is read and written as Node does it."""
    simulator.state.create_workspace("docs", {})
    document = await upload(simulator, f"a lone {half} surrogate")

    assert document["pageContent"] == f"a lone {half} surrogate"
    assert simulator.chunks("docs") == [("no source set", f"a lone {half} surrogate", 1)]


def test_half_an_emoji_is_written_as_its_escape() -> None:
    """As `JSON.stringify` does; what else is there stays readable."""
    written = jsontext.dumps({"a": f"{HIGH}é{EMOJI}", "b": None})

    assert written == '{"a":"\\ud83dé\U0001f600","b":null}'.encode()
    assert jsontext.loads(written) == {"a": f"{HIGH}é{EMOJI}", "b": None}
    assert jsontext.loads(f'{{"a": "{HIGH}"}}') == {"a": HIGH}


@pytest.mark.parametrize("wrong", [b'{"a": "\\ud83d", }', b'{"a": "\\ud83d", "b": NaN}', b"{", "{"])
def test_what_is_no_json_is_refused(wrong: bytes | str) -> None:
    """The second look at a text must not be milder than the first."""
    with pytest.raises(ValueError, match="line 1"):
        jsontext.loads(wrong)
