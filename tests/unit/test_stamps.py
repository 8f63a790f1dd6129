"""Replies that tell whether all of them came."""

import pytest

from loadtest.fakeopenai.script import said, stamps
from loadtest.load.check import LONGEST, faults
from loadtest.stamps import STAMP_LENGTH, ages_us, lack_of, last_stamp, now_us, stamp
from protocol.text import sha256

REPLY = " ~000000aa ~000000ab ~000000ab#3"


@pytest.mark.parametrize("length", [1, 2, 60])
def test_what_was_sent_as_a_whole_lacks_nothing(length: int) -> None:
    text = "".join(map(said, stamps(length)))
    assert lack_of(text) == ""
    assert lack_of(text[1:]) == "", "as one that was stripped"
    assert len(ages_us(text, now_us())) == length


@pytest.mark.parametrize("place", range(3))
def test_a_lost_token_is_missed(place: int) -> None:
    tokens = [stamp(), stamp(), last_stamp(3)]
    del tokens[place]
    assert lack_of("".join(tokens))


@pytest.mark.parametrize(
    ("text", "lack"),
    [
        (REPLY, ""),
        (" ~ffffffff ~00000001#2", ""),
        (" ~000000aa ~000000ab#3", "holds 2 tokens of 3"),
        (REPLY[:10] + REPLY, "holds 4 tokens of 3"),
        (REPLY[:-2], "lacks its end"),
        (" ~000000ab ~000000aa#2", "is not in the order in which it was sent"),
        (f"{REPLY} And?", "holds what is no stamp"),
        (" ~000000aa~000000ab#2", ""),
        (" ~000000a ~000000ab#2", "holds what is no stamp"),
        (REPLY + REPLY, "holds what is no stamp"),
    ],
)
def test_what_is_wrong_is_told(text: str, lack: str) -> None:
    assert lack_of(text) == lack


def test_one_that_was_cut_may_lack_its_end() -> None:
    assert lack_of(REPLY[:-2], cut=True) == ""
    assert lack_of(REPLY[10:-1] + "4", cut=True)


def found(text: str, speaker: str = "interviewer", outcome: str = "final") -> list[str]:
    turn = {"turn": 1, "speaker": speaker, "text": text, "sha256": sha256(text), "outcome": outcome}
    return [fault.figure for fault in faults([], {}, [turn])]


def test_a_transcript_has_what_the_provider_sent() -> None:
    assert found(REPLY) == []
    assert found(REPLY[10:]) == ["lost"]
    assert found(REPLY[:-2]) == ["lost"]
    assert found(REPLY[:-2], outcome="interrupted") == []
    assert found("Why?") == [], "the bank's"
    assert found("About ~30 % of what?") == [], "another provider's"
    assert found(REPLY[:10] + "\N{LION FACE}" + REPLY[10:]) == [], "a fault put that in"
    long = " ~000000aa" * (LONGEST // STAMP_LENGTH)
    assert found(long) == []
    assert found(long[10:] + " ~0") == [], "cut amid a stamp"
    assert found(long[:203] + long[207:]) == ["lost"]
    assert found(long[: LONGEST // 2]) == ["lost"]
