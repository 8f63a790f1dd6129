"""A run: servers, candidates in interviews on them, and what was recorded."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientError, ClientTimeout, TCPConnector
from aiohttp import ClientSession as Http
from msgspec import Struct

from loadtest.candidate import HTTP_TIMEOUT, bearer
from loadtest.evaluate.author import Author, Scripted, Written
from loadtest.evaluate.bookings import Booking, Selection, Source, book
from loadtest.evaluate.interviewee import Interviewee, private_name
from loadtest.evaluate.personas import PERSONAS
from loadtest.evaluate.purse import Purse
from loadtest.evaluate.recording import Expected, Recording
from loadtest.fakeopenai import Options
from loadtest.processes import SECRET, Served
from loadtest.sources import speaking
from protocol.assessment import Report
from protocol.session import Turn

INTERVIEW_S = 300.0
"""No simulated interview takes longer; one that does is a fault."""
REPORT_S = 120.0
FORM = ClientTimeout(total=60.0)
"""For a report in a form: the first PDF of an instance loads its fonts."""
READS = 3
REVIEWER = "evaluate-reviewer"
BUDGET_USD = 0.10
"""What an interview may cost, where the server is not told otherwise."""
FAST = Options(tokens_per_second=250.0, first_token_s=0.05, script="interviewer")
_SAMPLES = {"VIVA_ASSESSOR_SAMPLES": "3"}


class Deployment(Struct, frozen=True):
    """A server that is judged, and the secret that signs its users' tokens."""

    url: str
    secret: str = SECRET
    expected: Expected = ""


class Provider(Struct, frozen=True):
    """A real model: the settings of the server's own, and of the candidates' author."""

    key: str
    base_url: str
    model: str
    settings: Mapping[str, str] = {}


class Config(Struct, frozen=True, kw_only=True):
    """What is run, on which servers. Money in US dollars."""

    selection: Selection
    seed: int = 1
    at_once: int = 6
    budget_usd: float = 1.0
    """Of a real model: no interview is begun that could cost more than is left."""
    services: Mapping[str, str] = {}
    """``REDIS_URL`` and ``DATABASE_URL`` of the instances that are started."""
    directory: Path = Path()
    deployment: Deployment | None = None
    provider: Provider | None = None
    settings: Mapping[str, str] = {}
    """Further settings of the instances that are started."""
    speech: Options | None = None
    """How the scripted provider speaks; None: as an interviewer, quickly."""


