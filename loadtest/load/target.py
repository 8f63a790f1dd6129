"""The deployment under load: one that is there, or servers of this run's own."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from loadtest.load.api import Api, ApiError
from loadtest.load.keys import Keys
from loadtest.load.scenario import Provider, Scenario
from loadtest.load.scrape import Reading, Scraper, changed
from loadtest.processes import (
    SECRET,
    ProcessError,
    Served,
    fake_provider,
    services,
)

MODEL = "load"
_UNLIMITED = {
    "VIVA_MAX_INTERVIEWS_PER_USER": "10000",
    "VIVA_BUDGET_INTERVIEW_USD": "0",
    "VIVA_BUDGET_USER_DAY_USD": "0",
    "VIVA_LOG_LEVEL": "warning",
    # Each turn is the model's own: shared wordings would spare it what is to be measured.
    "VIVA_QUESTION_CACHE": "0",
}

BILL_S = 10.0
CALM_S = 15.0
"""How long turns may go on that nobody listens to, where that cannot be seen."""
LONGEST_S, LOOK_S = 60.0, 1.0
TRIES = 8
NAME_THEM = "name each instance's own with --metrics"


class TargetError(Exception):
    """A deployment cannot be loaded; the message says why, and what to do."""


class Target(Struct, kw_only=True):
    """Where the load goes. What is empty belongs to somebody else."""

    keys: Keys
    metrics: Sequence[str] = ()
    """Addresses of the instances whose `/metrics` is read."""
    no_metrics: str = ""
    """Why there are none of these, where that is so."""
    served: list[Served] = []
    provider_url: str = ""
    mark: str = ""
    """What the command lines of the run's own servers hold."""
    pids: Mapping[str, int] = {}
    redis_url: str = ""
    database_url: str = ""

    @property
    def foreign(self) -> bool:
        """Whether it was there before the run, and stays."""
        return not self.served

    async def calm(self) -> None:
        """Wait until nobody is spoken to: what a run leaves behind is no load of the next one."""
        if not self.provider_url:
            await asyncio.sleep(CALM_S)
            return
        for _ in range(round(LONGEST_S / LOOK_S)):
            if not (await self.bill()).get("running"):
                return
            await asyncio.sleep(LOOK_S)

    async def bill(self) -> dict[str, Any]:
        """Return what the fake provider delivered, nothing where there is none or it is gone."""
        if not self.provider_url:
            return {}
        address = f"{self.provider_url.removesuffix('/v1')}/_control/totals"
        limit = aiohttp.ClientTimeout(total=BILL_S)
        try:
            async with aiohttp.ClientSession(timeout=limit) as http, http.get(address) as reply:
                totals: dict[str, Any] = await reply.json()
        except (aiohttp.ClientError, TimeoutError):  # what was measured is worth more than this
            return {}
        return totals


@contextlib.asynccontextmanager
async def started(scenario: Scenario, directory: Path) -> AsyncGenerator[Target]:
    """Start services, a provider and instances; end them behind the run.

    Raises:
        ProcessError: one of them does not start.
    """
    async with contextlib.AsyncExitStack() as stack:
        urls = await stack.enter_async_context(services(directory / "services", "--socket"))
        settings = {**urls, **_UNLIMITED}
        url, pids = "", dict[str, int]()
        if scenario.provider.source == "fake":
            url, pids["provider"] = await stack.enter_async_context(_provider(scenario))
            settings |= _of_provider(scenario.provider, url)
        settings |= scenario.server.settings
        served = [
            Served(settings, directory / f"instance-{place}.log")
            for place in range(scenario.server.instances)
        ]
        stack.callback(_end, served)
        await asyncio.gather(*(one.start() for one in served))
        addresses = [one.url for one in served]
        yield Target(
            keys=Keys(urls=addresses, secret=SECRET),
            metrics=addresses,
            served=served,
            provider_url=url,
            mark=str(directory),
            pids=pids,
            redis_url=urls["REDIS_URL"],
            database_url=urls["DATABASE_URL"],
        )


async def found(keys: Keys, metrics: Sequence[str] = ()) -> Target:
    """Return a deployment that is there, once it was seen to answer and to let users in.

    ``metrics`` are the addresses of its instances; where none is given, those that take the load
    are tried, and left alone where more than one instance answers at one.

    Raises:
        TargetError: it does not answer, or takes nobody in.
    """
    for url in keys.urls:
        await _asked("--url", url, "/health/live")
        await _asked("--url", url, "/api/me", keys.headers("look"))
    for url in metrics:
        if b"viva_" not in await _asked("--metrics", url, "/metrics"):
            raise TargetError(f"--metrics {url} has no metrics of viva at /metrics.")
    if metrics:
        return Target(keys=keys, metrics=list(dict.fromkeys(metrics)))
    addresses = list(dict.fromkeys(keys.urls))
    several = await _several(addresses)
    return Target(keys=keys, metrics=() if several else addresses, no_metrics=several)


async def _several(urls: Sequence[str]) -> str:
    """Return why the metrics at these addresses are not one instance's each, if they are not."""
    first = Reading()
    for attempt in range(TRIES):
        scraper = Scraper(urls)  # with connections of its own, each of which is balanced anew
        reading = await scraper.read()
        scraper.close()
        if reading.answered < len(urls):
            return f"/metrics does not answer there: {NAME_THEM}"
        if attempt and changed(first, reading):
            return f"more than one instance answers at an address: {NAME_THEM}"
        first = reading
    return ""


async def _asked(option: str, url: str, path: str, headers: bytes = b"") -> bytes:
    api = Api([url])
    try:
        return (await api.ask(0, "GET", path, headers)).body
    except ApiError as error:
        if headers and error.status in (401, 403):
            raise TargetError(
                f"{option} {url} lets nobody in ({error.status}): VIVA_JWT_SECRET has to be the"
                " deployment's own, or --token one that it takes."
            ) from None
        raise TargetError(f"{option} {url} does not serve viva: {error}") from None
    finally:
        api.close()


def _of_provider(provider: Provider, url: str) -> dict[str, str]:
    prices = "/".join(f"{price:g}" for price in provider.usd_per_million)
    return {
        "OPENAI_API_KEY": "a key of the fake",
        "OPENAI_BASE_URL": url,
        "VIVA_MODEL": MODEL,
        "VIVA_ASSESSOR_MODEL": MODEL,
        "VIVA_PRICES": f"{MODEL}={prices}",
    }


def _end(served: list[Served]) -> None:
    for one in served:
        one.kill()


@contextlib.asynccontextmanager
async def _provider(scenario: Scenario) -> AsyncGenerator[tuple[str, int]]:
    """Run the fake provider in a process of its own; gives its address and process id."""
    told = scenario.provider
    options = (
        *("--script", "stamps", "--seed", str(scenario.seed), "--tokens", str(told.tokens)),
        *("--tokens-per-second", str(told.tokens_per_second)),
        *("--first-token-s", str(told.first_token_s)),
    )
    async with fake_provider(*options) as (url, pid):
        if told.faults:
            await _set_faults(url, told)
        yield url, pid


async def _set_faults(url: str, told: Provider) -> None:
    address = url.removesuffix("/v1")
    body = msgspec.json.encode(told.faults)
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{address}/_control/faults", data=body) as reply,
    ):
        if reply.status != 200:
            raise ProcessError(f"the fake provider refuses the faults: {await reply.text()}")
