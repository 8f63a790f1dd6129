"""An hour of interviews on several instances, with every part that saves or counts money."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from msgspec import Struct
from prometheus_client import CollectorRegistry

from ai.assessor import AssessmentFailedError, Assessor, RatingRequest
from ai.assessor.build import assemble as assemble_assessor
from ai.bank.compose import compose
from ai.bank.guides import plan_guide
from ai.build import assemble
from ai.interviewer import Interviewer
from ai.prices import load_prices
from ai.settings import AiSettings
from ai.speech import AttemptFailedError, TurnRequest
from ai.wording.maker import build_maker
from protocol.commands import AnswerSubmit, Consent, InterviewStart, TurnCancel
from protocol.effects import Keep
from protocol.ledger import LedgerEntry
from protocol.machine import Finished, Input, Lost, Received, transition
from protocol.session import OpenTurn, Session, Turn
from server.budgetbook import BudgetBook
from server.caching import Caching
from server.ids import uuid7
from server.meters import Meters
from server.turnstile import Turnstile
from server.wordings import Wordings
from storage.budgets import Caps
from storage.gate import Limits
from storage.twin.cache import TwinCache
from storage.twin.gate import TwinGate
from tests.simulation.billed import Bill, BilledModel, BilledSource, Faults, Load
from tests.simulation.crowd import answer_of, plan_of
from tests.simulation.purse import TwinBudgets
from tests.support.clocks import LoopClock

INSTANCES = 3
HOUR_S = 3600.0
CALLS = 8
"""Calls of the deployment at once."""
BARGE_IN = 0.05
FAULTS_PERCENT = 10.0
MODEL, FALLBACK, RATER = "gpt-5.4-mini", "gpt-5.4-nano", "gpt-5.4"
CAPS = Caps(interview=100_000, soft=0.8)


class Outcome(Struct):
    """What came of the hour."""

    interviews: int = 0
    turns: Counter[str] = Counter()
    """The interviewer's turns by who spoke them."""
    questions: int = 0
    """Turns that ask a prepared question, open the interview or invite to ask."""
    calls: int = 0
    """Calls to the model for these, and for shared wordings."""
    repeated: int = 0
    """Questions that a user was asked again while others were left."""
    costs: dict[str, int] = {}
    exact: int = 0
    """What the rows cost whose usage the provider told."""
    bills: int = 0
    told: int = 0
    """What of the bills is for calls whose usage the provider told, and was heard."""
    estimates: int = 0
    rows: int = 0
    faulty: int = 0
    most_at_once: int = 0
    waited: int = 0
    rated: int = 0


class _Clock(LoopClock):
    def __init__(self, number: int, draw: random.Random) -> None:
        super().__init__()
        self._number = number
        self._draw = draw

    def now(self) -> int:
        return 1_800_000_000_000 + super().now()

    def random(self) -> float:
        return self._draw.random()

    def nonce(self) -> str:
        return f"{self._number}-{super().nonce()}"


class _Sink:
    def __init__(self) -> None:
        self.rows: list[LedgerEntry] = []

    def record(self, entry: LedgerEntry) -> None:
        self.rows.append(entry)


class _Instance(Struct):
    speaker: Interviewer
    wordings: Wordings
    assessor: Assessor
    turnstile: Turnstile
    book: BudgetBook


class _Ear:
    """Hears a turn, and may interrupt it."""

    def __init__(self, patience: int | None) -> None:
        self.text = ""
        self.interrupted = asyncio.Event()
        self._patience = patience

    def words(self, text: str, handle: str) -> None:
        del handle
        self.text += text
        if self._patience is not None and len(self.text) > self._patience:
            self.interrupted.set()

    async def fallback(self, reason: str) -> None:
        assert reason

    async def low(self) -> None:
        pass