class Evaluation:
    """One run of a `Config`; ``tell`` hears of each recording as it is made."""

    def __init__(self, config: Config, tell: Callable[[Recording | Booking], None]) -> None:
        self.config = config
        self.recordings: list[Recording] = []
        self.left_out: list[Booking] = []
        """For want of money."""
        self.spent_usd = 0.0
        self._purse = Purse(config.budget_usd, BUDGET_USD)
        self._tell = tell
        self._born = 0

    @property
    def bookings(self) -> int:
        """How many interviews there are to be had."""
        sources = self.config.selection.sources
        return sum(len(wave) for s in sources for wave in book(self.config.selection, s))

    async def run(self) -> list[Recording]:
        """Have all interviews, one source after the other."""
        async with Http(connector=TCPConnector(limit=100)) as http:
            for source in self.config.selection.sources:
                async with self._serving(source, http) as (deployment, author):
                    for wave in book(self.config.selection, source):
                        await self._have(http, deployment, author, wave)
        return self.recordings

    @contextlib.asynccontextmanager
    async def _serving(
        self, source: Source, http: Http
    ) -> AsyncGenerator[tuple[Deployment, Author]]:
        """Give a server that speaks so: the one that is judged, or an instance of our own."""
        config = self.config
        author: Author = Scripted(config.seed)
        if source == "model" and config.provider is not None:
            real = config.provider
            author = Written(http, base_url=real.base_url, key=real.key, model=real.model)
        if config.deployment is not None:
            yield config.deployment, author
            return
        async with contextlib.AsyncExitStack() as stack:
            settings: dict[str, str] = {"VIVA_BANK_PACE": "150", **_SAMPLES}
            if source == "fake":
                speech = config.speech or FAST
                spoken, _ = await stack.enter_async_context(speaking("chat", speech))
                settings |= spoken
            elif source == "model" and config.provider is not None:
                settings |= config.provider.settings
                settings["VIVA_BUDGET_DAY_USD"] = str(config.budget_usd)
            instance = Served(
                {
                    **config.services,
                    "VIVA_MAX_INTERVIEWS_PER_USER": "1000",
                    **settings,
                    **config.settings,
                },
                config.directory / f"instance-{source}.log",
            )
            stack.callback(instance.kill)
            await instance.start()
            expected: Expected = "offline" if source == "offline" else "model"
            yield Deployment(instance.url, expected=expected), author

    async def _have(
        self, http: Http, deployment: Deployment, author: Author, wave: list[Booking]
    ) -> None:
        seats = asyncio.Semaphore(self.config.at_once)

        async def one(booking: Booking) -> None:
            async with seats:
                if booking.source == "model" and not await self._purse.hold():
                    self.left_out.append(booking)
                    return
                self._tell(booking)
                recording = await self._interview(http, deployment, author, booking)
                self.recordings.append(recording)
                cost = recording.report.cost_micro_usd / 1e6 if recording.report else 0.0
                self.spent_usd += cost
                if booking.source == "model":
                    await self._purse.settle(cost if recording.report else BUDGET_USD)
                self._tell(recording)

        async with asyncio.TaskGroup() as group:
            for booking in wave:
                group.create_task(one(booking))

    async def _interview(
        self, http: Http, deployment: Deployment, author: Author, booking: Booking
    ) -> Recording:
        self._born += 1
        private = private_name(f"{self.config.seed} {self._born} {booking.name}")
        run = f"{self.config.seed:x}-{int(time.time()):x}"
        candidate = Interviewee(
            http,
            lambda: [deployment.url],
            PERSONAS[booking.persona],
            author,
            name=booking.name,
            user=f"{booking.user}-{run}" if self.config.deployment else booking.user,
            secret=deployment.secret,
            plan=booking.plan(private),
            expected=deployment.expected,
            private=private,
            patient=not self.config.selection.short,
        )
        recording = candidate.recording
        recording.budget_usd = BUDGET_USD
        try:
            async with asyncio.timeout(INTERVIEW_S):
                await candidate.run()
            async with asyncio.timeout(REPORT_S):
                await _complete(recording, candidate, http, deployment)
        except TimeoutError:
            recording.faults.append("it took too long")
        except (ExceptionGroup, ClientError, RuntimeError, msgspec.MsgspecError) as error:
            recording.faults.append(f"the harness failed: {type(error).__name__}: {error}")
        return recording


async def _complete(
    recording: Recording, candidate: Interviewee, http: Http, deployment: Deployment
) -> None:
    """Fetch what is stored: the transcript, and the report in every form."""
    turns = await candidate.transcript()
    recording.turns = msgspec.convert(turns, list[Turn])
    api = f"{deployment.url}/api/interviews/{candidate.interview_id}"
    own = bearer(candidate.user, "candidate", deployment.secret)
    reviewer = bearer(REVIEWER, "reviewer", deployment.secret)
    recording.interview = (await _get(http, api, own))[1]
    status, told = await _get(http, f"{api}/report", reviewer)
    while status == 202:
        await asyncio.sleep(0.25)
        status, told = await _get(http, f"{api}/report", reviewer)
    recording.report_for_candidate, _ = await _get(http, f"{api}/report", own)
    if status != 200:
        recording.report_fault = str(told.get("code") or status)
        return
    try:
        recording.report = msgspec.convert(told, Report)
    except msgspec.ValidationError as error:
        recording.report_fault = f"it does not keep its schema: {error}"
        return
    forms = {
        form: await _read(http, f"{api}/report", reviewer, form, recording)
        for form in ("text/markdown", "text/html", "application/pdf")
    }
    recording.markdown = forms["text/markdown"].decode()
    recording.html = forms["text/html"].decode()
    recording.pdf = forms["application/pdf"]


async def _get(http: Http, url: str, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    async with http.get(url, headers=headers, timeout=HTTP_TIMEOUT) as reply:
        return reply.status, await reply.json(content_type=None)


async def _read(
    http: Http, url: str, headers: Mapping[str, str], form: str, recording: Recording
) -> bytes:
    """Return the report in a form; asked again where the server is busy, as clients do."""
    wanted, status = {**headers, "Accept": form}, 0
    for _ in range(READS):
        async with http.get(url, headers=wanted, timeout=FORM) as reply:
            status = reply.status
            if status == 200:
                return await reply.read()
        if status < 500:
            break
        await asyncio.sleep(1.0)
    recording.faults.append(f"the report as {form} was answered with {status}")
    return b""
