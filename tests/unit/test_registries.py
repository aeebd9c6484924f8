"""Words of installers that could not install (uv 0.13, pip 26, npm 11, Maven 3.8)."""

from __future__ import annotations

import pytest

from tests.registries import is_unreachable, skip_or_fail

UNREACHABLE = [
    "error: Request failed after 3 retries in 11.0s\n  cause: error sending request for url\n"
    "  cause: tcp connect error\n  cause: Connection refused (os error 111)",
    "  cause: dns error\n  cause: failed to lookup address information: Name or service not known",
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\n"
    "ERROR: No matching distribution found for confluent-kafka==2.16.1",
    "npm error code: 'ECONNREFUSED',\nnpm error errno: 'ECONNREFUSED',",
    "error code ENOTFOUND\nnpm error syscall getaddrinfo",
    "[ERROR] No plugin found for prefix 'dependency' in the current project and in the plugin "
    "groups available from the repositories",
    "[ERROR] Could not transfer artifact org.apache.kafka:kafka-clients:pom:4.1.1 from/to central",
    "timed out after 120 s",
]
WRONG = [
    "Because there is no version of confluent-kafka==99.1.0 and you require it, we can conclude",
    "ERROR: No matching distribution found for confluent-kafka==99.1.0",
    "npm error code ETARGET\nnpm error notarget No matching version found for quicktype@99.0.0.",
    "Could not resolve dependencies for project example:publisher:jar:1: Could not find artifact "
    "org.apache.kafka:kafka-clients:jar:94.1.1 in central",
]


@pytest.mark.parametrize("said", UNREACHABLE)
def test_without_a_registry_a_test_is_skipped(said: str) -> None:
    """Nothing of ours is wrong."""
    assert is_unreachable(said)
    with pytest.raises(pytest.skip.Exception, match="x can't be installed"):
        skip_or_fail("x", said)


@pytest.mark.parametrize("said", WRONG)
def test_a_version_that_is_not_there_fails_the_test(said: str) -> None:
    """A page of ours names it."""
    assert not is_unreachable(said)
    with pytest.raises(pytest.fail.Exception, match="x can't be installed"):
        skip_or_fail("x", said)
