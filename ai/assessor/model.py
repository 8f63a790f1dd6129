"""The assessor that asks a model, and believes of its reply only what it can check.

A reply that came by a batch goes through the same reading as one that came live; what is to be
mended is always asked for live.
"""

from collections.abc import Callable

import structlog

from ai.assessor.case import Case, answer_case, communication_case
from ai.assessor.desk import Desk, Job, given_up
from ai.assessor.judging import conclude, nothing_said
from ai.assessor.ports import AssessmentFailedError, RatingRequest
from ai.assessor.prompts import build_prompt, prompt_sha256, repair_prompt
from ai.assessor.replies import FaultyReplyError, Sample, read_reply
from ai.assessor.source import Completion, read_body
from ai.assessor.waiting import DeferredError, Found, Parked, Shelf
from ai.failures import CallFailedError, Remedy
from ai.ports import Clock
from ai.settings import AiSettings
from protocol.assessment import Method, Rating
from protocol.text import sha256

_log = structlog.get_logger()


class ModelAssessor:
    """See `ai.assessor.ports.Assessor`. Made by `ai.assessor.build.build_assessor`.

    A reply that breaks a rule is asked for once more, told what was wrong; if that breaks one, too,
    there is no rating.
    """

    method: Method = "model"

    def __init__(
        self, desk: Desk, settings: AiSettings, clock: Clock, shelf: Shelf | None, *, parks: bool
    ) -> None:
        """Without ``parks`` what is on the ``shelf`` is still taken from there."""
        self._desk = desk
        self._settings = settings
        self._clock = clock
        self._shelf = shelf
        self._parks = parks

    async def rate(self, request: RatingRequest) -> Rating:
        """See `Assessor.rate`."""
        case = answer_case(request)
        if case.empty:
            return nothing_said(case, self.method)
        return await self._rate(case, deferrable=request.deferrable)

    async def communication(self, request: RatingRequest) -> Rating | None:
        """See `Assessor.communication`."""
        case = communication_case(request)
        return None if case.empty else await self._rate(case, deferrable=request.deferrable)

    async def aclose(self) -> None:
        """See `Assessor.aclose`."""
        await self._desk.aclose()

    async def _rate(self, case: Case, *, deferrable: bool) -> Rating:
        found = await self._found(case) if deferrable and self._shelf is not None else {}
        # One after the other: later samples find the prompt in the provider's cache, and a failure
        # spares the rest.
        samples = [await self._sample(case, n, found.get(n)) for n in self._numbers]
        _, first = samples[0]
        return conclude(
            case,
            [sample for sample, _ in samples],
            model=first.model if first else self._settings.assessor_model,
            prompt=first.prompt_sha256 if first else prompt_sha256(case.task),
        )

    @property
    def _numbers(self) -> range:
        return range(1, 1 + self._settings.assessor_samples)

    # --- ratings that may wait --------------------------------------------------------------------

    async def _found(self, case: Case) -> dict[int, Found]:
        """Return the replies that came for the case, by the sample.

        Raises:
            DeferredError: some are waited for; all that were missing are parked by now.
        """
        assert self._shelf is not None  # noqa: S101 - asked before
        known = await self._shelf.find(case.interview_id, case.question.question_id)
        by_sample = {found.sample: found for found in known}
        missing = [n for n in self._numbers if n not in by_sample]
        if missing and self._parks:
            await self._shelf.park([self._parked(case, n) for n in missing])
            raise DeferredError
        if any(found.pending for found in known):
            raise DeferredError
        return {n: found for n, found in by_sample.items() if found.reply is not None}

    def _parked(self, case: Case, number: int) -> Parked:
        canary = self._canary()
        prompt = build_prompt(case, canary)
        return Parked(
            interview_id=case.interview_id,
            question_id=case.question.question_id,
            sample=number,
            task=case.task,
            turn=case.turns[-1].turn,
            sampled=self._settings.assessor_samples > 1,
            api=self._settings.api,
            model=self._settings.assessor_model,
            canary=canary,
            prompt_sha256=prompt_sha256(case.task),
            instructions=prompt.instructions,
            input=prompt.input,
        )

    async def _given(
        self, found: Found, case: Case, read: Callable[[Completion], Sample]
    ) -> Sample | None:
        """Return what a reply of a batch says; None where a live call may do better.

        Raises:
            FaultyReplyError: by ``read``; the call's row has its code.
            AssessmentFailedError: the model refused.
        """
        assert self._shelf is not None and found.reply is not None  # noqa: S101, PT018
        try:
            completion = read_body(found.reply, found.api)
            if completion.failure is not None:
                raise completion.failure
        except CallFailedError as failure:
            if failure.remedy is Remedy.BANK:
                raise given_up(failure) from None
            return None
        try:
            return read(completion)
        except FaultyReplyError as faulty:
            await self._shelf.faulty(found, case.interview_id, faulty.code)
            raise

    # --- one sample -------------------------------------------------------------------------------

    async def _sample(
        self, case: Case, number: int, found: Found | None
    ) -> tuple[Sample, Found | None]:
        """Return a sample, and the parked call that gave it, where it was not made live."""
        canary = self._canary() if found is None else found.canary
        job = Job(
            case.interview_id,
            case.user_id,
            turn=case.turns[-1].turn,
            attempt=number,
            task=case.task,
            sampled=self._settings.assessor_samples > 1,
            over=case.over,
            calls=0 if found is None else 1,
        )
        prompt = build_prompt(case, canary)

        def read(completion: Completion) -> Sample:
            return read_reply(completion.text, case, canary, cut=completion.cut)

        try:
            given = None if found is None else await self._given(found, case, read)
            if given is not None:
                return given, found
            return await self._desk.ask(job, prompt, read), None
        except FaultyReplyError as faulty:
            if faulty.code == "leaked":
                raise self._refused(faulty, job) from None
            again = repair_prompt(prompt, faulty)
        try:
            return await self._desk.ask(job, again, read), None
        except FaultyReplyError as faulty:
            raise self._refused(faulty, job) from None

    def _canary(self) -> str:
        return f"mark-{sha256(self._clock.nonce())[:24]}"

    def _refused(self, faulty: FaultyReplyError, job: Job) -> AssessmentFailedError:
        _log.warning(
            "rating refused", code=faulty.code, interview_id=job.interview_id, turn=job.turn
        )
        return AssessmentFailedError(faulty.code, retryable=False)
