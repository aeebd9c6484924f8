"""Who may see the status page: a table of visitors."""

from __future__ import annotations

import pytest

from consumer.admin.guard import PageRefusal, PageRules, Visitor, prefers_json, refusal_of

HERE = ("127.0.0.1", "127.0.0.1")
LOOPBACK = PageRules()
ON = PageRules("on", ["status.example", "10.0.0.5"])


@pytest.mark.parametrize(
    ("ends", "page", "expected"),
    [
        (HERE, "loopback", None),
        (("127.8.8.8", "127.0.0.1"), "loopback", None),
        (("::1", "::1"), "loopback", None),
        (("::ffff:127.0.0.1", "::ffff:127.0.0.1"), "loopback", None),
        (("10.0.0.9", "10.0.0.5"), "loopback", PageRefusal.HIDDEN),
        (("10.0.0.9", "127.0.0.1"), "loopback", PageRefusal.HIDDEN),
        (("127.0.0.1", "10.0.0.5"), "loopback", PageRefusal.HIDDEN),
        (("::ffff:10.0.0.9", "::1"), "loopback", PageRefusal.HIDDEN),
        (("", None), "loopback", PageRefusal.HIDDEN),
        ((None, None), "loopback", PageRefusal.HIDDEN),
        (("10.0.0.9", "10.0.0.5"), "on", None),
        ((None, None), "on", None),
        (HERE, "off", PageRefusal.HIDDEN),
    ],
)
def test_it_is_there_for_the_loopback_interface(
    ends: tuple[str | None, ...], page: str, expected: PageRefusal | None
) -> None:
    """Both ends of the connection, unless the setting says otherwise."""
    assert refusal_of(Visitor(ends, ["localhost:8080"]), PageRules(page)) is expected


def test_what_a_proxy_passes_on_is_not_from_here() -> None:
    """It comes over loopback all the same, from anywhere."""
    visitor = Visitor(HERE, ["localhost"], is_forwarded=True)
    assert refusal_of(visitor, LOOPBACK) is PageRefusal.HIDDEN
    assert refusal_of(visitor, PageRules("on")) is None


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["localhost"], None),
        (["LOCALHOST.:8080"], None),
        (["127.0.0.1:65535"], None),
        (["[::1]:8080"], None),
        (["status.example:8080"], None),
        (["10.0.0.5"], None),
        (["evil.example"], PageRefusal.STRANGE_NAME),
        (["status.example.evil.example"], PageRefusal.STRANGE_NAME),
        (["localhost.evil.example:8080"], PageRefusal.STRANGE_NAME),
        (["0.0.0.0:8080"], PageRefusal.STRANGE_NAME),
        (["127.0.0.1.nip.io"], PageRefusal.STRANGE_NAME),
        ([], PageRefusal.NO_NAME),
        ([""], PageRefusal.NO_NAME),
        (["localhost", "localhost"], PageRefusal.NO_NAME),
        (["localhost:8080:80"], PageRefusal.NO_NAME),
        (["user@localhost"], PageRefusal.NO_NAME),
        (["localhost/"], PageRefusal.NO_NAME),
        (["localhost\t"], PageRefusal.NO_NAME),
        (["локалхост"], PageRefusal.NO_NAME),
        (["localhost" * 1000], PageRefusal.NO_NAME),
        (["<script>"], PageRefusal.NO_NAME),
    ],
)
def test_it_is_asked_for_by_a_name_of_ours(hosts: list[str], expected: PageRefusal | None) -> None:
    """A page whose name was made to lead here asks by its own."""
    assert refusal_of(Visitor(HERE, hosts), ON) is expected


@pytest.mark.parametrize(
    ("site", "may_be_linked", "expected"),
    [
        (None, False, None),
        ("none", False, None),
        ("same-origin", False, None),
        ("same-site", False, PageRefusal.NOT_SAME_ORIGIN),
        ("cross-site", False, PageRefusal.NOT_SAME_ORIGIN),
        ("junk", False, PageRefusal.NOT_SAME_ORIGIN),
        ("cross-site", True, None),
    ],
)
def test_pages_elsewhere_get_nothing_but_a_link(
    site: str | None, may_be_linked: bool, expected: PageRefusal | None
) -> None:
    """They could not read it, and would use up the streams."""
    visitor = Visitor(HERE, ["localhost"], site=site, may_be_linked=may_be_linked)
    assert refusal_of(visitor, LOOPBACK) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("application/json", True),
        ("Application/JSON ; q=0.9, text/html;q=0.8", True),
        ("application/json;q=0.5, text/html", False),
        ("application/json, text/html", False),
        ("application/json;q=0", False),
        ("application/json;q=nan", False),
        ("application/json;q=" + "9" * 10_000, False),
        (",,;;q=", False),
    ],
)
def test_json_is_for_who_asks_for_it(accept: str, expected: bool) -> None:
    """And the page for who asks for that, or for nothing."""
    assert prefers_json(accept) is expected
