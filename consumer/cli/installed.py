"""Is the extra `service` installed? `AnythingLLMClient` is also used without it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

# The packages of the extra by the names they are imported by. One that went missing later would
# end a command in the middle, with a traceback.
SERVICE = ("aiokafka", "prometheus_client", "rich", "typer")


def missing() -> Sequence[str]:
    """What the commands can't run without and is not here, by the names of imports."""
    return [name for name in SERVICE if find_spec(name) is None]


def what_to_install(absent: Sequence[str]) -> str:
    """One line for whoever called the program."""
    return (
        f"anythingllm-consumer: {', '.join(absent)} not installed: the service and its commands"
        ' need the extra "service": pip install "anythingllm-consumer[service]"'
        ' (from a checkout: pip install ".[service]")'
    )
