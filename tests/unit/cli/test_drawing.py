"""Tables on a terminal, and the same elsewhere."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from rich.cells import cell_len
from rich.console import Console

from consumer.cli import output
from consumer.cli.instants import Instant, ago, forms, spaced, when
from consumer.cli.manner import Manner
from consumer.cli.results_shown import DRAWN
from consumer.cli.tables.colours import BAD, DOUBTFUL, GOOD, style_of
from consumer.cli.tables.column import FACTS, Column, Meaning, column_of
from consumer.cli.tables.drawing import draw
from consumer.cli.topics import show
from consumer.contract.upload_result import ResultStatus
from consumer.operations.audit.states import DocumentState
from consumer.operations.letters.standing import Standing
from consumer.operations.replay.run_store import RunState
from consumer.operations.workspaces.finding import NOTES, FindingKind

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
ID = "https_docs_example_com_en_latest_page-29999"
COLUMNS = (
    Column("what", Meaning.STATE, 9),
    Column("workspace", Meaning.NAME, 4),
    Column("document", Meaning.NAME, 8),
    Column("since", Meaning.TIME, 3),
    Column("chunks", Meaning.NUMBER, 5),
    Column("finding", Meaning.TEXT, 6),
    Column("what to do", Meaning.ADVICE, by="what"),
)
ROWS = [
    ("missing", "docs", ID, NOW - timedelta(hours=49), 3, "3 of 3 chunks are not stored", "again"),
    ("stored", "日本語の本", "小さな灯台", NOW, 1_000, "何もする必要はありません " * 5, ""),
]


def drawn(
    columns: tuple[Column, ...] = COLUMNS,
    rows: object = ROWS,
    *,
    width: int = 80,
    wide: bool = False,
    colours: bool = False,
    **environment: str,
) -> list[str]:
    into = io.StringIO()
    console = Console(
        file=into, width=width, force_terminal=colours, _environ={"TERM": "xterm", **environment}
    )
    manner = Manner(wide=wide, clock=lambda: NOW, zone=timezone(timedelta(hours=1)))
    draw(columns, rows, title="", console=console, manner=manner)  # type: ignore[arg-type]
    return into.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_row_is_one_line_with_its_id_whole(width: int) -> None:
    """Whatever is in it, in cells of the terminal: a Japanese letter takes two."""
    heading, first, second, *advice = drawn(width=width)

    assert [cell_len(each) <= width for each in (heading, second)] == [True, True]
    assert ID in first
    assert cell_len(first) <= width or len(ID) > width
    assert "小さな灯台" in second
    assert advice == ["what to do:", "  missing: again"]


def test_what_there_is_room_for() -> None:
    """The most important ones first; what is too wide for the rest lets smaller ones in."""
    assert drawn()[0].split() == ["what", "document", "finding"]
    heading, missing, stored = drawn(width=120)[:3]
    assert heading.split() == ["what", "workspace", "document", "since", "chunks", "finding"]
    assert missing.split()[3:5] == ["2d", "ago"]
    assert missing.endswith("3 of 3 chunks are not stored")
    assert stored.endswith("何もする必要はありません 何もする必要…")


def test_wide_shows_everything_whole() -> None:
    """Each row is one line still, however long, and advice is a column."""
    lines = drawn(wide=True)

    assert len(lines) == 3
    assert lines[0].split()[-3:] == ["what", "to", "do"]
    assert "2026-11-20 10:00:00 (2d ago)" in lines[1], "by the reader's clock: UTC+1"
    assert lines[1].endswith("again")


def test_numbers_stand_to_the_right_and_columns_below_their_heading() -> None:
    """Also behind letters that are two cells wide."""
    heading, first, second = drawn(rows=[row[:6] for row in ROWS], columns=COLUMNS[:6], width=120)

    end = cell_len(heading[: heading.index("chunks") + len("chunks")])
    for line, number in ((first, "3 "), (second, "1000 ")):
        assert cell_len(line[: line.index(number) + len(number) - 1]) >= end
    assert first.index("3 of 3") - first.index("  3  ") == len("  3  ")


def test_facts_are_folded_and_never_cut() -> None:
    """One thing that is looked at has all its text."""
    text = " ".join(f"word-{number}" for number in range(30))
    lines = drawn(FACTS, [("identity", ID), ("cause", text)], width=60)

    assert lines[1].split() == ["identity", ID]
    assert len(lines) > 5
    assert all(len(line) <= 60 for line in lines)
    assert " ".join(" ".join(lines[2:]).split()) == f"cause {text}"


def test_colours_tell_what_they_mean_and_only_where_they_are_wanted() -> None:
    """NO_COLOR, and no terminal: none at all."""
    red, green = "\x1b[31m", "\x1b[32m"
    coloured = "\n".join(drawn(colours=True))

    assert f"{red}missing" in coloured
    assert f"{green}stored" in coloured
    assert red not in "\n".join(drawn(colours=True, NO_COLOR="1"))
    assert "\x1b" not in "\n".join(drawn())


def test_every_state_has_a_colour() -> None:
    """A new one without a colour would look as if it meant nothing."""
    states = [*ResultStatus, *DocumentState, *Standing, *FindingKind]
    states = [each for each in states if each not in NOTES and each is not DocumentState.GONE]
    runs = get_args(RunState)

    assert [str(each) for each in (*states, *runs) if not style_of(str(each))] == []
    assert style_of("WRONG") == style_of("REFUSED: too large") == "red"
    assert style_of("(newer)") == "yellow"
    assert style_of("anything") == ""
    assert len(GOOD | DOUBTFUL | BAD) == len(GOOD) + len(DOUBTFUL) + len(BAD)


def test_control_characters_reach_no_terminal() -> None:
    """Neither in a name nor in a text, nor markup that rich would take for a colour."""
    lines = drawn((Column("a", Meaning.NAME), Column("b")), [("x\x1b[2J", "[red]y[/red]\nz")])

    assert "\x1b" not in lines[1]
    assert "[red]y[/red]\\nz" in lines[1]


def test_advice_is_told_once_with_what_it_is_for() -> None:
    """Whole, behind the text of another column where that says what it is about."""
    columns = (
        Column("", Meaning.STATE, 9),
        Column("what", Meaning.NAME, 8),
        Column("finding", Meaning.TEXT, 7),
        Column("what to do", Meaning.ADVICE, by="what", after="finding"),
    )
    finding = "nothing listens at localhost:9092, and so nothing else could be looked at"
    rows = [("ok", "settings", "complete", ""), ("WRONG", "Kafka", finding, "start it")]
    lines = drawn(columns, rows, width=60)

    assert lines[2].endswith("…")
    assert " ".join(" ".join(lines[3:-1]).split()) == f"what to do: Kafka: {finding}"
    assert lines[-1] == "    start it"
    assert not any(line.endswith(" ") for line in lines)


def test_a_column_by_its_heading_alone_is_cut_only_where_it_has_blanks() -> None:
    """What has none may be a name that somebody copies."""
    columns = (column_of("what", 0), column_of("value", 1))
    name = "x" * 70
    lines = drawn(columns, [("a text", "word " * 30)], width=40)
    names = drawn(columns, [("a text", name)], width=40)

    assert len(lines[1]) <= 40
    assert lines[1].endswith("…")
    assert names[1] == "a text", "there is no room for it, and so it is not there"
    importances = [column_of(f"{n}", n).importance for n in range(9)]
    assert importances == [7, 6, 5, 4, 3, 2, 1, 1, 1]


def test_usual_headings_mean_what_they_always_do() -> None:
    """Whoever says no more than `document` gets whole ids, wherever that column stands."""
    columns = tuple(column_of(name, n) for n, name in enumerate(("a", "b", "status", "document")))
    heading, row = drawn(columns, [("x" * 30, "y" * 30, "failed", ID)], width=60)

    assert heading.split() == ["status", "document"]
    assert row.split() == ["failed", ID]


def test_elsewhere_a_table_is_whole_and_its_times_are_utc(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Tab-separated, with its title on a line of its own."""
    output.table(COLUMNS, [("missing", "docs", ID, NOW, 3, "a text", "again")], title="findings")

    title, heading, row = capsys.readouterr().out.splitlines()
    assert title == "findings:"
    assert heading.split("\t") == [each.name for each in COLUMNS]
    assert row.split("\t") == [
        "missing",
        "docs",
        ID,
        "2026-11-22T10:00:00Z",
        "3",
        "a text",
        "again",
    ]


