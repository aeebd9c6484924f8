"""Where it goes on when the wanted offset is gone."""

from __future__ import annotations

import pytest

from consumer.kafka.offset_reset import OffsetRange, place_out_of_range


@pytest.mark.parametrize(
    ("setting", "committed", "place"),
    [("earliest", True, 3), ("earliest", False, 3), ("latest", True, 9), ("latest", False, 3)],
)
def test_the_setting_decides_unless_all_is_new(setting: str, committed: bool, place: int) -> None:
    """Kafka forgets what was committed in a topic that is deleted: its successor is all new."""
    assert place_out_of_range(OffsetRange(3, 9), setting, committed=committed) == place


@pytest.mark.parametrize(("position", "unread"), [(1, 3), (3, 3), (5, 5), (9, 9), (10, 3)])
def test_beyond_the_end_nothing_counts_as_read(position: int, unread: int) -> None:
    """What is told as skipped is rather too much than too little: the log is another one."""
    assert OffsetRange(3, 9).first_after(position) == unread
