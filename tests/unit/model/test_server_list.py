"""The list of servers that each server keeps, read back, and what is missing from ours."""

from __future__ import annotations

import pytest

from consumer.model.names import ServerName
from consumer.model.server_list import (
    MOST,
    ServerList,
    is_list_slug,
    list_slug,
    lists_to_write,
    missing_from,
    one_server_twice,
    read_list,
)
from consumer.model.slug import slugify

A, B, C = ServerName("a"), ServerName("b"), ServerName("c")


def kept(own: str, *every: str) -> ServerList:
    return ServerList(ServerName(own), frozenset(map(ServerName, every)))


def test_a_list_is_read_as_it_was_written() -> None:
    written = kept("eu-1", "eu-1", "us-2")
    assert read_list(str(written)) == written


@pytest.mark.parametrize("name", ["", "Docs", "anythingllm-consumer: a of ", str(list_slug("g"))])
def test_a_name_that_is_no_list_says_nothing(name: str) -> None:
    assert read_list(name) is None


def test_anythingllm_keeps_the_longest_list_whole() -> None:
    names = [ServerName(f"{'x' * 14}-{n}") for n in range(MOST)]
    assert ServerList(names[0], frozenset(names)).fits


@pytest.mark.parametrize("group", ["anythingllm-consumer", "a b/c", "日本語", "x" * 249])
def test_a_group_s_list_has_a_slug_that_anythingllm_makes_of_itself(group: str) -> None:
    slug = list_slug(group)
    assert slugify(slug) == slug
    assert is_list_slug(slug)


def test_what_somebody_else_lists_is_missing_from_ours() -> None:
    lists = [kept("a", "a", "b"), None, kept("c", "c", "d")]
    assert missing_from([A, C], lists, gone=[]) == {"b", "d"}
    assert missing_from([A, C], lists, gone=[B]) == {"d"}


def test_nothing_is_written_where_all_is_kept() -> None:
    whole = {A: kept("a", "a", "b", "old"), B: kept("b", "a", "b", "old")}
    assert lists_to_write(whole, gone=[]) == {}


def test_a_name_is_written_to_all_and_none_is_lost() -> None:
    before = {A: kept("a", "a", "old"), B: None}
    assert lists_to_write(before, gone=[]) == {
        A: kept("a", "a", "b", "old"),
        B: kept("b", "a", "b", "old"),
    }


def test_a_server_that_is_gone_is_dropped_with_the_next_change() -> None:
    assert lists_to_write({A: kept("a", "a", "old"), B: None}, gone=[ServerName("old")])[A] == kept(
        "a", "a", "b"
    )


def test_a_server_with_another_name_is_given_it() -> None:
    assert lists_to_write({B: kept("a", "a")}, gone=[]) == {B: kept("b", "a", "b")}


def test_two_names_of_one_server_are_seen() -> None:
    one = kept("b", "a", "b")
    assert one_server_twice({A: one, B: one}) == (A, B)
    assert one_server_twice({A: kept("a", "a", "b"), B: one}) is None


def test_servers_that_exchange_their_names_are_two() -> None:
    assert one_server_twice({A: kept("b", "a", "b"), B: kept("a", "a", "b")}) is None
