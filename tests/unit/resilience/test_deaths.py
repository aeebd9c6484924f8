"""The table of deaths: what counts for whom, and when a unit falls."""

from __future__ import annotations

import math

import pytest

from consumer.model.death_count import DeathCount
from consumer.resilience.death_suspect import DeathRules
from consumer.resilience.deaths import Deaths

SIZE = 100
HALF_HOUR = 1800.0


def _deaths() -> Deaths:
    return Deaths(DeathRules())


def _die(deaths: Deaths, at: float, *names: str, beside: int = 0, is_known: bool = True) -> None:
    """The server dies while these are under way, and so many other requests."""
    for name in names:
        deaths.begun(name, SIZE)
    for name in names:
        deaths.cut_off(name, at, beside + len(names) - 1)
    deaths.died(at, is_known=is_known)
    for name in names:
        deaths.ended(name)


def _all_told(deaths: Deaths) -> bool:
    return deaths.all_told


def _pass(deaths: Deaths, name: str) -> None:
    deaths.begun(name, SIZE)
    deaths.got_through(name)
    deaths.passed(SIZE)
    deaths.ended(name)


def test_a_unit_falls_with_the_fifth_death_over_half_an_hour() -> None:
    """Not with the fourth, and not when they came faster."""
    slow, fast = _deaths(), _deaths()
    for n in range(5):
        assert not slow.falls("k")
        for deaths, at in ((slow, n * HALF_HOUR / 4), (fast, n * 60.0)):
            deaths.passed(SIZE)
            _die(deaths, at, "k")

    assert slow.count("k") == DeathCount(5, 0.0, HALF_HOUR)
    assert slow.falls("k")
    assert fast.count("k") == DeathCount(5, 0.0, 240.0)
    assert not fast.falls("k")


def test_the_pauses_grow_and_the_fifth_comes_after_half_an_hour() -> None:
    """After three it waits minutes; the fifth must not come too early to prove anything."""
    deaths, at, waits = _deaths(), 0.0, []
    for _ in range(4):
        _die(deaths, at, "k")
        deaths.passed(SIZE)
        waits.append(deaths.due("k") - at)
        at = deaths.due("k")

    assert waits == [10.0, 60.0, 600.0, HALF_HOUR - 670.0]


@pytest.mark.parametrize("how", [{"beside": 1}, {"is_known": False}])
def test_a_death_with_anything_else_under_way_counts_for_nothing(how: dict[str, bool]) -> None:
    """Nor one where others may have had something; the pauses grow all the same."""
    deaths = _deaths()
    for n in range(10):
        deaths.passed(SIZE)
        _die(deaths, n * HALF_HOUR, "k", **how)

    assert deaths.count("k") is None
    assert deaths.suspects("k")
    assert deaths.due("k") == 9 * HALF_HOUR + 600


def test_while_others_keep_deaths_from_counting_the_pauses_grow_to_an_hour() -> None:
    """It can't fall, and a server is not to be killed every ten minutes for ever."""
    deaths, at, waits = _deaths(), 0.0, []
    for _ in range(10):
        deaths.passed(SIZE)
        _die(deaths, at, "k", is_known=False)
        waits.append(deaths.due("k", can_count=False) - at)
        at += waits[-1]

    assert waits == [0, 10, 60, 600, 600, 1200, 2400, 3600, 3600, 3600]
    assert deaths.due("k") == at - 3600 + 600
    deaths.passed(SIZE)
    _die(deaths, at, "k")
    assert deaths.due("k", can_count=False) == at + 600


def test_of_several_it_counts_for_the_last_that_is_left() -> None:
    """The others got through since; the first death need not be repeated to be told."""
    deaths = _deaths()
    _die(deaths, 10.0, "a", "k", "b")
    assert all(deaths.suspects(name) for name in "akb")
    assert deaths.due("k") == 10.0
    _pass(deaths, "a")
    assert deaths.count("k") is None
    _pass(deaths, "b")

    assert deaths.count("k") == DeathCount(1, 10.0, 10.0)
    assert not deaths.suspects("a")


