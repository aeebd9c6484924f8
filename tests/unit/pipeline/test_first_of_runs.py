"""Before the first replay of a run the workspace is looked at; runs may come in turns."""

from __future__ import annotations

from consumer.model.names import Slug
from consumer.pipeline.first_of_runs import FirstOfRuns

DOCS, OTHER = Slug("docs"), Slug("other")


def test_each_run_is_looked_for_once_a_workspace() -> None:
    runs = FirstOfRuns()
    before = runs.is_first(DOCS, "a"), runs.is_first(DOCS, "a")  # a look may fail
    runs.looked(DOCS, "a")
    runs.looked(DOCS, "b")

    assert before == (True, True)
    assert [runs.is_first(DOCS, run) for run in "abc"] == [False, False, True]
    assert runs.is_first(OTHER, "a")


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    runs = FirstOfRuns(most=2)
    runs.looked(DOCS, "a")
    runs.looked(DOCS, "b")
    runs.is_first(DOCS, "a")
    runs.looked(DOCS, "c")

    assert [runs.is_first(DOCS, run) for run in "abc"] == [False, True, False]
