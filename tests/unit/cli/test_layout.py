"""Which columns of a table fit into a line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.cli.tables.layout import GAP, Extent, laid_out, width_of_names

# As `dlq list` has them: place, failed, reason, document, cause.
LETTERS = [
    Extent(9, 6, 6),
    Extent(5, 29, 7),
    Extent(7, 11, 11),
    Extent(8, 20, 20),
    Extent(6, 90, 24, gradual=True),
]


@pytest.mark.parametrize(
    ("room", "widths"),
    [
        (40, (6, 7, None, 20, None)),  # 13 are no room for the reason, but for the time
        (50, (6, 7, 11, 20, None)),
        (70, (6, None, 11, 20, 27)),
        (80, (6, 7, 11, 20, 28)),
        (120, (6, 7, 11, 20, 68)),
        (200, (6, 29, 11, 20, 90)),
        (5, (6, None, None, None, None)),
        (None, (6, 29, 11, 20, 90)),
    ],
)
def test_columns_come_in_by_their_importance(
    room: int | None, widths: tuple[int | None, ...]
) -> None:
    """What has no room is left out, and something smaller may take the place that is left."""
    assert laid_out(LETTERS, room) == widths


def test_of_equals_the_left_one_comes_first() -> None:
    """Plain columns are read from left to right."""
    assert laid_out([Extent(5, 10, 10)] * 3, 25) == (10, 10, None)


@settings(max_examples=40)
@given(
    st.lists(
        st.builds(
            lambda importance, least, more, gradual: Extent(
                importance, least + more, least, gradual=gradual
            ),
            st.integers(1, 9),
            st.integers(1, 60),
            st.integers(0, 60),
            st.booleans(),
        ),
        min_size=1,
        max_size=9,
    ),
    st.integers(1, 200),
)
def test_a_row_is_never_longer_than_the_line(extents: list[Extent], room: int) -> None:
    """But for one column that is too wide by itself; no column is narrower than it may be."""
    widths = laid_out(extents, room)
    kept = [(each, width) for each, width in zip(extents, widths, strict=True) if width is not None]

    assert kept
    assert all(each.least <= width <= each.full for each, width in kept)
    assert all(each.gradual or width in (each.least, each.full) for each, width in kept)
    total = sum(width for _, width in kept) + GAP * (len(kept) - 1)
    assert total <= room or len(kept) == 1
    most = max(each.importance for each in extents)
    assert most in [each.importance for each, _ in kept]


@pytest.mark.parametrize(
    ("lengths", "room", "width"),
    [
        ([], 80, 0),
        ([5, 43], 80, 43),
        ([5, 43, 120], 80, 43),  # one URL of 120 takes no column away from the others
        ([90, 120], 80, 90),
        ([5, 120], None, 120),
    ],
)
def test_a_name_of_extraordinary_length_decides_for_its_row_alone(
    lengths: list[int], room: int | None, width: int
) -> None:
    """Its row is longer than the line: names are never cut."""
    assert width_of_names(lengths, room) == width
