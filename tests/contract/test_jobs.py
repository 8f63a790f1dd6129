"""The job queue on every real server."""

import asyncio

import pytest

from storage.jobs import CRASHES, Job, Priority, PutBack
from storage.redis.jobs import RedisJobs
from storage.redis.store import RedisStore
from tests.contract.backends import RedisBackend

pytestmark = pytest.mark.anyio


def _queue(real: RedisBackend) -> RedisJobs:
    return RedisJobs(RedisStore(real.client()))


async def _one(jobs: RedisJobs, consumer: str = "a", idle_ms: int = 60_000) -> Job:
    (job,) = await jobs.take(consumer, 1, idle_ms)
    return job


async def test_a_job_is_taken_once_and_ended_once(real: RedisBackend) -> None:
    jobs, others = _queue(real), _queue(real)
    assert await jobs.enqueue({"one": b'{"n":"\xc3\xa9"}'})
    job = await _one(jobs)
    assert (job.name, job.payload, job.priority, job.tries) == (
        "one",
        b'{"n":"\xc3\xa9"}',
        "normal",
        0,
    )
    assert await others.take("b", 10, 60_000) == []
    assert await jobs.finish(job)
    assert not await jobs.finish(job)
    assert (await jobs.backlog()).waiting["normal"] == 0


async def test_a_name_is_queued_once_until_its_job_has_ended(real: RedisBackend) -> None:
    jobs = _queue(real)
    assert await jobs.enqueue({"one": b"{}"})
    assert not await jobs.enqueue({"one": b"{}"}, "high")
    job = await _one(jobs)
    assert not await jobs.enqueue({"one": b"{}"})
    await jobs.finish(job)
    assert await jobs.enqueue({"one": b"{}"})


async def test_many_are_queued_at_once_and_those_that_are_there_stay_as_they_are(
    real: RedisBackend,
) -> None:
    jobs = _queue(real)
    assert await jobs.enqueue({"b": b"1"}, "low")
    assert await jobs.enqueue({"a": b"2", "b": b"3", "c": b"4"}, "high") == 2
    assert await jobs.enqueue({"a": b"5", "b": b"6"}, "high") == 0
    taken = [(job.name, job.payload) for job in await jobs.take("w", 10, 60_000)]
    assert taken == [("a", b"2"), ("c", b"4"), ("b", b"1")]


async def test_it_is_told_since_when_the_oldest_job_waits(real: RedisBackend) -> None:
    jobs, times = _queue(real), dict[str, range]()
    assert (await jobs.backlog()).oldest is None
    placed: dict[str, Priority] = {"a": "normal", "b": "low", "c": "high", "d": "normal"}
    for name, priority in placed.items():
        began = real.now()
        await jobs.enqueue({name: b"{}"}, priority)
        times[name] = range(began, real.now() + 1)
        await asyncio.sleep(0.005)
    held = {job.name: job for job in await jobs.take("w", 4, 60_000)}
    for name in placed:
        oldest = (await jobs.backlog()).oldest
        assert oldest is not None, "it is not done yet"
        assert oldest in times[name]
        await jobs.postpone(held[name], real.now() + 60_000, "down")
    assert (await jobs.backlog()).oldest is None, "none of them is due"


async def test_what_is_urgent_goes_first(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"c": b"{}"}, "low")
    await jobs.enqueue({"b": b"{}"}, "normal")
    await jobs.enqueue({"a": b"{}"}, "high")
    await jobs.enqueue({"b2": b"{}"}, "normal")
    assert [job.name for job in await jobs.take("w", 3, 60_000)] == ["a", "b", "b2"]
    assert [job.name for job in await jobs.take("w", 3, 60_000)] == ["c"]


async def test_the_jobs_of_a_silent_worker_go_to_another(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"one": b"{}"})
    lost = await _one(jobs, "dead")
    await asyncio.sleep(0.06)
    assert [job.name for job in await jobs.take("alive", 5, 50)] == ["one"]
    assert not await jobs.extend("dead", lost)
    assert not await jobs.finish(lost), "another worker has it now"
    assert not await jobs.postpone(lost, 0, "late")
    assert not await jobs.bury(lost, "late")


async def test_a_lost_job_is_found_behind_many_that_are_worked_at(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({f"busy-{number}": b"{}" for number in range(40)})
    busy = await jobs.take("busy", 40, 60_000)
    await jobs.enqueue({"lost": b"{}"})
    await _one(jobs, "dead")
    await asyncio.sleep(0.5)
    for job in busy:
        assert await jobs.extend("busy", job)
    assert (await _one(jobs, "alive", 500)).name == "lost"


async def test_a_worker_that_says_so_keeps_its_job(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"one": b"{}"})
    job = await _one(jobs, "slow")
    for _ in range(4):
        await asyncio.sleep(0.03)
        assert await jobs.extend("slow", job)
        assert await jobs.take("eager", 5, 300) == []
    assert await jobs.finish(job)


