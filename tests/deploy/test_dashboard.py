"""The dashboard asks for what there is, and Grafana finds it."""

from __future__ import annotations

import pytest

from tests.deploy.dashboard import DASHBOARD, filled_in, panels, queries
from tests.deploy.places import MONITORING, read_yaml
from tests.deploy.promql import OF_THE_SCRAPE, asked_of, strangers


@pytest.mark.parametrize(("title", "expression"), list(queries()))
def test_a_query_asks_for_what_there_is(title: str, expression: str) -> None:
    """A metric or label that was renamed would leave its panel empty without a word."""
    assert "$" not in expression, title
    assert asked_of(expression)
    assert strangers(expression) == []


def test_every_query_obeys_the_chosen_job_and_instance() -> None:
    """A panel that shows another job's numbers would be believed."""
    for title, expression in queries():
        for asked in asked_of(expression):
            assert asked.matched >= OF_THE_SCRAPE, title


def test_panels_can_be_told_apart_and_do_not_overlap() -> None:
    """Grafana shows one of two panels with the same id, and lays others over each other."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_labels_in_a_legend_are_kept_by_its_query() -> None:
    """A legend of a label that the query does not keep is blank."""
    for panel in panels():
        for target in panel["targets"]:
            for asked in asked_of(filled_in(target["expr"])):
                assert asked.grouped >= _named(target["legendFormat"]), panel["title"]


def _named(legend: str) -> set[str]:
    return {part.partition("}}")[0] for part in legend.split("{{")[1:]}


def test_grafana_is_provisioned_with_it() -> None:
    """The data source is the one that the dashboard's variable picks: the only Prometheus."""
    (source,) = read_yaml(MONITORING / "grafana" / "datasources.yaml")["datasources"]
    (variable,) = [v for v in DASHBOARD["templating"]["list"] if v["name"] == "datasource"]

    assert source["type"] == variable["query"] == "prometheus"
    assert source["isDefault"]
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
