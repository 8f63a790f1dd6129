"""How much of an answer is looked at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.bank.answers import READ, readable

BLANKS = ("\n", " ", "\t", "\u3000", "\u2028", "\x1f")


def test_what_fits_is_looked_at_whole() -> None:
    assert readable(["I built it.", "And I measured it."]) == "I built it.\nAnd I measured it."


def test_no_word_is_looked_at_in_part() -> None:
    word = "builds "
    assert readable([word * READ]) == (word * (READ // len(word))).strip()


@pytest.mark.parametrize("blank", BLANKS)
def test_words_behind_many_blanks_are_looked_at(blank: str) -> None:
    for blanks in (READ - 5, READ, READ + 1, 2 * READ):
        assert readable([blank * blanks + "I built it."]) == "I built it."
        assert readable([blank * blanks, "I built it."]) == "I built it."


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(("word", "字", "", *BLANKS)), st.integers(0, 2 * READ)),
            max_size=4,
        ).map(lambda runs: "".join(what * times for what, times in runs)),
        max_size=3,
    )
)
def test_whatever_was_said_a_stretch_of_it_is_looked_at(answers: list[str]) -> None:
    said, seen = "\n".join(answers), readable(answers)
    assert seen in said
    assert len(seen) <= READ
    assert bool(seen) == bool(said.strip())
    assert said.lstrip().startswith(seen)
