"""Split marks: servers remember that two of them have a workspace, for whoever starts without one.

An instance that knows of it keeps the mark on every server that answers, and takes it away when the
workspace has one home.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from consumer.model.fault import Failure
from consumer.model.names import ServerName, Slug
from consumer.model.placement import Home, Homeless
from consumer.model.server_marks import ServerViews, split_mark
from consumer.pipeline.ports import Server


class SplitMarks:
    """See the module's docstring.

    Args:
        servers: all of the list.
        note: hears of servers that do not answer well.
    """

    def __init__(
        self,
        servers: Mapping[ServerName, Server],
        note: Callable[[ServerName, Failure], None],
    ) -> None:
        self._servers = servers
        self._note = note

    @staticmethod
    def wrong_on(slug: Slug, views: ServerViews, found: Home | Homeless) -> Sequence[ServerName]:
        """The servers whose mark is not as it has to be by what was found out."""
        marked = views.split_on(slug)
        if isinstance(found, Home):
            return sorted(marked)
        answering = [name for name, each in views.surveys.items() if each is not None]
        return [name for name in answering if name not in marked] if is_split(found) else []

    async def put_right(
        self, slug: Slug, names: Sequence[ServerName], found: Home | Homeless
    ) -> None:
        """Make or remove the mark on these servers; what fails is tried in the next round again."""
        mark = split_mark(slug)
        for name in names:
            server = self._servers[name]
            try:
                await (server.make_mark(mark) if is_split(found) else server.remove_mark(mark))
            except Failure as failure:
                self._note(name, failure)


def is_split(found: Home | Homeless) -> bool:
    """Whether two servers have documents of ours."""
    return isinstance(found, Homeless) and len(found.servers) > 1
