"""Does the service work on older Kafka as well? The core of the tests on Kafka, on each version.

``python -m tests.runs.kafka_versions 3.9.2 4.1.2 4.4.0`` is ``make kafka-matrix``. Maven fetches
each version once; ``TEST_KAFKA_VERSION`` names it to the sandbox.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.runs.matrix import REPOSITORY, figures

# What the clients and the brokers have to agree about: reading, publishing, groups, offsets,
# topics, transactions, records that are too large, restarts, and a person's commands.
CORE = tuple(
    f"tests/integration/test_{name}.py"
    for name in (
        "kafka_members",
        "kafka_publisher",
        "kafka_topics",
        "local_kafka",
        "operators",
        "service_documents",
        "service_kafka",
        "service_offsets",
        "service_republished",
        "service_stop",
    )
)
# Brokers before 4 have neither share groups nor, unless asked for, the new consumer protocol.
SINCE_4 = ("tests/integration/test_group_kinds.py",)


def tests_for(version: str) -> tuple[str, ...]:
    """The files of tests that a version is held to."""
    return CORE + SINCE_4 if int(version.partition(".")[0]) >= 4 else CORE


def main(versions: Sequence[str]) -> int:
    """One line for each of them, and what was red before it; 1 where something was."""
    red = 0
    for version in versions:
        began = time.monotonic()
        options = ["-q", "-p", "no:cacheprovider", "-m", "kafka and not slow"]
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests_for(version)],
            cwd=REPOSITORY,
            env={**os.environ, "TEST_KAFKA_VERSION": version},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            red = 1
            print("\n".join(ended.stdout.splitlines()[-100:]), ended.stderr[-2_000:])
        state = "RED" if ended.returncode else figures(ended.stdout)
        print(f"Kafka {version}: {state}, {time.monotonic() - began:.0f} s", flush=True)
    return red


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