class Hour:
    """All of it. ``cached`` is whether main questions are shared."""

    def __init__(self, seed: int, interviews: int, *, cached: bool = True) -> None:
        self._draw = random.Random(seed)
        self._interviews = interviews
        self._cached = cached
        self._sink = _Sink()
        self._sessions: dict[str, Session] = {}
        self._kinds: dict[tuple[str, int], str] = {}
        self._known: set[str] = set()
        self._jobs: asyncio.Queue[str] = asyncio.Queue()
        self._asked: defaultdict[str, set[str]] = defaultdict(set)
        self._registry = CollectorRegistry()
        prices = load_prices()
        self._load = Load()
        self._bills = {name: Bill(prices[name], self._load) for name in (MODEL, FALLBACK, RATER)}
        self.outcome = Outcome(turns=Counter(), costs={})

    async def run(self) -> Outcome:
        """Play it, and count."""
        instances = self._instances()
        async with asyncio.TaskGroup() as group:
            service = [group.create_task(each.turnstile.run()) for each in instances]
            service += [group.create_task(each.book.run()) for each in instances]
            service += [group.create_task(self._work(each)) for each in instances]
            async with asyncio.TaskGroup() as crowd:
                for number in range(self._interviews):
                    crowd.create_task(self._interview(number, instances))
            for task in service:
                task.cancel()
        return self._counted()

    async def word(self, interview_id: str) -> bool:
        """See `server.wordings.Orders`: a job's name is queued once."""
        if interview_id in self._known:
            return False
        self._known.add(interview_id)
        self._jobs.put_nowait(interview_id)
        return True

    def _instances(self) -> Sequence[_Instance]:
        loop = asyncio.get_running_loop()
        cache = TwinCache(lambda: int(loop.time() * 1e6), 64 * 2**20)
        gate = TwinGate(lambda: int(loop.time() * 1000))
        budgets = TwinBudgets(lambda: int(loop.time() * 1000))
        faults = Faults(random.Random(self._draw.random()), FAULTS_PERCENT)
        meters = Meters(self._registry)
        settings = AiSettings(
            api_key="k", model=MODEL, fallback_models=(FALLBACK,), assessor_model=RATER,
            bank_words_per_second=0,
        )  # fmt: skip
        made: list[_Instance] = []
        for number in range(INSTANCES):
            clock = _Clock(number, random.Random(self._draw.random()))
            caching = Caching(cache, clock, meters)
            book = BudgetBook(budgets, CAPS, clock, meters)
            turnstile = Turnstile(gate, Limits(calls=CALLS), clock, meters)
            lines = BilledSource(self._bills[MODEL], faults, "lines")
            maker = build_maker(settings, self._sink, clock, book, gate=turnstile, source=lines)
            wordings = Wordings(
                cache, caching=caching, orders=self, clock=clock, meter=meters, maker=maker
            )
            models = [
                BilledModel(self._bills[name], faults, random.Random(self._draw.random()))
                for name in (MODEL, FALLBACK)
            ]
            speaker = assemble(
                settings, self._sink, clock, models[0], compose, budget=book, gate=turnstile,
                wordings=wordings if self._cached else None, others=models[1:],
            )  # fmt: skip
            assessor = assemble_assessor(
                settings, self._sink, clock, BilledSource(self._bills[RATER], faults, "rating"),
                budget=book, gate=turnstile,
            )  # fmt: skip
            made.append(_Instance(speaker, wordings, assessor, turnstile, book))
        return made

    async def _work(self, instance: _Instance) -> None:
        """One worker of the job queue."""
        while True:
            name = await self._jobs.get()
            await asyncio.sleep(0.3)
            await instance.wordings.fill(self._sessions[name])
            self._known.discard(name)

    async def _interview(self, number: int, instances: Sequence[_Instance]) -> None:
        draw = random.Random(f"{number} {self._draw.random()}")
        await asyncio.sleep(draw.random() * HOUR_S)
        instance = draw.choice(instances)
        session = self._created(draw)
        if self._cached:
            await instance.wordings.prepare(session)
        await asyncio.sleep(draw.uniform(2, 20))
        session, turns = await self._conducted(session, draw, instances)
        await self._rated(session, turns, instance)
        self.outcome.interviews += 1

    def _created(self, draw: random.Random) -> Session:
        user, plan = f"u{draw.randrange(self._interviews // 2)}", plan_of(draw)
        now = 1_800_000_000_000 + int(asyncio.get_running_loop().time() * 1000)
        interview_id = uuid7(now)
        known = frozenset(self._asked[user]) if plan.mode == "practice" else frozenset[str]()
        guide = plan_guide(interview_id, plan, known)
        names = {question.bank_id for question in guide.questions}
        if plan.mode == "practice":  # an assessment asks everybody the same
            self.outcome.repeated += len(names & self._asked[user])
        assert len(names) == len(guide.questions)
        self._asked[user] |= names
        session = Session(
            interview_id=interview_id, user_id=user, created_at=now, plan=plan, guide=guide
        )
        self._sessions[interview_id] = session
        return session

    async def _conducted(
        self, session: Session, draw: random.Random, instances: Sequence[_Instance]
    ) -> tuple[Session, list[Turn]]:
        turns: list[Turn] = []
        commands = 0

        def apply(happened: Input) -> Session:
            done = transition(session, happened)
            turns.extend(effect.turn for effect in done.effects if isinstance(effect, Keep))
            return done.session

        def now() -> int:
            return session.created_at + int(asyncio.get_running_loop().time() * 1000)

        consent = Consent(version="1", at=now())
        session = apply(Received(command=InterviewStart(id="start", consent=consent), at=now()))
        while (opened := session.open) is not None:
            commands += 1
            if opened.speaker == "candidate":
                await asyncio.sleep(draw.uniform(20, 90))
                answer = AnswerSubmit(id=f"c{commands}", text=answer_of(draw))
                session = apply(Received(command=answer, at=now()))
                continue
            self._kinds[session.interview_id, opened.turn] = opened.kind
            request = _request(session, opened, turns)
            speaker = draw.choice(instances).speaker
            ear = _Ear(draw.randrange(20, 80) if draw.random() < BARGE_IN else None)
            speaking = asyncio.create_task(speaker.speak(request, ear))
            cutting = asyncio.create_task(ear.interrupted.wait())
            await asyncio.wait((speaking, cutting), return_when=asyncio.FIRST_COMPLETED)
            cutting.cancel()
            if not speaking.done():
                speaking.cancel()
                await asyncio.wait((speaking,))
                cut = TurnCancel(id=f"c{commands}", turn=opened.turn, attempt=opened.attempt)
                session = apply(Received(command=cut, at=now(), logged=ear.text))
                self.outcome.turns["interrupted"] += 1
                continue
            try:
                source = speaking.result()
            except AttemptFailedError as failed:
                lost = Lost(
                    turn=opened.turn, attempt=opened.attempt, reason=failed.reason, at=now()
                )
                session = apply(lost)
                continue
            self.outcome.turns[source] += 1
            done = Finished(
                turn=opened.turn, attempt=opened.attempt, text=ear.text, at=now(), source=source
            )
            session = apply(done)
        return session, turns

    async def _rated(self, session: Session, turns: list[Turn], instance: _Instance) -> None:
        assert session.guide is not None
        for question in session.guide.questions[: session.question]:
            said = tuple(turn for turn in turns if turn.question_id == question.question_id)
            request = RatingRequest(
                interview_id=session.interview_id, user_id=session.user_id, plan=session.plan,
                guide=session.guide.version, question=question, turns=said,
            )  # fmt: skip
            for _ in range(20):
                try:
                    await instance.assessor.rate(request)
                except AssessmentFailedError as failed:
                    if not failed.retryable:
                        break
                    await asyncio.sleep(failed.after_s or 5.0)
                else:
                    self.outcome.rated += 1
                    break

    def _counted(self) -> Outcome:
        outcome, costs = self.outcome, Counter[str]()
        for row in self._sink.rows:
            costs[row.interview_id] += row.cost_micro_usd
            paid = row.api not in ("bank", "cache")
            asks = row.task == "speak" and self._kinds[row.interview_id, row.turn] == "question"
            outcome.calls += paid and (asks or row.task == "word")
            outcome.rows += paid
            outcome.estimates += not row.exact
            outcome.exact += row.cost_micro_usd if row.exact else 0
            outcome.faulty += paid and row.outcome in ("failed", "refused", "aborted")
        outcome.questions = sum(kind == "question" for kind in self._kinds.values())
        outcome.costs = dict(costs)
        outcome.bills = sum(bill.cost for bill in self._bills.values())
        outcome.told = sum(bill.told for bill in self._bills.values())
        outcome.most_at_once = self._load.most
        for metric in self._registry.collect():
            for sample in metric.samples:
                if sample.name == "viva_model_gate_total" and sample.labels["how"] == "waited":
                    outcome.waited += int(sample.value)
        return outcome


