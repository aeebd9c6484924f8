"""A simulated AnythingLLM 1.16 on a real port, for our tests, the demo and anybody else's tests.

It behaves like recordings of the real server in everything the stream consumer touches: statuses,
bodies, silent failures, the creation race, duplicates. `faults` makes it misbehave on demand,
``vector_db`` chooses the vector database behind it (`vector_databases`).

    async with simulator() as server:
        client = AnythingLLMClient(AnythingLLMConfig(server.endpoint, server.api_key))
        server.faults.embedder_down = True
        server.faults.add("reset-after", path="*/raw-text", times=1)
        ...
        assert server.chunks("docs") == [("source", "text", 1)]

As a process of its own: ``anythingllm-consumer simulate``; then ``/_sim/…`` (`control`) takes the
place of these attributes.
"""

from consumer.sandbox.simulator.damage import Damage
from consumer.sandbox.simulator.fault_rules import Action, FaultKind, Rule
from consumer.sandbox.simulator.faults import Faults
from consumer.sandbox.simulator.journal import Journal
from consumer.sandbox.simulator.model import Costs
from consumer.sandbox.simulator.server import Options, Simulator, StoredChunk, simulator
from consumer.sandbox.simulator.vector_databases import VectorDb

__all__ = [
    "Action",
    "Costs",
    "Damage",
    "FaultKind",
    "Faults",
    "Journal",
    "Options",
    "Rule",
    "Simulator",
    "StoredChunk",
    "VectorDb",
    "simulator",
]
