"""The assessor that asks a model, and believes of its reply only what it can check."""

import structlog

from ai.assessor.case import Case, answer_case, communication_case
from ai.assessor.desk import Desk, Job
from ai.assessor.judging import conclude, nothing_said
from ai.assessor.ports import AssessmentFailedError, RatingRequest
from ai.assessor.prompts import build_prompt, prompt_sha256, repair_prompt
from ai.assessor.replies import FaultyReplyError, Sample, read_reply
from ai.assessor.source import Completion
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

    def __init__(self, desk: Desk, settings: AiSettings, clock: Clock) -> None:
        self._desk = desk
        self._settings = settings
        self._clock = clock

    async def rate(self, request: RatingRequest) -> Rating:
        """See `Assessor.rate`."""
        case = answer_case(request)
        return nothing_said(case, self.method) if case.empty else await self._rate(case)

    async def communication(self, request: RatingRequest) -> Rating | None:
        """See `Assessor.communication`."""
        case = communication_case(request)
        return None if case.empty else await self._rate(case)

    async def aclose(self) -> None:
        """See `Assessor.aclose`."""
        await self._desk.aclose()

    async def _rate(self, case: Case) -> Rating:
        # One after the other: later samples find the prompt in the provider's cache, and a failure
        # spares the rest.
        samples = [await self._sample(case, 1 + n) for n in range(self._settings.assessor_samples)]
        return conclude(
            case,
            samples,
            model=self._settings.assessor_model,
            prompt=prompt_sha256(case.task),
        )

    async def _sample(self, case: Case, number: int) -> Sample:
        canary = f"mark-{sha256(self._clock.nonce())[:24]}"
        job = Job(
            case.interview_id,
            case.user_id,
            turn=case.turns[-1].turn,
            attempt=number,
            task=case.task,
            sampled=self._settings.assessor_samples > 1,
        )
        prompt = build_prompt(case, canary)

        def read(completion: Completion) -> Sample:
            return read_reply(completion.text, case, canary, cut=completion.cut)

        try:
            return await self._desk.ask(job, prompt, read)
        except FaultyReplyError as faulty:
            if faulty.code == "leaked":
                raise self._refused(faulty, job) from None
            again = repair_prompt(prompt, faulty)
        try:
            return await self._desk.ask(job, again, read)
        except FaultyReplyError as faulty:
            raise self._refused(faulty, job) from None

    def _refused(self, faulty: FaultyReplyError, job: Job) -> AssessmentFailedError:
        _log.warning(
            "rating refused", code=faulty.code, interview_id=job.interview_id, turn=job.turn
        )
        return AssessmentFailedError(faulty.code, retryable=False)
