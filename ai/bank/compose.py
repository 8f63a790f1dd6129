"""What the question bank says in a turn: a function of the interview's finished turns alone.

Any instance, at any attempt, must say the same, because it may have to go on in the middle of a
word that another one began. So nothing here draws on time, on the attempt, or on chance that is not
SHA-256 of the interview's id. What the bank said before is found by going through the turns again:
for each of the interviewer's, what the bank would have said then counts as used, and so does every
question whose words stand in the turn, whoever spoke them.
"""

from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple

from msgspec.structs import replace

from ai.bank.agenda import agenda, rank
from ai.bank.answers import asks_nothing, first_hits, is_unspaced, readable
from ai.bank.echo import SHORTEST, clean, quote
from ai.bank.entries import Probe, Question
from ai.bank.loading import STEM, load_bank
from ai.bank.templates import fill, slots
from ai.bank.uptake import uptake
from ai.lacks import read_answer
from ai.prompts import question_number
from ai.speech import TurnRequest
from protocol.guide import GuideQuestion, Intent
from protocol.plan import Plan
from protocol.probing import Lack, asks_back, intent_of, prepared, recovers
from protocol.scalars import Kind
from protocol.session import Turn


def compose(request: TurnRequest) -> str:
    """Return all of a turn's text: one line, without NUL or lone surrogates.

    Raises:
        ValueError: the turn is the candidate's.
    """
    retelling = _Retelling(request)
    for turn in request.turns:
        retelling.take(turn)
    return retelling.say(request)


def questions_in(turns: Iterable[Turn], role: str) -> frozenset[str]:
    """Return the ids of the bank's questions that stand in an interview's ``turns``.

    Whoever spoke them. ``role`` is that of the interview's plan.
    """
    spoken = clean(role)
    return frozenset(
        question.id
        for turn in turns
        if turn.speaker == "interviewer"
        for question in _heard_in(turn, spoken)
    )


class _Choice(NamedTuple):
    """What the bank says, before its slots are filled.

    ``keys`` name the entries it takes, ``question`` is the one it asks, ``near`` is where the
    answer has what it follows up on, if that is one place, ``echo`` what is said back, if that is
    chosen, ``asked`` what is put again.
    """

    template: str
    keys: tuple[str, ...]
    question: Question | None = None
    topic: str = ""
    near: int | None = None
    echo: str = ""
    asked: str = ""


