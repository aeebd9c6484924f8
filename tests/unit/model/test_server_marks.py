"""What servers say of themselves and each other: what is believed of it, and what is made next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.names import ServerName, Slug
from consumer.model.server_marks import (
    Mark,
    MarkKind,
    ServerSurvey,
    ServerViews,
    is_mark_slug,
    move_mark,
    read_mark,
    split_mark,
)
from consumer.model.slug import slugify

A, B, C = ServerName("a"), ServerName("b"), ServerName("c")
KINDS = {
    "is": MarkKind.IS,
    "knows": MarkKind.KNOWS,
    "without": MarkKind.WITHOUT,
}


def mark(words: str) -> Mark:
    """``is a`` with the token that a has in these tests; ``is a/x`` with another one."""
    kind, _, name = words.partition(" ")
    name, _, token = name.partition("/")
    is_named_only = KINDS[kind] is MarkKind.WITHOUT
    return Mark(KINDS[kind], name, "" if is_named_only else (token or f"tok{name[0]}"))


def views(**has: str | None) -> ServerViews:
    """Of each server its marks, with commas between; None where it is silent."""
    surveys = {
        ServerName(name): None
        if words is None
        else ServerSurvey(frozenset(), tuple(map(mark, filter(None, words.split(", ")))))
        for name, words in has.items()
    }
    return ServerViews(surveys, "g")


WHOLE = {"a": "is a, knows b", "b": "is b, knows a"}


@pytest.mark.parametrize("group", ["anythingllm-consumer", "a b/c", "日本語", "x" * 249])
@pytest.mark.parametrize(
    "made",
    [
        mark("is eu-1"),
        mark("knows eu-1"),
        mark("without eu-1"),
        move_mark(Slug("docs")),
        split_mark(Slug("docs")),
    ],
)
def test_a_mark_is_read_as_it_was_made_and_has_the_slug_that_anythingllm_makes_of_it(
    made: Mark, group: str
) -> None:
    slug = made.slug(group)
    assert slugify(slug) == slug
    assert is_mark_slug(slug)
    assert read_mark(slug, group) == made
    assert read_mark(slug, f"{group}2") is None


@pytest.mark.parametrize("slug", ["docs", "anythingllm-server-room", "anythingllm-server-is-a"])
def test_a_workspace_of_people_is_no_mark(slug: str) -> None:
    assert not is_mark_slug(Slug(slug))
    assert read_mark(Slug(slug), "g") is None


def test_no_vector_database_cuts_the_longest_mark() -> None:
    """Chroma keeps 63 characters; two marks that are cut alike would have one collection."""
    longest = Mark(MarkKind.KNOWS, "x" * 16, "toke")
    assert len(longest.slug("g")) <= 63


@pytest.mark.parametrize(
    ("has", "to_make"),
    [
        # Own marks come first, one at a time, and only while all answer.
        ({"a": "", "b": ""}, {"a": ["is a/next"]}),
        ({"a": "is a", "b": ""}, {"b": ["is b/next"]}),
        ({"a": "", "b": None}, {}),
        ({"a": "is a, knows b", "b": None}, {}),
        # Then each learns of the others, and of those that others listed.
        ({"a": "is a", "b": "is b"}, {"a": ["knows b"], "b": ["knows a"]}),
        ({"a": "is a, knows c", "b": "is b, knows a"}, {"a": ["knows b"], "b": ["knows c"]}),
        (WHOLE, {}),
        # A name that was given up is told to all, and known no more; its server takes another.
        (
            {"a": "is a, knows b, without c, knows c", "b": "is b, knows a"},
            {"b": ["without c"]},
        ),
        ({"a": "is a, without b, knows b", "c": "is b"}, {"c": ["is c/next"]}),
        # Nothing is made on a server that may be another one.
        ({"a": "is a, knows b", "b": ""}, {}),
        ({"a": "is a", "b": "is a"}, {}),
        ({"a": "is b", "b": "is a"}, {}),
    ],
)
def test_what_is_made_next(has: dict[str, str | None], to_make: dict[str, list[str]]) -> None:
    wanted = {ServerName(name): tuple(map(mark, each)) for name, each in to_make.items()}
    assert views(**has).to_make("next") == wanted


def test_a_server_that_refuses_keeps_none_of_the_others_from_their_marks() -> None:
    assert views(a="", b="").to_make("next", but=[A]) == {B: (mark("is b/next"),)}
    assert views(a="", b="is b", c="is c").to_make("next", but=[A]) == {
        B: (mark("knows c"),),
        C: (mark("knows b"),),
    }


@pytest.mark.parametrize(
    ("has", "unproven"),
    [
        (WHOLE, {}),
        ({"a": "is a", "b": None}, {}),
        ({"a": "is a", "b": ""}, {"b": "server b is new"}),
        # The others know it, and it does not know itself: another one, or it lost all.
        ({"a": "is a, knows b", "b": ""}, {"b": "server b lacks the mark"}),
        # Names that were exchanged, a name that was changed, and two names of one server.
        ({"a": "is b", "b": "is a"}, {"a": "is server b by", "b": "is server a by"}),
        ({"a": "is a, knows b", "c": "is b, knows a"}, {"c": "call it b"}),
        ({"a": "is a", "b": "is a"}, {"b": "is server a by"}),
        # Another instance has another address for the name.
        ({"a": "is a, knows b/else", "b": "is b"}, {"b": "two servers called b"}),
        # The first mark counts: that of whoever came later is none.
        ({"a": "is a, is c", "c": "is c"}, {}),
        ({"a": "is c, is a", "c": "is c"}, {"a": "is server c by"}),
        ({"a": "is a, without b", "b": "is b"}, {"b": "the name b was given up"}),
        ({"a": "is a, without b, knows b", "c": "is b, is c"}, {}),
    ],
)
def test_which_servers_are_not_believed(has: dict[str, str], unproven: dict[str, str]) -> None:
    found = views(**has).unproven
    assert found.keys() == unproven.keys()
    for name, words in unproven.items():
        assert words in found[ServerName(name)]


@pytest.mark.parametrize(
    ("has", "lost"),
    [
        ({"a": "is a, knows b", "b": ""}, "is b"),
        ({"a": "is a, knows b", "b": "knows a"}, "is b"),
        ({"a": "is a, knows b", "b": "is b"}, None),
        ({"a": "is a", "b": ""}, None),
        ({"a": "is a, knows b", "b": None}, None),
        ({"a": "is a, knows b, knows b/else", "b": ""}, None),
        ({"a": "is a, knows b, without b", "b": ""}, None),
    ],
)
def test_a_mark_that_was_removed_can_be_made_again_where_the_others_know_which(
    has: dict[str, str | None], lost: str | None
) -> None:
    found = views(**has)
    assert found.lost(B) == (mark(lost) if lost else None)
    assert lost is None or mark(lost).slug("g") in found.unproven[B]
    assert lost is None or "workspaces mark b" in found.unproven[B]


@pytest.mark.parametrize(
    ("has", "missing"),
    [
        (WHOLE, set()),
        ({"a": "is a, knows b"}, {"b"}),
        ({"a": "is b"}, {"b"}),
        ({"a": "is a, is z"}, set()),  # whoever came second has seen that, and used it for nothing
        ({"a": "is a, knows b, without b"}, set()),
        ({"a": "is a, knows b", "b": None}, set()),
    ],
)
def test_what_somebody_else_lists_is_missing_from_ours(
    has: dict[str, str], missing: set[str]
) -> None:
    assert views(**has).missing.keys() == missing


def test_a_server_is_made_use_of_when_all_others_know_it() -> None:
    """Those that do not know it stop nothing that is made on servers that they know."""
    half = views(a="is a", b="is b, knows a")
    assert half.strangers_to(A) == ()
    assert half.strangers_to(B) == (A,)
    assert views(a="is a, knows b/else", b="is b, knows a").strangers_to(B) == (A,)
    assert views(a="is a, knows b", b=None).strangers_to(A) == (B,)


@pytest.mark.parametrize(
    ("has", "is_begun"),
    [
        (WHOLE, True),
        ({"a": "is a, knows b", "b": "is b"}, True),
        ({"a": "is a", "b": "is b"}, False),
        ({"a": "", "b": None}, False),
        ({"a": "is a, knows b, without b", "c": ""}, False),
        ({"a": "is a, knows b, without b, knows c", "c": ""}, True),
    ],
)
def test_servers_have_begun_when_one_of_them_knows_another(
    has: dict[str, str | None], is_begun: bool
) -> None:
    assert views(**has).is_begun == is_begun


def test_the_move_of_a_workspace_is_seen_on_whichever_server() -> None:
    moving = ServerSurvey(frozenset(), (move_mark(Slug("docs")),))
    found = ServerViews({A: ServerSurvey(frozenset()), B: moving}, "g")
    assert found.moves(Slug("docs")) == move_mark(Slug("docs")).slug("g")
    assert found.moves(Slug("blog")) is None
    assert found.moving == {found.moves(Slug("docs"))}
    assert found.split_on(Slug("docs")) == frozenset()
    split = ServerSurvey(frozenset(), (split_mark(Slug("docs")),))
    found = ServerViews({A: split, B: None}, "g")
    assert found.split_on(Slug("docs")) == {A}
    assert found.split(Slug("docs")) == split_mark(Slug("docs")).slug("g")
    assert found.split(Slug("blog")) is None


NAMES = st.sampled_from("abc").map(ServerName)


@given(st.lists(st.tuples(NAMES, st.permutations("abc"), st.booleans()), max_size=12))
def test_whoever_comes_in_between_no_server_ever_has_two_names_that_count(
    steps: list[tuple[ServerName, list[str], bool]],
) -> None:
    """Instances with any names for three servers make their marks in any order, or only look.

    What a server is never changes, and two servers of one list are never both believed by one name.
    """
    servers: list[tuple[Mark, ...]] = [(), (), ()]
    first: dict[int, Mark] = {}
    for n, (_, order, writes) in enumerate(steps):
        listed = {ServerName(name): k for k, name in enumerate(order)}
        seen = ServerViews(
            {name: ServerSurvey(frozenset(), servers[k]) for name, k in listed.items()}, "g"
        )
        for name, k in listed.items():
            own = seen.own(name)
            if own is not None:
                assert first.setdefault(k, own) == own
            assert own is None or name in seen.unproven or own.name == name
        if writes:
            for name, marks in seen.to_make(f"tk{n:02}").items():
                servers[listed[name]] += marks