def test_what_was_shared_is_counted_beside_later_deaths() -> None:
    """Whichever is told first."""
    deaths = _deaths()
    _die(deaths, 10.0, "a", "k")
    deaths.passed(SIZE)
    _die(deaths, 70.0, "k")
    assert deaths.count("k") == DeathCount(1, 70.0, 70.0)
    _pass(deaths, "a")

    assert deaths.count("k") == DeathCount(2, 10.0, 70.0)


def test_after_a_restart_a_shared_death_counts() -> None:
    """Who the others were is not known any more; nor does it make a unit fall alone."""
    deaths = _deaths()
    _die(deaths, 10.0, "a", "k")
    assert deaths.counts() == dict.fromkeys("ak", DeathCount(1, 10.0, 10.0))
    assert deaths.count("k") is None
    deaths.passed(SIZE)
    _die(deaths, 70.0, "k")
    assert deaths.counts()["k"] == DeathCount(2, 10.0, 70.0)
    after = _deaths()
    after.resumed("k", SIZE, DeathCount(2, 10.0, 70.0))

    assert after.suspects("k")
    assert after.needs_control("k")
    assert after.due("k") == 70.0 + 60.0


def test_without_a_control_between_two_deaths_the_count_begins_anew() -> None:
    """Every text of its length may be deadly; so may be the server for itself."""
    deaths = _deaths()
    _die(deaths, 0.0, "k")
    assert deaths.needs_control("k")
    deaths.passed(SIZE - 1)
    assert deaths.needs_control("k")
    _die(deaths, 60.0, "k")
    assert deaths.count("k") == DeathCount(1, 60.0, 60.0)
    deaths.passed(SIZE)
    assert not deaths.needs_control("k")
    _die(deaths, 120.0, "k")

    assert deaths.count("k") == DeathCount(2, 60.0, 120.0)


def test_a_control_that_never_gets_through_keeps_nobody_waiting_for_ever() -> None:
    """The unit is sent without, and a death begins the count anew."""
    deaths = _deaths()
    _die(deaths, 0.0, "k")
    for _ in range(10):
        assert deaths.needs_control("k")
        deaths.control_failed("k")

    assert not deaths.needs_control("k")


def test_a_control_that_dies_excuses_and_makes_the_next_one_rarer() -> None:
    """Controls that kill would do what they are to prevent; a shorter one says nothing of them."""
    deaths, at, waits = _deaths(), 0.0, []
    _die(deaths, at, "k")
    for _ in range(4):
        deaths.control_died(SIZE, at)
        _die(deaths, at)
        deaths.passed(SIZE - 1)
        waits.append(deaths.due("k") - at)
        at = deaths.due("k")

    assert waits == [10.0, 60.0, 600.0, 600.0]
    assert deaths.count("k") is None
    deaths.passed(SIZE)
    assert deaths.due("k") < at


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b")])
def test_a_death_that_nobody_explains_begins_all_counts_anew(names: tuple[str, ...]) -> None:
    """The server dies without them: nothing was under way, or all of that got through since."""
    deaths = _deaths()
    _die(deaths, 0.0, "k")
    deaths.passed(SIZE)
    _die(deaths, 60.0, *names)
    for name in names:
        assert deaths.count("k") is not None
        _pass(deaths, name)

    assert deaths.count("k") is None
    assert deaths.suspects("k")


def test_deaths_of_another_killer_excuse_nobody() -> None:
    """They are explained, also when that one is given up or taken away."""
    deaths = _deaths()
    _die(deaths, 0.0, "k")
    _die(deaths, 60.0, "other")
    deaths.forget("other")

    assert deaths.count("k") == DeathCount(1, 0.0, 0.0)
    assert deaths.counts().keys() == {"k"}