class _Retelling:
    """The interview so far, as the bank needs to know it: what is used, asked and answered."""

    def __init__(self, request: TurnRequest) -> None:
        bank, plan = load_bank(), request.plan
        self._phrases = bank.phrases
        self._interview_id = request.interview_id
        self._plan = plan
        self._role = clean(plan.role)
        guided = tuple(q.bank_id for q in request.guide.questions) if request.guide else ()
        self._guide = request.guide
        self._agenda = _agenda(request.interview_id, _without_documents(plan), guided)
        self._used: set[str] = set()
        self._asked: dict[str, Question] = {}
        self._open = ""
        """What was asked last, and stays open to who asks back."""
        self._replies = 0
        self._cut: Question | None = None
        self._met: set[str] = set()
        """The questions that were answered in earnest."""
        self._answers: list[str] = []
        # The bank has one language, and tells those who asked for another, once.
        self._noted = plan.language.partition("-")[0].casefold() in {"en", "eng"}

    def take(self, turn: Turn) -> None:
        """Go on by one finished turn."""
        if turn.speaker == "candidate":
            self._answers.append(turn.text)
            if turn.question_id and not self._empty(turn):
                self._met.add(turn.question_id)
            return
        choice = self._choose(turn.turn, turn.kind, turn.question_id, None)
        self._used.update(choice.keys)
        if turn.kind in ("question", "probe"):
            self._open = self._asked_in(turn, choice)
        if turn.kind == "question" and turn.question_id:
            self._take_question(turn, turn.question_id, choice)
        self._noted = self._noted or self._phrases.language_note[:STEM] in turn.text
        if turn.kind == "reply":
            self._replies += 1
            del self._answers[-1:]  # it asked something back
            self._cut = None  # and has heard now what had been cut
        elif turn.kind != "hint":  # an answer goes on behind a hint
            self._answers.clear()

    def say(self, request: TurnRequest) -> str:
        """Return what the bank says in this turn, after all that was taken.

        Raises:
            ValueError: the turn is the candidate's.
        """
        turn, kind, name = request.turn, request.kind, request.question_id
        return self._spoken(self._choose(turn, kind, name, request.intent))

    def _spoken(self, choice: _Choice) -> str:
        values = {"role": self._role, "topic": choice.topic, "asked": choice.asked}
        values["kind"] = self._phrases.kinds[self._plan.type]
        if "echo" in slots(choice.template):
            found = quote(self._answer, choice.near, self._phrases.words)
            values["echo"] = choice.echo or found
        text = fill(choice.template, values)
        return text if self._noted else f"{self._phrases.language_note} {text}"

    def _choose(
        self, turn: int, kind: Kind, question_id: str | None, intent: Intent | None
    ) -> _Choice:
        match kind:
            case "question":
                return self._question(turn, question_id)
            case "probe":
                return self._probe(turn, question_id, intent)
            case "hint":
                return self._hint(turn, question_id)
            case "reply":
                return self._reply(turn, question_id, intent)
            case "closing":
                return self._closing(turn)
            case "answer":
                raise ValueError("the bank does not speak for the candidate")

    def _take_question(self, turn: Turn, question_id: str, choice: _Choice) -> None:
        found = _heard_in(turn, self._role)
        self._used.update(question.id for question in found)
        if choice.question in found:
            self._asked[question_id] = choice.question
        elif found:
            self._asked[question_id] = max(found, key=lambda question: len(question.text))
        self._cut = None
        if turn.outcome == "interrupted":
            whole = self._spoken(choice)
            self._cut = choice.question if whole.startswith(turn.text) else None

    def _asked_in(self, turn: Turn, choice: _Choice) -> str:
        """Return what a turn asked: all of it, also of one that was cut, where that is known."""
        found = _heard_in(turn, self._role)
        if found:
            longest = max(found, key=lambda question: len(question.text))
            return fill(longest.text, {"role": self._role})
        whole, planned = self._spoken(choice), self._planned(turn.question_id)
        if turn.outcome != "interrupted":
            whole = turn.text
        elif not whole.startswith(turn.text):
            whole = planned.text if planned else turn.text
        return " ".join(whole.split())

    def _question(self, turn: int, question_id: str | None) -> _Choice:
        if question_id == "warmup":
            return self._phrase(turn, "warmup", self._phrases.warmup)
        number = question_number(question_id)
        if number is None:
            return self._phrase(turn, "invitation", self._phrases.invitation)
        unused = (question for question in self._agenda if question.id not in self._used)
        question = next(unused, self._agenda[number % len(self._agenda)])
        lead = self._lead(turn, number)
        template, keys = f"{lead.template} {question.text}", (question.id, *lead.keys)
        return _Choice(template, keys, question, echo=lead.echo)

    def _lead(self, turn: int, number: int) -> _Choice:
        if number == 1:
            return self._phrase(turn, "into_core", self._phrases.into_core)
        planned = self._planned(f"core-{number - 1}")
        if recovers(read_answer(self._plan, planned, self._answer)):
            return self._phrase(turn, "onward_blank", self._phrases.onward_blank)
        taken_up = uptake(self._interview_id, number, self._plan, planned, self._answer)
        if taken_up is not None:
            return _Choice(taken_up.template, (), echo=taken_up.echo)
        return self._phrase(turn, "onward", self._phrases.onward)

    def _probe(self, turn: int, question_id: str | None, intent: Intent | None) -> _Choice:
        planned, question = self._planned(question_id), self._asked.get(question_id or "")
        lacks = read_answer(self._plan, planned, self._answer)
        if recovers(lacks):
            return self._back(turn, lacks, question)
        if "focus" in lacks:
            return self._phrase(turn, "long_probes", self._phrases.long_probes)
        intent = intent or intent_of(lacks, self._plan.mode)
        if question is not None:
            own = self._fitting(turn, question.id, question.probes, prepared(planned, intent))
            for choice in own:
                if self._used.isdisjoint(choice.keys):
                    return choice
        others = self._fitting(turn, "probes", self._phrases.probes, prepared(None, intent))
        if not others:
            return self._phrase(turn, "blank_probes", self._phrases.blank_probes)
        unused = (choice for choice in others if self._used.isdisjoint(choice.keys))
        return next(unused, others[0])

    def _back(self, turn: int, lacks: tuple[Lack, ...], question: Question | None) -> _Choice:
        """Return what brings the candidate back to the question."""
        if self._cut is not None:  # the candidate may not have heard what was asked
            name, texts, question = "again", self._phrases.again, self._cut
        elif "answer" in lacks or question is None:
            return self._phrase(turn, "blank_probes", self._phrases.blank_probes)
        elif "courtesy" in lacks:
            name, texts = "rude_probes", self._phrases.rude_probes
        else:
            name, texts = "astray_probes", self._phrases.astray_probes
        lead = self._phrase(turn, name, texts)
        return _Choice(f"{lead.template} {question.text}", lead.keys)

    def _fitting(
        self, turn: int, name: str, probes: tuple[Probe, ...], kinds: tuple[Intent, ...]
    ) -> list[_Choice]:
        """Return the ``probes`` that fit the answer, the best first.

        That is one of the first of the ``kinds``, of these the one the answer has most cues for,
        then what needs no cue and quotes the answer. An assessment gets no other kinds. An insult
        is not said back, nor a word or two: then those are left out that quote.
        """
        found: list[tuple[tuple[int, int, bool, bytes], _Choice]] = []
        rude = bool(first_hits(self._phrases.words.rude, self._answer))
        brief = len(self._answer.split()) < SHORTEST and not is_unspaced(self._answer)
        for place, probe in enumerate(probes):
            if (rude or brief) and "echo" in slots(probe.text):
                continue
            hits, key = first_hits(probe.cues, self._answer), f"{name}/{place}"
            wanted = probe.intent in kinds or self._plan.mode == "practice"
            if wanted and (hits or not probe.cues):
                kind = kinds.index(probe.intent) if probe.intent in kinds else len(kinds)
                quoting = "echo" in slots(probe.text)
                order = (kind, -len(hits), not quoting, rank(self._interview_id, turn, key))
                choice = _Choice(probe.text, (key,), near=min(hits, default=None))
                found.append((order, choice))
        return [choice for _, choice in sorted(found, key=lambda entry: entry[0])]

    def _planned(self, question_id: str | None) -> GuideQuestion | None:
        return self._guide.question(question_id or "") if self._guide else None

    def _hint(self, turn: int, question_id: str | None) -> _Choice:
        hints = self._phrases.hints
        if question_id == "warmup":
            return self._phrase(turn, "hints.warmup", hints.warmup)
        if question_number(question_id) is None:
            return self._phrase(turn, "hints.invitation", hints.invitation)
        question = self._asked.get(question_id or "")
        for place, text in enumerate(question.hints if question else ()):
            key = f"{question_id}/hints/{place}"
            if key not in self._used:
                return _Choice(text, (key,))
        return self._phrase(turn, "hints.any", hints.any)

    def _reply(self, turn: int, question_id: str | None, intent: Intent | None) -> _Choice:
        if question_id != "candidate-questions" or intent is not None:
            answer = readable(self._answers[-1:])
            return self._put_again(read_answer(self._plan, self._planned(question_id), answer))
        replies = self._phrases.replies
        if asks_nothing(self._answer, self._phrases.words):
            return self._phrase(turn, "replies.none", replies.none)
        if self._plan.mode == "practice":
            return self._phrase(turn, "replies.practice", replies.practice)
        return self._phrase(turn, "replies.assessment", replies.assessment)

    def _put_again(self, lacks: tuple[Lack, ...]) -> _Choice:
        """Return what was asked, for who asked back, behind another lead each time."""
        phrases = self._phrases
        leads = phrases.hearing_replies if "hearing" in lacks else phrases.meaning_replies
        lead = leads[(rank(self._interview_id, "again")[0] + self._replies) % len(leads)]
        return _Choice(f"{lead} {{asked}}", (), asked=self._open)

    def _closing(self, turn: int) -> _Choice:
        topics = [self._asked[name].competency for name in self._asked if name in self._met]
        topic = min(topics, key=lambda topic: rank(self._interview_id, turn, topic), default="")
        texts = self._phrases.closing
        fitting = [text for text in texts if ("topic" in slots(text)) == bool(topic)]
        return self._phrase(turn, "closing", fitting)._replace(topic=topic)

    def _phrase(self, turn: int, name: str, texts: Iterable[str]) -> _Choice:
        """Return one of ``texts`` by chance, a new one while there is any."""
        ranked = sorted(
            ((f"{name}/{place}", text) for place, text in enumerate(texts)),
            key=lambda entry: rank(self._interview_id, turn, entry[0]),
        )
        unused = (entry for entry in ranked if entry[0] not in self._used)
        key, text = next(unused, ranked[0])
        return _Choice(text, (key,))

    def _empty(self, turn: Turn) -> bool:
        """Whether there is nothing in an answer to thank for."""
        text = readable([turn.text])
        lacks = read_answer(self._plan, self._planned(turn.question_id), text)
        nothing = "answer" in lacks or asks_back(lacks)
        return nothing or bool(first_hits(self._phrases.words.rude, text))

    @property
    def _answer(self) -> str:
        """What the candidate said since the last question or probe, as far as it is looked at."""
        return readable(self._answers)


