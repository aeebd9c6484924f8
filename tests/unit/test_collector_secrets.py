"""Headers for a collector as the log's mask takes them."""

from __future__ import annotations

from consumer.settings.collector import header_secrets


def test_headers_are_taken_apart_for_the_mask() -> None:
    """As they are written and as they are sent; common words and short ones stay readable."""
    found = header_secrets(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20c2VjcmV0,x=ab",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": '"x-api-key: TOPSECRET"',
            "OTEL_SERVICE_NAME": "what-is-shown",
        }
    )

    assert set(found) == {
        "Authorization=Basic%20c2VjcmV0,x=ab",
        "Authorization=Basic c2VjcmV0,x=ab",
        "Basic%20c2VjcmV0",
        "c2VjcmV0",
        '"x-api-key: TOPSECRET"',
        "TOPSECRET",
    }