def _request(session: Session, opened: OpenTurn, turns: list[Turn]) -> TurnRequest:
    return TurnRequest(
        interview_id=session.interview_id,
        user_id=session.user_id,
        turn=opened.turn,
        attempt=opened.attempt,
        kind=opened.kind,
        question_id=opened.question_id,
        phase=session.phase,
        plan=session.plan,
        turns=tuple(turns),
        guide=session.guide,
    )


def percent(part: float, whole: float) -> str:
    """Return a share for people."""
    return f"{100 * part / whole:.1f} %"


def told(outcome: Outcome, title: str) -> str:
    """Return the figures for people."""
    ledger = sum(outcome.costs.values())
    highest, mean = max(outcome.costs.values()), ledger / len(outcome.costs)
    saved = 1 - outcome.calls / outcome.questions
    lines = (
        (
            f"{title}: {outcome.interviews} interviews, turns {dict(outcome.turns)}, "
            f"{outcome.rated} ratings"
        ),
        (
            f"  question turns {outcome.questions}, model calls for them {outcome.calls}: "
            f"saved {percent(saved, 1)}; asked again while others were left: {outcome.repeated}"
        ),
        f"  cost by the ledger: mean ${mean / 1e6:.4f}, most ${highest / 1e6:.4f} an interview",
        (
            f"  ledger ${ledger / 1e6:.4f}, provider's bill ${outcome.bills / 1e6:.4f}, "
            f"difference ${(ledger - outcome.bills) / 1e6:+.6f}; of calls whose usage was told "
            f"${(outcome.exact - outcome.told) / 1e6:+.6f}"
        ),
        (
            f"  {outcome.rows} calls, {percent(outcome.faulty, outcome.rows)} cut, refused or "
            f"aborted, {outcome.estimates} rows are estimates"
        ),
        f"  at most {outcome.most_at_once} calls at once, {outcome.waited} waited at the gate",
    )
    return "\n".join(lines)
