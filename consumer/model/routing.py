"""Routing: which workspace a document belongs to (schemas/README.md, "Workspace").

In this order: the event's own ``workspace``, else the map's entry for its technology, else the
template with the technology slugified into it. The slug must match an allowed pattern.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from consumer.model import template
from consumer.model.document import ProcessedDocument
from consumer.model.names import Slug
from consumer.model.server_marks import is_mark_slug
from consumer.model.slug import MAX_LENGTH, RULE, can_exist, slugify

PLACEHOLDERS = ("technology",)
_SHOWN = 80


class Unroutable(Exception):
    """No workspace could ever serve the document: a dead letter ``unroutable``, never a retry.

    The message is one line that says why and what to change.

    Args:
        message: see above.
        field: of the event, which decided.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Routing:
    """The checked routing settings.

    Args:
        workspace_template: ROUTING_WORKSPACE, text with or without ``{technology}``.
        map: technology, spelt as in the events, to workspace slug (``[routing.map]``).
        allowed: glob patterns over slugs (ROUTING_ALLOWED_WORKSPACES).

    Raises:
        ValueError: a setting is wrong on its face; the message names it.
    """

    workspace_template: str = "{technology}"
    map: Mapping[str, Slug] = field(default_factory=dict)
    allowed: tuple[str, ...] = ("*",)
    _template: template.Template = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            parsed = template.parse(self.workspace_template, PLACEHOLDERS)
        except ValueError as error:
            raise ValueError(f"ROUTING_WORKSPACE {error}") from None
        object.__setattr__(self, "_template", parsed)
        self._check_map()
        self._check_fixed()

    @property
    def fixed(self) -> Slug | None:
        """The one workspace of all documents that don't name theirs, if there is only one.

        A tombstone without a ``workspace`` header is carried out there.
        """
        if self._template.placeholders or self.map:
            return None
        return slugify(self.workspace_template)

    def slug_for(self, document: ProcessedDocument) -> Slug:
        """The workspace's slug.

        Raises:
            Unroutable: no workspace can serve the document.
        """
        if document.workspace is not None:
            slug, field = Slug(document.workspace), "workspace"
            if not can_exist(slug):
                why = f"which is no slug: {RULE} are allowed"
                raise Unroutable(f"the event asks for workspace {_shown(slug)}, {why}", field)
        else:
            slug = self.map.get(document.technology) or self._derived(document.technology)
            field = "technology"
        if is_mark_slug(slug):
            # Whoever may publish could stop a stream of several servers by one document.
            why = "is a mark of servers; nothing goes there"
            raise Unroutable(f"workspace {_shown(slug)} {why}", field)
        if not self.permits(slug):
            why = "matches no pattern of ROUTING_ALLOWED_WORKSPACES"
            raise Unroutable(f"workspace {_shown(slug)} {why}", field)
        return slug

    def permits(self, slug: Slug) -> bool:
        """Whether a workspace may be written to at all; also for a tombstone's header."""
        if not can_exist(slug) or is_mark_slug(slug):
            return False
        return any(fnmatchcase(slug, pattern) for pattern in self.allowed)

    def _derived(self, technology: str) -> Slug:
        part = slugify(technology)
        if self._template.placeholders and not part:
            # "docs-{technology}" would otherwise put all such technologies into one workspace.
            raise Unroutable(
                f"technology {_shown(technology)} has no character that a workspace slug can use; "
                "set `workspace` in the event or add it to [routing.map]",
                "technology",
            )
        slug = slugify(self._template.fill({"technology": part}))
        if len(slug) > MAX_LENGTH:
            why = f"the workspace slug has {len(slug)} characters, {MAX_LENGTH} are allowed"
            raise Unroutable(why, "technology")
        return slug

    def _check_map(self) -> None:
        for technology, slug in self.map.items():
            if not can_exist(slug):
                raise ValueError(f"[routing.map] {technology!r} names {_shown(slug)}, not a slug")
            if not self.permits(slug):
                raise ValueError(
                    f"[routing.map] {technology!r} names {slug!r}, which matches no pattern of "
                    "ROUTING_ALLOWED_WORKSPACES"
                )

    def _check_fixed(self) -> None:
        if not self._template.placeholders and not self.permits(slugify(self.workspace_template)):
            raise ValueError(
                f"ROUTING_WORKSPACE {self.workspace_template!r} gives no allowed slug: "
                "every document would be unroutable"
            )


def _shown(text: str) -> str:
    """Untrusted text, quoted, escaped and short."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


class Collisions:
    """Finds different technologies that share one workspace, so that it can be said once.

    Two raw values on one slug ("C#" and "C") may be an accident. Bounded, because both values come
    from events: beyond the bounds nothing new is remembered or reported.

    Args:
        max_slugs: slugs remembered.
        max_values: raw values remembered per slug.
    """

    def __init__(self, max_slugs: int = 1_000, max_values: int = 8) -> None:
        self._max_slugs = max_slugs
        self._max_values = max_values
        self._values: dict[Slug, list[str]] = {}

    def note(self, slug: Slug, technology: str) -> tuple[str, ...]:
        """Remember a pair.

        Returns:
            All values known for the slug when this one is new and not the first, else ``()``.
        """
        raw = technology[:MAX_LENGTH]
        known = self._values.get(slug)
        if known is None:
            if len(self._values) < self._max_slugs:
                self._values[slug] = [raw]
            return ()
        if raw in known or len(known) >= self._max_values:
            return ()
        known.append(raw)
        return tuple(known)
