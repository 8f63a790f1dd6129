"""The assessor's calls: each with a time limit, a ledger row and a few retries."""

import asyncio
import itertools
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ai.assessor.ports import AssessmentFailedError
from ai.assessor.replies import FaultyReplyError
from ai.assessor.source import Completion, Source
from ai.booking import Booking, Ledger
from ai.budget import Budget, Busy, Refusal, Till
from ai.chunks import Usage
from ai.estimates import Estimates
from ai.failures import BROKEN, CallFailedError, Remedy, is_free, translate
from ai.gate import Gate
from ai.ports import Clock
from ai.provider import Prompt
from ai.retries import OUTAGE_S, SHUN_S, Circuit, delay_before
from ai.settings import AiSettings
from protocol.ledger import CallOutcome, Task

CALLS_AT_ONCE = 32
"""Ratings are no hurry: more than so many calls of an instance wait for each other."""
PASSING_S = 10.0
"""When to ask again where other calls hold the money."""
GATE_S = 20.0
"""How long a call waits at the gate before its job is put back."""
LEARNING = 0.05
"""How much a reply moves the average of what replies take."""
DAY_MS = 86_400_000
MIDNIGHT_S = 60.0
"""Over so long all that waited for the next day of UTC is spread."""

_T = TypeVar("_T")


class Job(Struct):
    """One sample's calls, as the ledger names them."""

    interview_id: str
    user_id: str
    turn: int
    attempt: int
    task: Task
    sampled: bool
    over: bool = False
    """Whether the interview is over: no other call of it is as urgent."""
    calls: int = 0


class Desk:
    """Asks the model, for any number of jobs at once."""

    def __init__(
        self,
        source: Source,
        settings: AiSettings,
        ledger: Ledger,
        clock: Clock,
        budget: Budget,
        *,
        spare: int = 0,
        gate: Gate | None = None,
        circuit: Circuit | None = None,
    ) -> None:
        self._source = source
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._till = Till(
            budget,
            ledger.assumed,
            least=settings.assessor_least_output_tokens,
            most=settings.assessor_output_tokens,
            call_s=settings.assessor_timeout_s,
            gate=gate,
            urgent=False,
        )
        self._spare = spare
        """Money that an interview which goes on needs for other calls."""
        self._circuit = circuit or Circuit(clock)
        self._room = asyncio.Semaphore(CALLS_AT_ONCE)
        self._typical = 0.0
        """How many tokens a reply takes, on average lately."""

    async def ask(self, job: Job, prompt: Prompt, read: Callable[[Completion], _T]) -> _T:
        """Return what ``read`` makes of the model's reply.

        Raises:
            FaultyReplyError: by ``read``; the call's row has its code.
            AssessmentFailedError: no reply could be had.
        """
        for retry in itertools.count():
            code = self._circuit.open()
            if code:
                raise AssessmentFailedError(code, retryable=True, after_s=OUTAGE_S)
            try:
                async with self._room:
                    answer = await self._call(job, prompt, read)
            except CallFailedError as failure:
                delay = self._delay(retry, failure)
                if delay is None:
                    self._circuit.lost(failure)
                    raise given_up(failure) from None
            else:
                self._circuit.succeeded()
                return answer
            await asyncio.sleep(delay)
        raise AssertionError  # the loop is endless

    async def aclose(self) -> None:
        """Close all connections."""
        await self._source.aclose()

    def _delay(self, retry: int, failure: CallFailedError) -> float | None:
        if retry >= self._settings.retries:
            return None
        return delay_before(retry, failure, self._clock.random())

    async def _call(self, job: Job, prompt: Prompt, read: Callable[[Completion], _T]) -> _T:
        spare = 0 if job.over else self._spare
        held = await self._till.hold(job, prompt.size, spare=spare, wait_s=GATE_S)
        if isinstance(held, Busy):
            raise AssessmentFailedError("busy", retryable=True, after_s=PASSING_S)
        if isinstance(held, Refusal):
            raise _unpaid(held, self._clock)
        # From here to the `try` nothing waits: what is held will be settled.
        job.calls += 1
        booking = self._ledger.begin(
            job, job.calls, self._settings.api, job.task, hold=held.hold, slot=held.slot
        )
        prompt = replace(prompt, output_tokens=held.output_tokens)
        row = _Row(booking, self._ledger.estimates, prompt.size, round(self._typical))
        try:
            async with asyncio.timeout(self._settings.assessor_timeout_s):
                completion = await self._source.complete(prompt, sampled=job.sampled)
            row.received(completion)
            self._learn(completion)
            if completion.failure is not None:
                raise completion.failure
            answer = read(completion)
            row.ended("completed", "length" if completion.cut else "")
        except FaultyReplyError as faulty:
            row.ended("completed", faulty.code)
            raise
        except TimeoutError:
            row.ended("failed", "call_timeout")
            raise CallFailedError("call_timeout") from None
        except (CallFailedError, *BROKEN) as error:
            failure = translate(error, self._clock.now(), stored=False)
            row.broke(error, failure)
            raise failure from None  # the provider's own words stay here
        else:
            return answer
        finally:
            row.close()

    def _learn(self, completion: Completion) -> None:
        if completion.usage is not None and completion.failure is None:
            said = completion.usage.output_tokens
            known = self._typical or said
            self._typical = known + LEARNING * (said - known)


class _Row:
    """What is known of a call's end. Without usage it is an estimate, unless nothing was sent.

    A reply that got lost was written, and is paid for: it counts like others.
    """

    def __init__(self, booking: Booking, estimates: Estimates, asked: int, typical: int) -> None:
        self._booking = booking
        self._estimates = estimates
        self._asked = asked
        self._usage: Usage | None = None
        self._estimate = replace(estimates.usage(asked, 0), output_tokens=typical)
        self._outcome: CallOutcome = "aborted"
        self._code = ""

    def received(self, completion: Completion) -> None:
        said = len(completion.text.encode())
        self._usage = completion.usage
        self._estimate = self._estimates.usage(self._asked, said)
        if completion.usage is not None and completion.failure is None:
            self._estimates.learn(self._asked, said, completion.usage)

    def ended(self, outcome: CallOutcome, code: str) -> None:
        self._outcome, self._code = outcome, code

    def broke(self, error: Exception, failure: CallFailedError) -> None:
        self.ended("refused" if failure.code == "refused" else "failed", failure.code)
        if is_free(error):
            self._usage = Usage(0, 0, 0)

    def close(self) -> None:
        usage = self._usage or self._estimate
        self._booking.close(self._outcome, self._code, usage=usage, exact=self._usage is not None)


def _unpaid(refusal: Refusal, clock: Clock) -> AssessmentFailedError:
    if refusal.passing:
        return AssessmentFailedError("budget", retryable=True, after_s=PASSING_S)
    if refusal.scope == "interview":
        return AssessmentFailedError("budget", retryable=False)
    left = (DAY_MS - clock.now() % DAY_MS) / 1000
    after = left + clock.random() * MIDNIGHT_S
    return AssessmentFailedError("day_budget", retryable=True, after_s=after)


def given_up(failure: CallFailedError) -> AssessmentFailedError:
    """Return what a failure that is not retried here means for the rating."""
    match failure.remedy:
        case Remedy.BANK:
            return AssessmentFailedError(failure.code, retryable=False)
        case Remedy.SHUN:
            return AssessmentFailedError(failure.code, retryable=True, after_s=SHUN_S)
        case Remedy.RETRY:
            after = failure.retry_after_s or OUTAGE_S
            return AssessmentFailedError(failure.code, retryable=True, after_s=after)
