"""Where a workspace lives among several servers: all cases, and what no list breaks."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consumer.model.names import ServerName, Slug
from consumer.model.placement import Home, Homeless, Placement, Presence, Undecided, nearest, place

A, B, C = ServerName("a"), ServerName("b"), ServerName("c")
DOCS = Slug("docs")  # its hash chooses a among a and b, and c among a, b and c
LETTERS = {
    "-": Presence.ABSENT,
    "?": Presence.THERE,
    "s": Presence.STRANGE,
    "o": Presence.OURS,
    "!": Presence.SILENT,
}

names = st.sampled_from([ServerName(f"server-{n}") for n in range(8)])
slugs = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True).map(Slug)
presences = st.sampled_from(Presence)
lost = st.sampled_from([{}, {ServerName("lost"): Slug("knows-lost")}])
MARK = Slug("anythingllm-server-moves-1234-abcdef")
views = st.dictionaries(names, presences, min_size=1)


def seen(letters: str) -> dict[ServerName, Presence]:
    return dict(zip((A, B, C), map(LETTERS.__getitem__, letters), strict=False))


def known(missing: tuple[ServerName, ...]) -> dict[ServerName, Slug]:
    """Missing servers, with the marks that say so."""
    return {name: Slug(f"knows-{name}") for name in missing}


@pytest.mark.parametrize(
    ("letters", "pin", "missing", "placement"),
    [
        # Nobody has it, all answer: its hash decides.
        ("--", None, (), Home(A, creates=True)),
        ("---", None, (), Home(C, creates=True)),
        # One server has it: there it stays, whatever the hash says.
        ("-?", None, (), Home(B)),
        ("-s", None, (), Home(B)),
        ("-o", None, (), Home(B)),
        # Several have a workspace of the slug: documents of ours decide, else the hash.
        ("??", None, (), Undecided((A, B))),
        ("s?", None, (), Undecided((B,))),
        ("so", None, (), Home(B)),
        ("ss", None, (), Home(A)),
        ("-ss", None, (), Home(C)),
        # A pin decides, unless documents of ours are elsewhere.
        ("--", B, (), Home(B, creates=True)),
        ("-?", B, (), Home(B)),
        ("-o", B, (), Home(B)),
        ("s-", B, (), Home(B, creates=True)),
        ("?-", B, (), Undecided((A,))),
        ("-ss", B, (), Home(B)),
        # One does not answer: it goes on where documents of ours are.
        ("!o", None, (), Home(B)),
        ("!?", None, (), Undecided((B,))),
        # One is missing from the list: the same.
        ("o-", None, (C,), Home(A)),
        ("?-", None, (C,), Undecided((A,))),
    ],
)
def test_a_workspace_has_one_home(
    letters: str,
    pin: ServerName | None,
    missing: tuple[ServerName, ...],
    placement: Placement,
) -> None:
    assert place(DOCS, seen(letters), pin=pin, missing=known(missing)) == placement


@pytest.mark.parametrize(
    ("letters", "pin", "missing", "servers", "words"),
    [
        ("oo", None, (), (A, B), ["a and b", "workspaces move docs --to"]),
        ("oo-", B, (), (A, B), ["a and b"]),
        ("o-", B, (), (A,), ["pinned to server b", "workspaces move docs --to b"]),
        ("!-", None, (), (), ["server a does not answer"]),
        ("!-", B, (), (), ["server a does not answer"]),
        ("!s", B, (), (), ["server a does not answer"]),
        ("--", B, (C,), (), ["server c is missing"]),
        ("!s", None, (), (), ["server a does not answer"]),
        ("!!-", None, (), (), ["servers a, b do not answer"]),
        ("-!", B, (), (), ["server b does not answer"]),
        ("--", None, (C,), (), ["server c is missing", "knows-c", "workspaces forget c"]),
        ("s-", None, (C,), (), ["server c is missing"]),
    ],
)
def test_a_workspace_without_a_home_says_why(
    letters: str,
    pin: ServerName | None,
    missing: tuple[ServerName, ...],
    servers: tuple[ServerName, ...],
    words: list[str],
) -> None:
    found = place(DOCS, seen(letters), pin=pin, missing=known(missing))
    assert isinstance(found, Homeless)
    assert found.servers == servers
    for each in words:
        assert each in found.reason


@pytest.mark.parametrize(
    ("letters", "pin", "servers"),
    [("!-", None, ()), ("!-", B, ()), ("!s", B, ()), ("o-", None, (A,)), ("o-", A, (A,))],
)
def test_nothing_lives_on_a_server_that_may_be_another_one(
    letters: str, pin: ServerName | None, servers: tuple[ServerName, ...]
) -> None:
    found = place(DOCS, seen(letters), pin=pin, unproven={A: "a is not a"})
    assert found == Homeless("a is not a", servers)


def test_what_lives_elsewhere_goes_on_beside_a_server_that_may_be_another_one() -> None:
    assert place(DOCS, seen("!o"), unproven={A: "a is not a"}) == Home(B)


@pytest.mark.parametrize("letters", ["--", "o-", "oo", "??", "!o"])
def test_a_workspace_that_is_being_moved_has_no_home(letters: str) -> None:
    found = place(DOCS, seen(letters), moving=MARK)
    assert isinstance(found, Homeless)
    assert "workspaces move docs --to SERVER" in found.reason
    assert MARK in found.reason


@pytest.mark.parametrize(
    ("letters", "placement"),
    [
        # Nobody goes by one of them, while the other may have documents of ours still.
        (
            "o!",
            Homeless(
                "server b does not answer and may have it; it is asked again. Two servers had"
                f" documents of ours in it when they were asked last ({MARK})",
                (A,),
            ),
        ),
        ("?!", Undecided((A,))),
        ("?-", Undecided((A,))),
        ("o-", Home(A)),
        ("-s", Home(B)),
        ("--", Home(A, creates=True)),
    ],
)
def test_a_workspace_that_two_servers_had_has_a_home_when_all_have_said_what_they_have(
    letters: str, placement: Placement
) -> None:
    assert place(DOCS, seen(letters), split=MARK) == placement


def test_nothing_is_made_where_that_is_not_allowed() -> None:
    for pin in (None, A):
        found = place(DOCS, seen("--"), pin=pin, may_create=False)
        assert isinstance(found, Homeless)
        assert "ROUTING_CREATE_WORKSPACES" in found.reason


@given(slugs, views, st.none() | names, lost)
def test_nothing_is_made_while_documents_of_ours_may_be_elsewhere(
    slug: Slug,
    view: dict[ServerName, Presence],
    pin: ServerName | None,
    missing: dict[ServerName, Slug],
) -> None:
    assume(pin is None or pin in view)
    found = place(slug, view, pin=pin, missing=missing)
    if isinstance(found, Home) and found.creates:
        assert view[found.server] is Presence.ABSENT
        assert not {Presence.OURS, Presence.THERE} & set(view.values())
        assert Presence.SILENT not in view.values()
        assert pin is not None or set(view.values()) == {Presence.ABSENT}
        assert not missing


@given(slugs, views, lost)
def test_documents_of_ours_are_never_left_for_another_server(
    slug: Slug, view: dict[ServerName, Presence], missing: dict[ServerName, Slug]
) -> None:
    ours = [name for name, presence in view.items() if presence is Presence.OURS]
    found = place(slug, view, missing=missing)
    if isinstance(found, Home) and ours:
        assert ours == [found.server]
    if len(ours) > 1 and not isinstance(found, Undecided):
        assert isinstance(found, Homeless)
        assert set(found.servers) == set(ours)


@given(slugs, views)
def test_every_question_is_answered_once_it_was_looked_at(
    slug: Slug, view: dict[ServerName, Presence]
) -> None:
    looked = {
        name: Presence.STRANGE if presence is Presence.THERE else presence
        for name, presence in view.items()
    }
    assert not isinstance(place(slug, looked), Undecided)


@given(slugs, st.lists(names, min_size=1, unique=True))
def test_instances_that_list_their_servers_in_another_order_choose_the_same(
    slug: Slug, servers: list[ServerName]
) -> None:
    shuffled = sorted(servers, reverse=True)
    assert nearest(slug, shuffled) == nearest(slug, servers)


@given(slugs, st.lists(names, min_size=2, unique=True))
def test_a_server_that_is_added_takes_only_what_its_own_hash_wins(
    slug: Slug, servers: list[ServerName]
) -> None:
    *before, added = servers
    assert nearest(slug, servers) in (nearest(slug, before), added)


def test_servers_share_the_slugs() -> None:
    chosen = [nearest(Slug(f"docs-{n}"), (A, B)) for n in range(1000)]
    assert 430 < chosen.count(A) < 570  # 4.4 standard deviations
