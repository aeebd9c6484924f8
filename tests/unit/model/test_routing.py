from __future__ import annotations

import re
from typing import Any

import pytest

from consumer.model.document import ProcessedDocument
from consumer.model.names import Slug
from consumer.model.routing import Collisions, Routing, Unroutable
from consumer.model.server_marks import move_mark

C = Slug("c")


def document(technology: str = "Kafka", workspace: str | None = None) -> ProcessedDocument:
    return ProcessedDocument("d", "T", technology, "https://x", (), workspace=workspace)


@pytest.mark.parametrize(
    ("routing", "technology", "slug"),
    [
        (Routing(), "Spring Kafka", "spring-kafka"),
        (Routing("docs-{technology}"), "node.js", "docs-node-dot-js"),
        (Routing("Team Docs"), "anything", "team-docs"),
        (Routing("team"), "日本語", "team"),
        (Routing(map={"C#": Slug("csharp")}), "C#", "csharp"),
        (Routing(map={"C#": Slug("csharp")}), "C", "c"),
        (Routing(map={"": Slug("rest")}), "", "rest"),
        (Routing(allowed=("x", "docs-*")), "docs a", "docs-a"),
    ],
)
def test_a_document_goes_where_its_technology_says(
    routing: Routing, technology: str, slug: str
) -> None:
    """The map first, else the template, slugified as AnythingLLM does."""
    assert routing.slug_for(document(technology)) == slug


@pytest.mark.parametrize("workspace", [None, move_mark(C).slug("a group")])
def test_nothing_goes_where_servers_keep_a_mark(workspace: str | None) -> None:
    """Whoever may publish could make a mark with one document, or store where nobody looks."""
    technology = move_mark(C).slug("a group")
    assert not Routing().permits(Slug(technology))
    with pytest.raises(Unroutable, match="a mark of servers"):
        Routing().slug_for(document(technology, workspace))


def test_the_events_own_workspace_overrides_routing() -> None:
    """Its `workspace` comes before map and template."""
    routing = Routing("fixed", map={"Kafka": Slug("mapped")})
    assert routing.slug_for(document(workspace="own")) == "own"


@pytest.mark.parametrize(
    ("routing", "doc"),
    [
        (Routing(), document("日本語")),
        (Routing(), document("")),
        (Routing("docs-{technology}"), document("🦆")),
        (Routing(), document("x" * 256)),
        (Routing(), document(workspace="A")),
        (Routing(), document(workspace="")),
        (Routing(), document(workspace="a,b")),
        (Routing(), document(workspace="a--b")),
        (Routing(), document(workspace="-a")),
        (Routing(), document(workspace="--")),
        (Routing(), document(workspace="../system/update-env")),
        (Routing(), document(workspace="a\r\nX: y")),
        (Routing(), document(workspace="x" * 9_000)),
        (Routing(allowed=("docs-*",)), document("kafka")),
        (Routing(allowed=("docs-*",)), document(workspace="kafka")),
        (Routing(allowed=()), document()),
    ],
)
def test_what_no_workspace_can_serve_is_unroutable(
    routing: Routing, doc: ProcessedDocument
) -> None:
    """An empty, impossible or forbidden slug; the message is one short line."""
    with pytest.raises(Unroutable) as caught:
        routing.slug_for(doc)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"workspace_template": ""}, "ROUTING_WORKSPACE"),
        ({"workspace_template": "{id}"}, "ROUTING_WORKSPACE"),
        ({"workspace_template": "日本語"}, "ROUTING_WORKSPACE"),
        ({"workspace_template": "fixed", "allowed": ("other",)}, "ROUTING_WORKSPACE"),
        ({"map": {"a": "Not A Slug"}}, "[routing.map]"),
        ({"map": {"a": "x"}, "allowed": ("docs-*",)}, "ROUTING_ALLOWED_WORKSPACES"),
    ],
)
def test_wrong_settings_are_told_by_name(settings: dict[str, Any], name: str) -> None:
    """What would make documents unroutable for ever is an error of the settings."""
    with pytest.raises(ValueError, match=re.escape(name)):
        Routing(**settings)


def test_routing_is_fixed_when_nothing_of_the_event_decides() -> None:
    """Only then does a tombstone without a header have one workspace."""
    assert Routing("Team Docs").fixed == "team-docs"
    assert Routing("{technology}").fixed is None
    assert Routing("team", map={"a": Slug("b")}).fixed is None


def test_a_collision_is_told_once_per_new_value() -> None:
    """Two raw values on one slug may be an accident: it is worth one line, not one per document."""
    collisions = Collisions()
    assert collisions.note(C, "C") == ()
    assert collisions.note(C, "C") == ()
    assert collisions.note(C, "C#") == ("C", "C#")
    assert collisions.note(C, "C#") == ()
    assert collisions.note(Slug("d"), "C#") == ()


def test_collisions_are_bounded() -> None:
    """Both values come from events: nobody may fill the memory with them."""
    collisions = Collisions(max_slugs=2, max_values=2)
    for number in range(10):
        collisions.note(Slug(f"slug-{number}"), "a")
    assert collisions.note(Slug("slug-9"), "b") == ()
    assert collisions.note(Slug("slug-1"), "b") == ("a", "b")
    assert collisions.note(Slug("slug-1"), "c") == ()
