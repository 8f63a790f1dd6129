"""What `viva load` looks at before it loads a deployment."""

import itertools

import pytest

from loadtest.load.keys import Keys
from loadtest.load.target import TargetError, found
from tests.support.raw_http import Reply, Request, raw_server

pytestmark = pytest.mark.anyio


class Deployment:
    """Answers like instances behind one address: each `/metrics` is that of the next one."""

    def __init__(self, *starts: int, status: int = 200, metrics: int = 200) -> None:
        self._starts = itertools.cycle(starts or (1,))
        self._status = status
        self._metrics = metrics

    def __call__(self, request: Request) -> Reply:
        if request.target == "/metrics":
            text = f"viva_sockets 0.0\nprocess_start_time_seconds {next(self._starts)}.0\n"
            return Reply([text.encode()], status=self._metrics)
        if request.target == "/api/me":
            assert request.headers["authorization"].startswith("Bearer ")
            return Reply([b"{}"], status=self._status)
        return Reply([b"{}"])


def keys(url: str) -> Keys:
    return Keys(urls=[url.removesuffix("/v1")], secret="a secret of the test, long enough")


async def test_one_instance_is_asked_for_its_metrics() -> None:
    async with raw_server(Deployment(7)) as server:
        told = keys(server.url)
        target = await found(told)
    assert (list(target.metrics), target.no_metrics) == (list(told.urls), "")
    assert target.foreign


@pytest.mark.parametrize("deployment", [Deployment(7, 8), Deployment(7, 7, 8)])
async def test_metrics_of_several_instances_are_left_alone(deployment: Deployment) -> None:
    async with raw_server(deployment) as server:
        target = await found(keys(server.url))
    assert not target.metrics
    assert "more than one instance" in target.no_metrics
    assert "--metrics" in target.no_metrics


async def test_metrics_that_are_kept_from_the_public_are_done_without() -> None:
    async with raw_server(Deployment(metrics=403)) as server:
        target = await found(keys(server.url))
    assert not target.metrics
    assert "does not answer" in target.no_metrics


async def test_instances_that_are_named_are_asked() -> None:
    async with raw_server(Deployment(7, 8)) as balancer, raw_server(Deployment(7)) as instance:
        named = instance.url.removesuffix("/v1")
        target = await found(keys(balancer.url), [named])
    assert (list(target.metrics), target.no_metrics) == ([named], "")


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_not_let_in_is_told_what_to_set(status: int) -> None:
    async with raw_server(Deployment(status=status)) as server:
        with pytest.raises(TargetError, match=rf"lets nobody in \({status}\): VIVA_JWT_SECRET"):
            await found(keys(server.url))


async def test_metrics_of_something_else_are_told() -> None:
    def other(request: Request) -> Reply:
        return Reply([b"up 1" if request.target == "/metrics" else b"{}"])

    async with raw_server(other) as server:
        with pytest.raises(TargetError, match="has no metrics of viva"):
            await found(keys(server.url), [server.url.removesuffix("/v1")])


async def test_a_page_of_a_proxy_is_taken_for_no_metrics() -> None:
    async with raw_server(lambda _: Reply([b"<html>"])) as server:
        target = await found(keys(server.url))
    assert not target.metrics
    assert "does not answer" in target.no_metrics


async def test_an_address_given_twice_is_asked_once() -> None:
    async with raw_server(Deployment(7)) as server:
        url = server.url.removesuffix("/v1")
        target = await found(Keys(urls=[url, url], secret="a secret of the test, long enough"))
    assert list(target.metrics) == [url]


async def test_an_odd_host_is_told() -> None:
    with pytest.raises(TargetError, match="does not serve viva"):
        await found(Keys(urls=["http://a..b"], token="t"))
