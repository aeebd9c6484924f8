"""Control texts: as heavy as what they are compared with, and never a part of it."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.pipeline.control_text import control_text, kind_of

SAMPLES = {
    "prose": "The quick brown fox jumps over the lazy dog, and nobody minds it much. " * 40,
    "code": "def f(x): return {'A1': [0x1F, 42]}; PRINT(F(X9))\n" * 40,
    "base64": "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24" * 40,
    "cyrillic": "Съешь же ещё этих мягких французских булок да выпей чаю " * 40,
    "chinese": "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏" * 40,
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر " * 40,
}


@given(text=st.text(min_size=1, max_size=400), length=st.integers(1, 9_000), variant=st.integers(0))
def test_it_has_the_length_is_never_blank_and_can_be_sent(
    text: str, length: int, variant: int
) -> None:
    """Whatever it is compared with, lone surrogates and control characters included."""
    control = control_text(length, kind_of(text), variant)

    assert len(control) == length
    assert control.strip()
    assert not control[-1].isspace()
    control.encode()
    assert all(unicodedata.category(ch)[0] in "LNPZ" for ch in control)


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_made_of_the_same_scripts(name: str) -> None:
    """A text of a thousand Chinese characters has four times the tokens of one in English."""
    text = SAMPLES[name]
    control = control_text(len(text), kind_of(text), 7)

    assert len(control.encode()) == pytest.approx(len(text.encode()), rel=0.15)
    assert {name for name, _ in kind_of(control).shares} == {
        name for name, _ in kind_of(text).shares
    } or kind_of(text).is_prose
    assert kind_of(control).is_prose is kind_of(text).is_prose


@pytest.mark.parametrize("name", SAMPLES)
def test_it_holds_nothing_of_the_text(name: str) -> None:
    """A secret in a document must not come back in a test document of a workspace."""
    text = SAMPLES[name]
    control = control_text(len(text), kind_of(text), 3)

    assert not any(text[at : at + 12] in control for at in range(len(text) - 12))


def test_it_depends_on_length_kind_and_variant_alone() -> None:
    """Two texts of one kind have one control; a cache sees another one each time."""
    one, other = kind_of(SAMPLES["prose"]), kind_of("some other words that are much like it here")
    assert one == other
    assert control_text(900, one, 1) == control_text(900, other, 1)
    assert len({control_text(900, one, variant) for variant in range(50)}) == 50


@pytest.mark.parametrize("text", ["f(x); a[0] = {'b': -1} // c" * 20, "-----", "../../etc/; --"])
def test_no_two_signs_stand_side_by_side(text: str) -> None:
    """Firewalls look for such sequences: a control that has them would be blocked as well."""
    for variant in range(20):
        made = control_text(500, kind_of(text), variant)
        signs = [not ch.isalnum() and not ch.isspace() for ch in made]

        assert any(signs)
        assert not any(one and other for one, other in pairwise(signs))
