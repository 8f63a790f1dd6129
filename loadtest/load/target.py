"""The deployment under load: one that is there, or servers of this run's own."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from loadtest.load.keys import Keys
from loadtest.load.scenario import Provider, Scenario
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


class Target(Struct, kw_only=True):
    """Where the load goes. What is empty belongs to somebody else."""

    keys: Keys
    served: list[Served] = []
    provider_url: str = ""
    mark: str = ""
    """What the command lines of the run's own servers hold."""
    pids: Mapping[str, int] = {}
    redis_url: str = ""

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
        keys = Keys(urls=[one.url for one in served], secret=SECRET)
        yield Target(
            keys=keys,
            served=served,
            provider_url=url,
            mark=str(directory),
            pids=pids,
            redis_url=urls["REDIS_URL"],
        )


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