def test_a_unit_in_doubt_is_a_suspect_until_the_server_died() -> None:
    """The server may be at work on it although its client has left; a dead one is not."""
    deaths = _deaths()
    deaths.left_in_doubt("slow", SIZE, 0.0, until=600.0)
    _die(deaths, 100.0, "k")
    assert deaths.suspects("slow")
    assert deaths.count("k") is None
    _pass(deaths, "slow")
    assert deaths.count("k") == DeathCount(1, 100.0, 100.0)
    deaths.passed(SIZE)
    _die(deaths, 200.0, "k")

    assert deaths.count("k") == DeathCount(2, 100.0, 200.0)


def test_what_is_kept_away_again_and_again_kills_nobody() -> None:
    """A firewall blocks it; as a suspect it would wait for ever, and share others' deaths."""
    deaths = _deaths()
    _die(deaths, 0.0, "blocked", "k")
    for _ in range(3):
        assert deaths.suspects("blocked")
        deaths.kept_away("blocked")

    assert not deaths.suspects("blocked")
    assert deaths.count("k") == DeathCount(1, 0.0, 0.0)


def test_what_is_kept_away_between_two_deaths_stays_a_suspect() -> None:
    """A proxy that answers for a killer now and then would clear it each time."""
    deaths = _deaths()
    for n in range(4):
        deaths.passed(SIZE)
        _die(deaths, n * 600.0, "k")
        deaths.kept_away("k")
        deaths.kept_away("k")

    assert deaths.count("k") == DeathCount(4, 0.0, 1800.0)


def test_what_broke_without_a_death_accuses_nobody() -> None:
    """Something between us and the server cut it off."""
    deaths = _deaths()
    deaths.begun("a", SIZE)
    deaths.cut_off("a", 1.0, 0)
    deaths.dismiss()
    deaths.ended("a")
    _die(deaths, 2.0, "k")

    assert not deaths.suspects("a")
    assert deaths.count("k") == DeathCount(1, 2.0, 2.0)


def test_what_got_through_before_the_death_is_noted_is_no_suspect() -> None:
    """Its answer was on its way. It would leave as a suspect, and take the death along."""
    deaths = _deaths()
    for name in ("k", "answered"):
        deaths.begun(name, SIZE)
    deaths.cut_off("k", 10.0, 1)
    _pass(deaths, "answered")

    assert deaths.died(10.0, is_known=True) == {"k"}
    assert not deaths.suspects("answered")


def test_a_death_that_only_refused_connections_show_counts_for_nobody() -> None:
    """Nobody knows when it was, and what was under way then."""
    deaths = _deaths()
    deaths.begun("a", SIZE)
    deaths.cut_off("a", 1.0, None)
    assert deaths.all_told
    assert deaths.died(1.0, is_known=True) == {"a"}

    assert deaths.count("a") is None
    assert deaths.suspects("a")


def test_all_is_told_when_everything_that_broke_is_noted() -> None:
    """Refused connections may be noted before the upload that broke."""
    deaths = _deaths()
    deaths.begun("a", SIZE)
    deaths.begun("k", SIZE)
    deaths.cut_off("a", 1.0, None)
    assert not _all_told(deaths)
    deaths.cut_off("k", 1.0, 0)
    assert _all_told(deaths)
    assert deaths.died(1.0, is_known=True) == {"a", "k"}
    deaths.ended("a")
    _pass(deaths, "a")

    assert deaths.count("k") == DeathCount(1, 1.0, 1.0)


def test_an_unknown_unit_is_always_due() -> None:
    """Nothing that was never under way in a death is held up."""
    deaths = _deaths()

    assert deaths.due("a") == -math.inf
    assert not deaths.suspects("a")
    assert not deaths.is_to_be_watched(0.0)
    assert deaths.is_idle


def test_a_doubt_is_watched_until_it_is_over() -> None:
    """The server may die of an upload long after its client has left."""
    deaths = _deaths()
    deaths.left_in_doubt("slow", SIZE, 0.0, until=600.0)

    assert deaths.is_to_be_watched(599.0)
    assert not deaths.is_to_be_watched(600.0)


