from __future__ import annotations

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig
from consumer.pipeline.ports import Storage


def _as_the_journey_sees_it(client: AnythingLLMClient) -> Storage:
    """The type checker holds this: the rooms know each other only through the protocol."""
    return client.storage


def test_the_client_offers_what_the_journey_needs() -> None:
    """Every method of the protocol is there under its name."""
    storage = _as_the_journey_sees_it(AnythingLLMClient(AnythingLLMConfig("http://host", "key")))
    wanted = [name for name in vars(Storage) if not name.startswith("_")]

    assert wanted
    assert all(callable(getattr(storage, name)) for name in wanted)
