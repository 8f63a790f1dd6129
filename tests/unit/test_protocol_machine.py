"""The state machine by the million, and every pair of state and input.

`VIVA_MACHINE_SEED` repeats a run that failed; pytest shows the seed it printed.
"""

import os
import random
from collections import Counter

from protocol import commands as c
from protocol.machine import (
    STATUSES,
    TABLE,
    Arrived,
    Finished,
    Left,
    Lost,
    Noted,
    Rated,
    Reported,
    Speaking,
    Ticked,
)
from protocol.scalars import Status
from tests.support.walks import walk

TRANSITIONS = 1_000_000
STEPS = 400
"""The longest interview; most end earlier."""
SEED = int(os.environ.get("VIVA_MACHINE_SEED", "1"))

INPUTS: tuple[type, ...] = (
    c.InterviewStart,
    c.SpeechFinal,
    c.AnswerSubmit,
    c.TurnCancel,
    c.HintRequest,
    c.InterviewPause,
    c.InterviewResume,
    c.InterviewEnd,
    Speaking,
    Finished,
    Lost,
    Ticked,
    Left,
    Arrived,
    Noted,
    Rated,
    Reported,
)
_CREATED = "a r r r r r r a i i i ai i i ai i i"
_TALKING = "r air ar air ar ar ar ar ai ai ai ai ai ai ai ai i"
_OVER = "r r r ir r r r r i i i i i i ai ai ai"
PHASES = {
    "consent": _CREATED,
    "warmup": _TALKING,
    "core": _TALKING,
    "candidate_questions": _TALKING,
    "wrap_up": "r r r air r ar ar a i ai ai ai ai ai ai ai i",
    "closed": _OVER,
}
"""What an input can do in each phase: be applied, ignored, refused. Nothing leads to `lobby`."""
STANDING: dict[Status, str] = {
    "created": _CREATED,
    "live": "r air ar air ar a r a ai ai ai ai a i ai ai i",
    "disconnected": "r ar ar ar ar ar r ar i ai ai ai i a ai ai i",
    "paused": "r air ar air r r a a i ai ai ai i i ai ai i",
    "completed": _OVER,
    "abandoned": _OVER,
    "expired": _OVER,
    "terminated": "r r r r r r r r i i i i i i ai ai ai",
}
"""The same by status. What was terminated had no turn yet that could be cancelled too late."""


def found(seen: "Counter[tuple[str, ...]]", state: str) -> str:
    """What the inputs were seen to do, written like the tables above."""
    return " ".join(
        "".join(
            verdict[0]
            for verdict in ("applied", "ignored", "refused")
            if seen[state, kind.__name__, verdict]
        )
        for kind in INPUTS
    )


def test_the_table_answers_every_input_in_every_status() -> None:
    assert set(TABLE) == {(status, kind) for status in STATUSES for kind in INPUTS}
    assert set(STANDING) == set(STATUSES)


def lacks_some(seen: "Counter[tuple[str, ...]]") -> bool:
    """Whether walks may still find what a status allows: few interviews expire, for one."""
    return any(len(found(seen, status)) < len(STANDING[status]) for status in STATUSES)


def test_a_million_transitions() -> None:
    print(f"VIVA_MACHINE_SEED={SEED}")  # noqa: T201  # pytest shows it where the walk fails
    draw = random.Random(SEED)
    seen: Counter[tuple[str, ...]] = Counter()
    made = 0
    while made < TRANSITIONS or (made < 2 * TRANSITIONS and lacks_some(seen)):
        made += walk(draw, seen, STEPS)
    assert {phase: found(seen, phase) for phase in PHASES} == PHASES
    for status in STATUSES:
        assert found(seen, status) == STANDING[status], status
        for kind in INPUTS:
            for target in TABLE[status, kind].leads_to:
                assert seen[status, kind.__name__, target], "an edge that nobody walked"


def test_small_walks_find_every_pair() -> None:
    """Every pair needs no luck: a thousand short interviews are enough."""
    draw = random.Random(SEED)
    seen: Counter[tuple[str, ...]] = Counter()
    for _ in range(1_000):
        walk(draw, seen, 120)
    pairs = {(state, kind) for state, kind, *_ in seen}
    assert pairs >= {(phase, kind.__name__) for phase in PHASES for kind in INPUTS}