def test_what_may_have_killed_twice_is_outlived_before_others_go_on() -> None:
    """Not after one death: ten uploads that met a restart would stop everything for hours."""
    deaths = _deaths()
    for n in range(2):
        _die(deaths, n * 1000.0, "k")
        deaths.left_in_doubt("k", SIZE, n * 1000.0, until=n * 1000.0 + 600)
        assert deaths.is_to_be_outlived("k", n * 1000.0 + 599) == bool(n)
    assert not deaths.is_to_be_outlived("k", 1600.0)
    deaths.outlived("k")

    assert not deaths.suspects("k")


def test_what_the_server_died_of_was_not_outlived() -> None:
    """With the death the doubt is over, and the suspicion is not."""
    deaths = _deaths()
    deaths.left_in_doubt("k", SIZE, 0.0, until=600.0)
    deaths.cut_off(None, 100.0, 0)
    assert deaths.died(100.0, is_known=True) == {"k"}
    deaths.outlived("k")

    assert deaths.count("k") == DeathCount(1, 100.0, 100.0)


def test_few_suspects_go_alone_at_once_and_many_after_a_second_death() -> None:
    """An ordinary restart under load must not make everything go one by one."""
    deaths = _deaths()
    few, many = [f"f{n}" for n in range(8)], [f"m{n}" for n in range(9)]
    _die(deaths, 0.0, *few)
    assert all(deaths.goes_alone(name) for name in few)
    _die(deaths, 10.0, *many)
    assert not any(deaths.goes_alone(name) for name in many)
    deaths.passed(SIZE)
    _die(deaths, 20.0, *many)

    assert all(deaths.goes_alone(name) for name in many)
    assert not deaths.goes_alone("somebody else")


@pytest.mark.parametrize(
    ("deaths_of", "is_known", "expected"),
    [
        ([["p"]], True, False),
        ([["p"], ["p"]], True, True),
        ([["p", "a"], ["p"]], True, True),
        ([["p", "a"], ["p", "a"]], True, False),
        ([["p", "a"], ["p", "a"], ["p", "a"]], True, True),
        ([["p"], ["p"]], False, False),
        ([["p"], ["p"], ["p"]], False, True),
        ([["a"], ["a"], ["a"]], True, False),
    ],
)
def test_when_a_pack_breaks_up(deaths_of: list[list[str]], is_known: bool, expected: bool) -> None:
    """An ordinary restart is one death, and splits nothing; a killer is not tried for ever."""
    deaths = _deaths()
    for n, names in enumerate(deaths_of):
        deaths.passed(SIZE)
        _die(deaths, 100.0 * n, *names, is_known=is_known)

    assert deaths.breaks_up("p") is expected


def test_one_control_serves_all_suspects_unless_the_server_dies_of_it() -> None:
    """Then each has to show it for its own length."""
    deaths = _deaths()
    for name, size in (("short", 10), ("long", 1_000)):
        deaths.begun(name, size)
        deaths.cut_off(name, 0.0, 1)
    deaths.died(0.0, is_known=True)
    assert deaths.control_size("short") == 1_000
    deaths.control_died(1_000, 5.0)

    assert deaths.control_size("short") == 10


def test_after_a_control_that_failed_each_suspect_has_one_of_its_own_length() -> None:
    """One that is too long for an embedder short of tokens would keep short killers killing."""
    deaths = _deaths()
    for name, size in (("short", 10), ("long", 1_000)):
        deaths.begun(name, size)
        deaths.cut_off(name, 0.0, 1)
    deaths.died(0.0, is_known=True)
    assert not deaths.has_failed_control("short")
    deaths.control_failed("short")

    assert deaths.has_failed_control("short")
    assert (deaths.control_size("short"), deaths.control_size("long")) == (10, 1_000)


def test_deaths_without_controls_come_ever_less_often() -> None:
    """They count for nothing, and a server is not to be killed three times an hour for ever."""
    deaths, at, waits = _deaths(), 0.0, []
    for _ in range(10):
        _die(deaths, at, "k")
        for _ in range(10):
            deaths.control_failed("k")
        waits.append(deaths.due("k") - at)
        at += waits[-1]

    assert waits[-4:] == [1200.0, 2400.0, 3600.0, 3600.0]
    assert not deaths.falls("k")