@lru_cache(maxsize=256)
def _agenda(interview_id: str, plan: Plan, guided: tuple[str, ...]) -> tuple[Question, ...]:
    """Return the interview's agenda, its guide first; kept, as each of its turns goes through it.

    A question of the guide that the bank does not hold any more is left out: the guide was made by
    another version.
    """
    order = agenda(load_bank(), interview_id, plan)
    known = {question.id: question for question in order}
    first = [known[name] for name in guided if name in known]
    return (*first, *(question for question in order if question not in first))


def _without_documents(plan: Plan) -> Plan:
    """Return ``plan`` without the candidate's papers, which are not to be kept."""
    return replace(plan, job_description=None, resume=None)


def _heard_in(turn: Turn, role: str) -> list[Question]:
    """Return the questions that ``turn`` asks, in the order of their words there."""
    known, text = _by_beginning(), turn.text
    found = (known.get(text[at : at + STEM]) for at in range(len(text) - STEM + 1))
    return [
        question
        for question in found
        if question is not None and _heard(fill(question.text, {"role": role}), turn)
    ]


@cache
def _by_beginning() -> dict[str, Question]:
    questions = chain.from_iterable(load_bank().questions.values())
    return {question.text[:STEM]: question for question in questions}


def _heard(question: str, turn: Turn) -> bool:
    """Whether ``turn`` asks ``question``, or was cut off behind the beginning that is its own."""
    if question in turn.text:
        return True
    if turn.outcome != "interrupted":
        return False
    start = turn.text.find(question[:STEM])
    return start >= 0 and question.startswith(turn.text[start:].rstrip())
