"""The collector by OpenTelemetry's own variables: its address, and its headers for the mask."""

from __future__ import annotations

import pytest

from consumer.settings.collector import address_in, header_secrets


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


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"ENDPOINT": "https://c.example:4318/"}, "https://c.example:4318/v1/traces"),
        ({"ENDPOINT": "http://c/otlp"}, "http://c/otlp/v1/traces"),
        ({"ENDPOINT": "http://a", "TRACES_ENDPOINT": "http://b/x"}, "http://b/x"),
        ({"TRACES_ENDPOINT": "http://us:TOPSECRET@b/x?key=TOPSECRET"}, "http://b/x"),
        ({"ENDPOINT": "", "PROTOCOL": "HTTP/protobuf"}, "http://localhost:4318/v1/traces"),
        (
            {"PROTOCOL": "grpc", "TRACES_PROTOCOL": "http/protobuf"},
            "http://localhost:4318/v1/traces",
        ),
    ],
)
def test_the_address_is_the_one_that_the_exporter_takes(
    given: dict[str, str], address: str
) -> None:
    """Without what of it may be secret."""
    assert address_in({f"OTEL_EXPORTER_OTLP_{name}": given[name] for name in given}) == address


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROTOCOL", "grpc"),
        ("TRACES_PROTOCOL", "http/json"),
        ("ENDPOINT", "collector:4318"),
        ("ENDPOINT", "grpc://collector:4317"),
        ("TRACES_ENDPOINT", "http://:4318"),
        ("ENDPOINT", "  "),
        ("ENDPOINT", "http://[::1"),
        ("ENDPOINT", "http://c:99999"),
    ],
)
def test_what_leads_nowhere_names_its_variable(name: str, value: str) -> None:
    variable = f"OTEL_EXPORTER_OTLP_{name}"
    with pytest.raises(ValueError, match=f"^{variable} ") as wrong:
        address_in({variable: value})
    assert value not in str(wrong.value)
