import hashlib
from typing import Any

import pytest

from loadtest.load.check import Seen, faults
from loadtest.load.view import StreamView
from protocol import commands as c
from protocol import events as e
from protocol.text import sha256
from protocol.view import GapError

TYPED = {"a1": c.AnswerSubmit(id="a1", text="[a1] one")}
SPOKEN: dict[str, c.DurableCommand] = {
    "a1-0": c.SpeechFinal(
        id="a1-0", utterance_id="a1-0", revision=1, text="[a1-0] one", start_ms=0
    ),
    "a1-12": c.SpeechFinal(
        id="a1-12", utterance_id="a1-12", revision=1, text="[a1-12] two", start_ms=9
    ),
    "a1": c.AnswerSubmit(id="a1"),
}


def stored(number: int, speaker: str, text: str) -> dict[str, Any]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {
        "turn": number, "speaker": speaker, "text": text, "sha256": digest, "outcome": "final",
    }  # fmt: skip


def seen(turn: dict[str, Any]) -> e.TurnView:
    return e.TurnView(kind="question", started_at=1, ended_at=2, **turn)


TURNS = [stored(1, "interviewer", "Why?"), stored(2, "candidate", "[a1] one")]
TALKED = [TURNS[0], stored(2, "candidate", "[a1-0] one [a1-12] two")]


def found(
    turns: list[dict[str, Any]],
    accepted: dict[str, c.DurableCommand],
    view: list[dict[str, Any]] | None = None,
) -> list[str]:
    shown = [seen(turn) for turn in (turns if view is None else view)]
    return [fault.figure for fault in faults(shown, accepted, turns)]


def test_what_is_whole_has_no_fault() -> None:
    assert found(TURNS, dict(TYPED)) == []
    assert found(TALKED, SPOKEN) == []


def test_what_was_stored_must_not_be_another_one_in_a_later_snapshot() -> None:
    held = Seen()
    held.note(seen(TURNS[0]), 9)
    held.note(seen(TURNS[1]), 12)
    changed = [stored(1, "interviewer", "How?")]
    held.forget(stored=10)
    (known,) = held.turns([seen(turn) for turn in changed])
    assert known.text == "Why?", "the second turn may be gone, the first may not change"
    assert [fault.figure for fault in faults([known], {}, changed)] == ["corrupt"]
    assert [turn.text for turn in Seen().turns([seen(TURNS[0])])] == ["Why?"]


def test_a_lost_answer_is_found() -> None:
    assert found(TURNS[:1], dict(TYPED)) == ["lost"]
    half = [TURNS[0], stored(2, "candidate", "[a1-0] one")]
    assert found(half, SPOKEN) == ["lost"]


def test_an_answer_that_took_effect_twice_is_found() -> None:
    twice = [*TURNS, stored(3, "interviewer", "And?"), stored(4, "candidate", "[a1] one")]
    assert found(twice, dict(TYPED)) == ["doubled"]


def test_an_utterance_of_an_answer_that_was_not_submitted_is_not_missed() -> None:
    assert found(TURNS[:1], {"a1-0": SPOKEN["a1-0"]}) == []


def test_a_turn_of_the_candidate_that_nobody_gave_is_found() -> None:
    foreign = [*TURNS, stored(3, "interviewer", "And?"), stored(4, "candidate", "Not mine.")]
    assert found(foreign, dict(TYPED)) == ["corrupt"]
    assert found([*foreign[:3], {**foreign[3], "outcome": "interrupted"}], dict(TYPED)) == []
    turned = [TURNS[0], stored(2, "candidate", "[a1-12] two [a1-0] one")]
    assert found(turned, SPOKEN) == ["corrupt"], "what was heard stands by its time"
    more = [TURNS[0], stored(2, "candidate", "[a1-0] one [a1-12] two and more")]
    assert found(more, SPOKEN) == ["corrupt"]


def test_a_text_that_is_not_what_was_seen_is_found() -> None:
    assert found(TURNS, dict(TYPED), [stored(1, "interviewer", "Why not?")]) == ["corrupt"]


def test_a_text_that_does_not_match_its_digest_is_found() -> None:
    bad = [{**TURNS[0], "sha256": "0" * 64}, TURNS[1]]
    assert found(bad, dict(TYPED)) == ["corrupt"]


def test_a_turn_that_was_seen_and_is_not_there_is_found() -> None:
    assert found(TURNS, dict(TYPED), [*TURNS, stored(3, "interviewer", "And?")]) == ["lost"]


def test_turns_that_are_doubled_or_missing_are_found() -> None:
    assert found([TURNS[0], TURNS[0], TURNS[1]], dict(TYPED), []) == ["corrupt"]


# --- the view that takes the words ---


def opened() -> StreamView:
    view = StreamView()
    view.apply(
        e.TurnStarted(id="1-1", turn=1, attempt=1, speaker="interviewer", kind="reply", at=1)
    )
    return view


def delta(seq: int, offset: int, text: str, first: int | None = None) -> e.TurnDelta:
    return e.TurnDelta(id=f"{seq}-1", turn=1, attempt=1, offset=offset, text=text, first=first)


def completed(seq: int, text: str) -> e.TurnCompleted:
    return e.TurnCompleted(
        id=f"{seq}-1", turn=1, attempt=1, length=len(text), sha256=sha256(text), outcome="final",
        source="model", at=2,
    )  # fmt: skip


def test_words_are_joined_and_held_against_the_digest() -> None:
    view = opened()
    view.hear(delta(2, 0, "Why "))
    view.hear(delta(3, 4, "日本"))
    view.apply(completed(4, "Why 日本"))
    assert [turn.text for turn in view.turns] == ["Why 日本"]
    assert view.repeats == 0


def test_merged_words_cover_what_they_say() -> None:
    view = opened()
    view.hear(delta(4, 0, "Why?", first=2))
    assert view.head.seq == 4


@pytest.mark.parametrize(
    "next_one",
    [delta(4, 4, "x"), delta(3, 3, "x"), delta(3, 5, "x"), delta(5, 4, "x", first=4)],
)
def test_what_is_missing_is_noticed(next_one: e.TurnDelta) -> None:
    view = opened()
    view.hear(delta(2, 0, "Why?"))
    with pytest.raises(GapError):
        view.hear(next_one)


def test_what_comes_again_is_counted_and_changes_nothing() -> None:
    view = opened()
    view.hear(delta(2, 0, "Why?"))
    view.hear(delta(2, 0, "Why?"))
    view.apply(delta(2, 0, "Why?"))
    view.apply(completed(3, "Why?"))
    view.apply(completed(3, "Why?"))
    assert view.repeats == 3
    assert [turn.text for turn in view.turns] == ["Why?"]


def test_a_reset_voids_the_words_so_far() -> None:
    view = opened()
    view.hear(delta(2, 0, "Wh"))
    view.apply(e.TurnReset(id="3-1", turn=1, attempt=2, reason="instance_lost"))
    view.hear(e.TurnDelta(id="4-1", turn=1, attempt=2, offset=0, text="How?"))
    view.apply(completed(5, "How?"))
    assert [turn.text for turn in view.turns] == ["How?"]
