"""What reading a workspace's listing says beside its rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    """A workspace's listing, read to its end.

    Args:
        workspace_id: AnythingLLM's number of the workspace; another one under the same slug is
            another workspace. None where there is none.
        rows: how many rows it has, ours and others'.
        etag: names this state of the listing, to ask whether it is still so; None where the server
            names none.
    """

    workspace_id: int | None
    rows: int
    etag: str | None
