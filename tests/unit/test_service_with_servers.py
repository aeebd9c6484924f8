"""The service with several servers: what its probes and its page say of each. Nothing answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.anythingllm import AnythingLLMError
from consumer.app.servers import ServersPipeline
from consumer.app.service import Service
from consumer.model.fault import Fault
from consumer.pipeline.carried_out import MOST_REMEMBERED
from consumer.settings import load_settings
from consumer.telemetry.metrics import PREFIX


@pytest.fixture
def service(tmp_path: Path) -> Service:
    key = tmp_path / "key"
    key.write_text("CANARY", encoding="utf-8")
    listed = ", ".join(f"{name} http://{name}.invalid:1 {key}" for name in ("a", "b"))
    return Service(
        load_settings({"ANYTHINGLLM_ENDPOINTS": listed, "ANYTHINGLLM_ENDPOINTS_TRIAL": "true"})
    )


async def test_what_is_wrong_with_a_server_is_told_with_its_name(service: Service) -> None:
    failure = AnythingLLMError("nobody is there", fault=Fault.THEIRS)
    service._servers.clients[1].circuit_breaker.open(failure)

    worries = service.condition.degraded()
    assert "server b: the breaker is open: AnythingLLM does not answer" in worries
    assert not any("server a" in each for each in worries)
    page = service._metrics.render().decode()
    assert f'{PREFIX}_breaker_state{{server="b",state="open"}} 1.0' in page
    assert f'{PREFIX}_breaker_state{{server="a",state="open"}} 0.0' in page


async def test_one_blown_fuse_is_a_worry_and_all_of_them_stop_the_work(service: Service) -> None:
    conditions = service.condition._servers
    for number, each in enumerate(conditions, 1):
        for _ in range(50):  # FUSE_MINIMUM
            each.gates.fuse.note(used_up=True, is_trial=False)
        told = [text for text in service.condition.ready() if "most documents fail" in text]
        assert len(told) == (2 if number == len(conditions) else 0)
        assert any("server a: most documents fail" in text for text in service.condition.degraded())


async def test_what_is_remembered_has_one_budget_for_all_servers(service: Service) -> None:
    pipeline = service._pipeline
    assert isinstance(pipeline, ServersPipeline)
    for each in pipeline.pipelines.values():
        assert each._carried_out._most == MOST_REMEMBERED // 2
        assert each.index._max_bytes == service._settings.index.max_bytes // 2


async def test_one_server_has_no_name(tmp_path: Path) -> None:
    service = Service(load_settings({"ANYTHINGLLM_API_KEY": "CANARY"}))
    failure = AnythingLLMError("nobody is there", fault=Fault.THEIRS)
    service._servers.clients[0].circuit_breaker.open(failure)

    assert "the breaker is open: AnythingLLM does not answer" in service.condition.degraded()
    assert f'{PREFIX}_breaker_state{{state="open"}} 1.0' in service._metrics.render().decode()
    assert "server=" not in service._metrics.render().decode()
