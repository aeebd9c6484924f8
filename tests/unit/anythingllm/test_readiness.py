"""Which workspace needs no proof that it takes concurrent uploads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from consumer.anythingllm.models import SurveyedWorkspace, Workspace
from consumer.anythingllm.readiness import is_in_use
from consumer.model.names import Slug
from tests.unit.anythingllm.units import NOW


@pytest.mark.parametrize(("age", "used"), [(None, False), (0, False), (60, False), (61, True)])
def test_in_use_is_a_workspace_with_a_settled_document(age: int | None, used: bool) -> None:
    """Young documents do not prove that the table is there to stay."""
    oldest = None if age is None else NOW - timedelta(seconds=age)

    assert is_in_use(SurveyedWorkspace(Workspace(1, "w", Slug("w")), 1, (), oldest, NOW)) is used
