"""Has wordings made by the model, several lines in a call, and checks each before it is used."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ai.assessor.desk import Desk, Job
from ai.assessor.ports import AssessmentFailedError
from ai.assessor.replies import FaultyReplyError
from ai.assessor.source import Completion, Form, OpenAISource, Source
from ai.bank.echo import clean
from ai.bank.loading import load_bank
from ai.bank.templates import slots
from ai.booking import Ledger
from ai.budget import Budget
from ai.circuits import Circuits
from ai.gate import Gate
from ai.ports import Clock, LedgerSink
from ai.prices import load_prices
from ai.provider import Prompt
from ai.settings import AiSettings
from ai.transcript import fenced
from ai.wording.needs import VARIANTS, Need, Occasion

LINES_AT_ONCE = 8
"""So many lines are asked for in one call."""
LEAST_CHARACTERS = 8
MOST_CHARACTERS = 320
"""A lead, an opening or an invitation longer than this is not used."""
STRETCH = 2.0
"""A question may grow by this, and by `ROOM` code points, when it is worded anew."""
ROOM = 80
OUTPUT_TOKENS = 4_000
LEAST_OUTPUT_TOKENS = 1_000

_ROLE = frozenset(("role",))
_MARKUP = re.compile(r"[*`#_<>\[\]]|https?:")
_MARKS = re.compile(r"[?\uff1f\u061f]")
_ASKING = frozenset(("opening", "invitation"))


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMA = _object(
    {
        "lines": {
            "type": "array",
            "items": _object(
                {
                    "task": {"type": "integer"},
                    "variants": {"type": "array", "items": {"type": "string"}},
                }
            ),
        }
    }
)
FORM = Form("lines", SCHEMA)


class _Wording(Struct, frozen=True, forbid_unknown_fields=True):
    rules: str
    tasks: dict[Occasion, str]


class _Line(Struct, frozen=True, forbid_unknown_fields=True):
    task: int
    variants: tuple[str, ...]


class _Reply(Struct, frozen=True, forbid_unknown_fields=True):
    lines: tuple[_Line, ...]


class Maker:
    """Makes wordings; safe for any number of calls at once. See `build_maker`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def make(
        self, interview_id: str, user_id: str, needs: Sequence[Need]
    ) -> Mapping[str, tuple[str, ...]]:
        """Return wordings by their needs' keys, of those that came out well.

        The interview pays, which is the first that needs them. What was made is paid for, and
        returned, whatever becomes of the calls for the others.

        Raises:
            AssessmentFailedError: the model gave none.
        """
        job = Job(interview_id, user_id, turn=1, attempt=1, task="word", sampled=True)
        made: dict[str, tuple[str, ...]] = {}
        failure: AssessmentFailedError | None = None
        for place in range(0, len(needs), LINES_AT_ONCE):
            part = needs[place : place + LINES_AT_ONCE]
            prompt = build_prompt(part)
            try:
                made |= await self._desk.ask(
                    job, prompt, lambda reply, part=part: read(reply, part)
                )
            except FaultyReplyError as faulty:
                failure = AssessmentFailedError(faulty.code, retryable=False)
            except AssessmentFailedError as error:
                failure = error
                break  # no call can be had now
        if failure is not None and not made:
            raise failure
        return made

    async def aclose(self) -> None:
        """Close all connections."""
        await self._desk.aclose()


def build_maker(
    settings: AiSettings,
    sink: LedgerSink,
    clock: Clock,
    budget: Budget,
    *,
    gate: Gate | None = None,
    source: Source | None = None,
    circuits: Circuits | None = None,
) -> Maker:
    """Return the maker that ``settings`` ask for. Opens no connection."""
    given = replace(
        settings,
        assessor_model=settings.model,
        assessor_output_tokens=OUTPUT_TOKENS,
        assessor_least_output_tokens=LEAST_OUTPUT_TOKENS,
    )
    ledger = Ledger(sink, clock, settings.model, load_prices(settings.prices))
    asked = source or OpenAISource(given, FORM)
    circuit = circuits.of("word", settings.model) if circuits else None
    return Maker(Desk(asked, given, ledger, clock, budget, gate=gate, circuit=circuit))


def build_prompt(needs: Sequence[Need]) -> Prompt:
    """Return the prompt for ``needs``, which it holds and nothing else."""
    told = "\n\n".join(_task(number, need) for number, need in enumerate(needs, 1))
    return Prompt(instructions=_wording().rules, input=told)


def read(completion: Completion, needs: Sequence[Need]) -> dict[str, tuple[str, ...]]:
    """Return the usable variants of a reply, by key.

    Raises:
        FaultyReplyError: there is none.
    """
    try:
        reply = msgspec.json.decode(completion.text, type=_Reply)
    except (ValueError, RecursionError):
        raise FaultyReplyError("cut" if completion.cut else "schema", (), "") from None
    made: dict[str, tuple[str, ...]] = {}
    for line in reply.lines:
        if 1 <= line.task <= len(needs):
            need = needs[line.task - 1]
            cleaned = (clean(text) for text in line.variants)
            good = dict.fromkeys(text for text in cleaned if usable(text, need))
            if good:
                made[need.key] = tuple(good)[: VARIANTS[need.occasion]]
    if not made:
        raise FaultyReplyError("unusable", (), "")
    return made


def usable(text: str, need: Need) -> bool:
    """Whether a variant keeps to its task, as far as that can be told from its form."""
    marks = set(_MARKUP.findall(text)) - set(_MARKUP.findall(need.text))
    if marks or len(text) < LEAST_CHARACTERS:
        return False
    try:
        found = slots(text)
    except ValueError:
        return False
    if need.text:
        most = len(need.text) * STRETCH + ROOM
        asked = max(1, len(_MARKS.findall(need.text)))
        return found == slots(need.text) and len(text) <= most and _asks(text) <= asked
    if len(text) > MOST_CHARACTERS:
        return False
    if need.occasion in _ASKING:
        return found == _ROLE and _asks(text) <= 1
    return not found and not _asks(text)


def _asks(text: str) -> int:
    return len(_MARKS.findall(text))


def _task(number: int, need: Need) -> str:
    kind = load_bank().phrases.kinds[need.type] if need.type else ""
    told = _wording().tasks[need.occasion].format(kind=kind)
    count = VARIANTS[need.occasion]
    many = "one line" if count == 1 else f"{count} variants"
    head = f"Task {number}: {many}, language {need.language}. {told}"
    return f"{head}\n{fenced('question', need.text)}" if need.text else head


@cache
def _wording() -> _Wording:
    data = resources.files("ai.wording").joinpath("wording.toml").read_bytes()
    return msgspec.toml.decode(data, type=_Wording)
