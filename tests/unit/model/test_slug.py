from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.slug import MAX_LENGTH, PATTERN, can_exist, is_slug, slugify
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("docs_gamma.v2 (x)!", "docs_gamma-dot-v2-x-bang"),
        ("Größe & Straße", "grosse-and-strasse"),
        ("Docs Alpha", "docs-alpha"),
        ("UPPER_case-Name", "upper_case-name"),
        ("日本語", ""),
        ("🦆", ""),
        ("", ""),
        (" a ", "a"),
        ("c++", "c-plus-plus"),
        ("C#", "c"),
        ("a@b", "a-at-b"),
        ("100%", "100percent"),
        ("*", "splat"),
        ("$x", "dollarx"),
        ("node.js", "node-dot-js"),
        ("a/b", "ab"),
        ("../system/update-env", "dot-dot-systemupdate-env"),
        ("a:~'\"|b", "ab"),
        ("--a -- b--", "a-b"),
        ("a–b", "a-b"),
        ("a\tb\n", "a-b"),
        ("œuvre Ærø", "oeuvre-aero"),
        ("Привет", "privet"),
        ("Ωmega", "wmega"),
        ("Cafe\u0301", "cafe"),
        ("ｅvil", "vil"),
        ("a\x00b", "ab"),
        ("x" * 300, "x" * 300),
    ],
)
def test_slugs_are_spelt_as_the_server_spells_them(name: str, slug: str) -> None:
    """A workspace is found under the slug that AnythingLLM 1.16 made of its name."""
    assert slugify(name) == slug


@given(st.text())
def test_a_derived_slug_is_usable_and_stable(name: str) -> None:
    """What comes out is a slug (or empty, or too long), and deriving again changes nothing."""
    slug = slugify(name)
    assert slug == "" or len(slug) > 255 or is_slug(slug)
    assert slugify(slug) == slug


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a/b", "..%2fadmin", "a?x=1", "a#f", "a,b", " a", "A", "ünï", "a\n", "x" * 256,
     "a\\b", "a\r\nX: y", "%00", "\u2025/x", "\u202e"],
)  # fmt: skip
def test_only_slugs_are_slugs(text: str) -> None:
    """Text that could change a path, name two workspaces or end a header line is no slug."""
    assert not is_slug(text)


@pytest.mark.parametrize("text", ["a", "0", "_", "-", "docs-alpha_2", "x" * 255])
def test_slugs_are_recognised(text: str) -> None:
    """``^[a-z0-9_-]{1,255}$``."""
    assert is_slug(text)


def test_there_is_one_rule_for_what_may_be_asked_for() -> None:
    """Exactly what AnythingLLM leaves as it is can be asked for; schema and README say the same."""
    texts = ("".join(signs) for long in range(1, 6) for signs in product("a0_-.", repeat=long))
    for text in texts:
        assert can_exist(text) == (slugify(text) == text), text
    assert can_exist("a" * MAX_LENGTH)
    assert not can_exist("a" * (MAX_LENGTH + 1))
    assert not can_exist("a\n")
    schema = json.loads((REPOSITORY / "schemas/processed-document.schema.json").read_text())
    assert schema["properties"]["workspace"]["pattern"] == PATTERN
    assert schema["properties"]["workspace"]["maxLength"] == MAX_LENGTH
    assert (
        f"A slug is `{PATTERN}`, at most {MAX_LENGTH} "
        in (REPOSITORY / "schemas/README.md").read_text()
    )
