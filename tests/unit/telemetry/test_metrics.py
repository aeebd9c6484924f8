"""Metrics: names are a contract, labels are bounded, series start at zero."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from consumer.telemetry.metrics import PREFIX, Metrics

BOUNDED = {"status", "outcome", "reason", "fault", "state", "topic", "partition", "le"}


def test_names_carry_our_prefix_and_help_and_no_unbounded_label() -> None:
    """Documents and workspaces come from events: as labels they would grow without end."""
    metrics = Metrics()
    metrics.set_lags({("documents.processed", 0): 3}, {("documents.processed", 0): 2})
    families = [
        family
        for family in text_string_to_metric_families(metrics.render().decode())
        if not family.name.startswith("process_")
    ]

    assert families
    for family in families:
        assert family.name.startswith(f"{PREFIX}_")
        assert family.documentation.endswith(".")
        assert {label for sample in family.samples for label in sample.labels} <= BOUNDED | {
            "version",
            "python",
        }


def test_series_exist_before_their_first_event() -> None:
    """A counter that appears with its first event hides that event from rate()."""
    page = Metrics().render().decode()

    assert f'{PREFIX}_documents_total{{status="succeeded"}} 0.0' in page
    assert f'{PREFIX}_dead_letters_total{{reason="rejected"}} 0.0' in page
    assert f'{PREFIX}_upload_failures_total{{fault="theirs"}} 0.0' in page
    assert f'{PREFIX}_breaker_state{{state="closed"}} 1.0' in page


def test_revoked_partitions_disappear() -> None:
    """Their last lag would otherwise stand for ever beside the new owner's."""
    metrics = Metrics()
    metrics.set_lags({("t", 0): 3, ("t", 1): 4}, {("t", 0): 3, ("t", 1): 1})
    metrics.set_lags({("t", 1): 0}, {("t", 1): 0})
    page = metrics.render().decode()

    assert 'partition="0"' not in page
    assert f'{PREFIX}_stable_lag_records{{partition="1",topic="t"}} 0.0' in page
    assert f'{PREFIX}_lag_records{{partition="1",topic="t"}} 0.0' in page


def test_the_breaker_has_one_state() -> None:
    """One of three series is 1."""
    metrics = Metrics()
    metrics.set_breaker("half-open")
    page = metrics.render().decode()

    assert f'{PREFIX}_breaker_state{{state="half-open"}} 1.0' in page
    assert f'{PREFIX}_breaker_state{{state="closed"}} 0.0' in page


def test_two_services_in_one_process_do_not_share_counts() -> None:
    """Tests and the demo run several."""
    first, second = Metrics(), Metrics()
    first.rebalances.inc()

    assert f"{PREFIX}_rebalances_total 0.0" in second.render().decode()
