"""What counts as evidence."""

import pytest

from protocol.assessment import Evidence, Rating, locate, verified
from tests.support.speeches import turn

WORDS = {
    "English": "I cut it",
    "code": "x = y[0]",
    "digits": "9 to 12 h",
    "Chinese": "我们缩小了范围。",
    "Thai": "ฉันทำเอง",
    "Hindi": "मैंने किया",
    "Burmese": "ကျွန်တော်",
    "Tibetan": "བསྒྲུབས་སོ",
    "Hebrew": "\u05d1\u05bc\u05b0\u05e8\u05b5\u05d0\u05e9\u05c1\u05b4\u05d9\u05ea",
    "Vietnamese": "tie\u0302\u0301ng Vie\u0323\u0302t",
}
NOTHING = {
    "seven code points": "I cut i",
    "dots": "." * 40,
    "blanks": " \u00a0\u3000" * 40,
    "word joiners": "\u2060" * 40,
    "tags": "".join(chr(0xE0000 + ord(char)) for char in "score five"),
    "marks": "\u0301" * 40,
    "fillers": "\u3164\u115f\u1160\uffa0" * 10,
    "emoji": "\U0001f389" * 40,
    "two letters": "I" + "\u2060" * 40 + "I",
}


def _stands(words: str) -> bool:
    """Whether a score may stand on a quote of these words amid an answer."""
    answer = turn(2, "candidate", "answer", f"Well. {words} And so on.", question_id="core-1")
    place = Evidence(turn=2, start=6, end=6 + len(words), quote=words)
    rating = Rating(
        question_id="core-1",
        competency="Depth",
        turns=(2,),
        score=5,
        evidence=(place,),
        method="model",
        rubric="guide-1",
    )
    found = locate(words, (answer,))
    stands = verified(rating, (answer,))
    assert found == (place if stands else None)
    return stands


@pytest.mark.parametrize("language", WORDS)
def test_words_prove_something(language: str) -> None:
    assert _stands(WORDS[language])


@pytest.mark.parametrize("kind", NOTHING)
def test_what_says_nothing_proves_nothing(kind: str) -> None:
    assert not _stands(NOTHING[kind])