async def test_a_job_that_is_put_back_comes_again_when_it_is_due(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"one": b"{}"})
    job = await _one(jobs)
    assert await jobs.postpone(job, real.now() + 80, "down")
    assert not await jobs.postpone(job, real.now(), "down")
    assert await jobs.take("w", 5, 60_000) == []
    assert (await jobs.backlog()).later == 1
    assert not await jobs.enqueue({"one": b"{}"})  # it still is to be done
    await asyncio.sleep(0.1)
    again = await _one(jobs)
    assert (again.name, again.tries) == ("one", 1)
    assert not await jobs.finish(job), "the first delivery is over"
    assert await jobs.finish(again)


async def test_faults_are_counted_among_the_put_backs(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"one": b"{}"})
    for tries, (faults, fault) in enumerate([(0, False), (0, True), (1, False), (1, True)]):
        job = await _one(jobs)
        assert (job.tries, job.faults) == (tries, faults)
        assert await jobs.postpone(job, real.now(), "why", fault=fault)
    assert (await _one(jobs)).faults == 2


async def test_it_is_told_until_when_and_why_a_job_is_put_back(real: RedisBackend) -> None:
    jobs = _queue(real)
    assert await jobs.put_back("one") is None
    await jobs.enqueue({"one": b'{"n":"\xc3\xa9"}'})
    assert await jobs.put_back("one") is None, "it waits, and was not put back"
    due = real.now() + 80
    assert await jobs.postpone(await _one(jobs), due, "down")
    assert await jobs.put_back("one") == PutBack(until=due, code="down")
    assert await jobs.put_back("two") is None
    await asyncio.sleep(0.1)
    again = await _one(jobs)
    assert await jobs.put_back("one") is None, "it is worked at"
    await jobs.finish(again)
    assert await jobs.put_back("one") is None


async def test_a_job_is_ordered_until_its_end(real: RedisBackend) -> None:
    jobs = _queue(real)
    assert not await jobs.ordered("one")
    await jobs.enqueue({"one": b"{}"})
    assert await jobs.ordered("one")
    job = await _one(jobs)
    assert await jobs.ordered("one"), "it is worked at"
    assert await jobs.postpone(job, real.now() + 20, "down")
    assert await jobs.ordered("one"), "it is put back"
    await asyncio.sleep(0.05)
    await jobs.finish(await _one(jobs))
    assert not await jobs.ordered("one")


async def test_a_job_that_kills_its_workers_is_buried(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"poison": b'{"p":1}'})
    for life in range(CRASHES):
        assert len(await jobs.take(f"worker-{life}", 5, 0)) == 1
        await asyncio.sleep(0.005)
    assert await jobs.take("the last", 5, 0) == []
    (letter,) = await jobs.dead(10)
    assert (letter.name, letter.payload, letter.code) == ("poison", b'{"p":1}', "crashed")


async def test_dead_jobs_can_be_run_again(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"one": b'{"p":1}'}, "low")
    assert await jobs.bury(await _one(jobs), "refused")
    assert (await jobs.backlog()).dead == 1
    assert await jobs.revive(10) == 1
    job = await _one(jobs)
    assert (job.name, job.payload, job.priority, job.tries) == ("one", b'{"p":1}', "low", 0)
    assert (await jobs.backlog()).dead == 0


async def test_many_workers_do_each_job_once(real: RedisBackend) -> None:
    jobs = _queue(real)
    names = {f"job-{n}" for n in range(120)}
    for name in names:
        await jobs.enqueue({name: b"{}"})
    done: list[str] = []

    async def work(consumer: str) -> None:
        own = _queue(real)
        while taken := await own.take(consumer, 4, 60_000):
            done.extend([job.name for job in taken if await own.finish(job)])

    await asyncio.gather(*(work(f"w{n}") for n in range(5)))
    assert sorted(done) == sorted(names)


async def test_ending_jobs_works_without_memory(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"one": b"{}"})
    job = await _one(jobs)
    async with real.full():
        assert await jobs.finish(job)


async def test_what_is_stored_can_be_ordered_without_memory(real: RedisBackend) -> None:
    jobs = _queue(real)
    await jobs.enqueue({"one": b"{}"})
    async with real.full():
        assert await jobs.enqueue({"two": b"{}"}) == 1
    assert [job.name for job in await jobs.take("w", 5, 60_000)] == ["one", "two"]