def test_why_a_topic_was_refused_is_told_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the table on a terminal, in it elsewhere."""
    why = "max.message.bytes is more than the broker takes: " + "a long story " * 10
    show({"documents": None, "results": "exists already"}, {"dlq": why})
    piped = capsys.readouterr().out
    monkeypatch.setattr(output, "is_drawn", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    show({"documents": None, "results": "exists already"}, {"dlq": why})
    drawn = capsys.readouterr().out.splitlines()

    assert f"dlq\tREFUSED: {why}\n" in piped
    assert drawn[-2].endswith("…")
    assert drawn[-1] == f"dlq: {why}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"), (0.9, "now"), (1, "1s ago"), (59, "59s ago"), (60, "1m ago"),
        (3_599, "59m ago"), (3_600, "1h ago"), (86_399, "23h ago"), (86_400, "1d ago"),
        (30_000_000, "347d ago"), (-5, "in 5s"), (-7_200, "in 2h"),
    ],
)  # fmt: skip
def test_how_long_ago(seconds: float, text: str) -> None:
    """In the largest unit that there is a whole one of."""
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


def test_instants_for_people_and_for_programs() -> None:
    """By the reader's clock, and in UTC; a clock may be anything, and nothing breaks."""
    assert forms(NOW, NOW, timezone(timedelta(hours=-5))) == ("2026-11-22 05:00:00 (now)", "now")
    assert when(NOW) == "2026-11-22T10:00:00Z"
    assert str(spaced(NOW)) == "2026-11-22 10:00:00Z"
    assert spaced(None) == "-"
    assert isinstance(spaced(NOW), Instant)
    first = datetime.min.replace(tzinfo=UTC)
    assert forms(first, NOW, timezone(timedelta(hours=-5)))[0].startswith("0001-01-01")


def test_results_say_why_at_80_columns() -> None:
    """The time gets short, and the workspace goes, before the reason does."""
    why = "guide-7_1: AnythingLLM POST /v1/document/raw-text: answered 422"
    long_ago, slug = NOW - timedelta(hours=49), "a-workspace-of-some-length"
    head, row = drawn(DRAWN, [(long_ago, "partial", slug, "a-guide-of-usual-length", "2/3", why)])

    assert head.split() == ["completed", "status", "document", "stored", "errors"]
    assert row.startswith("2d ago     partial  a-guide-of-usual-length     2/3  guide-7_1: Any")
    assert cell_len(row) <= 80
