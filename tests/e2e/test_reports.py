"""Reports over HTTP: while they are written, in each of their forms, and who may see them."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from redis import Redis

from protocol import commands as c
from protocol.events import InterviewEnded
from protocol.scalars import Mode
from server.reporting.html import content_security_policy
from tests.e2e.clients import Client, post
from tests.e2e.instances import Instance
from tests.e2e.raw_sockets import RawSocket
from tests.e2e.test_api import Reply, ask
from tests.support.databases import flush_redis, fresh_database
from tests.support.ended import ANSWER, ended
from tests.support.fake_provider import fake_openai
from tests.support.interviews import NOW, opened
from tests.support.migrations import migrated

CANDIDATE = "ann"
SAID = f"{ANSWER} {ANSWER}"  # enough words for communication to be rated, too
STRONG, WEAK = f"{SAID} quality:strong", f"{SAID} quality:weak"
PATIENCE_S = 20.0

_numbers = itertools.count()
_redis: Any = Redis


class Place:
    """An instance with a model that rates, and the database behind it."""

    def __init__(self, instance: Instance, database_url: str, settings: Mapping[str, str]) -> None:
        self.instance = instance
        self.database_url = database_url
        self.settings = settings

    def ended(self, *answers: str, mode: Mode = "practice") -> str:
        """Put an interview there that is over and has no report; return its path."""

        async def put() -> str:
            async with opened(self.database_url) as archive:
                at = NOW + next(_numbers)
                return (await ended(archive, at, mode=mode, answers=answers)).interview_id

        return f"/api/interviews/{asyncio.run(put())}"

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        more.setdefault("user", CANDIDATE)
        return ask(self.instance, method, path, body, **more)

    def reported(self, path: str, **more: Any) -> Any:
        """Have the report written, and return it."""
        assert self.ask("POST", f"{path}/report", **more).status == 202
        deadline = time.monotonic() + PATIENCE_S
        while (reply := self.ask("GET", f"{path}/report", **more)).status == 202:
            assert reply.json == {"status": "pending"}
            assert int(reply.headers["Retry-After"]) > 0
            assert time.monotonic() < deadline, "the report never came"
            time.sleep(0.1)
        assert reply.status == 200
        return reply.json

    def until_refused(self, path: str, code: str, **more: Any) -> None:
        """Wait until it is known that no report will come, and why."""
        deadline = time.monotonic() + PATIENCE_S
        while (reply := self.ask("GET", f"{path}/report", **more)).status == 202:
            assert time.monotonic() < deadline, "nobody said that no report will come"
            time.sleep(0.1)
        reply.problem(409, code)


@pytest.fixture(scope="module")
def place(services: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    flush_redis(services.redis_url)
    with fresh_database(services.database_url) as database_url, fake_openai() as model:
        settings = {"REDIS_URL": services.redis_url, "DATABASE_URL": migrated(database_url)}
        settings |= model
        running = Instance(settings, tmp_path_factory.mktemp("instance"))
        running.start()
        yield Place(running, database_url, settings)
        running.stop()
        assert "Traceback" not in running.log()


@pytest.fixture(scope="module")
def rated(place: Place) -> str:
    """An interview with a report."""
    path = place.ended(STRONG, WEAK)
    assert place.ask("GET", f"{path}/report").status == 202  # nobody was told to write it yet
    report = place.reported(path)
    assert [rating["score"] for rating in report["ratings"]] == [5, 1]
    assert report["communication"]["score"] == 5
    for rating in report["ratings"]:
        for evidence in rating["evidence"]:
            assert evidence["quote"] in f"{STRONG} {WEAK}"
    return path


@pytest.mark.parametrize(
    ("form", "begins", "holds"),
    [
        ("application/json", b"{", b'"composite":3'),
        ("text/markdown", b"# Interview report: Engineer", b"> "),
        ("text/html", b"<!doctype html>", b"<blockquote>"),
        ("application/pdf", b"%PDF-", b"%%EOF"),
    ],
)
def test_a_report_in_four_forms(
    place: Place, rated: str, form: str, begins: bytes, holds: bytes
) -> None:
    reply = place.ask("GET", f"{rated}/report", Accept=form)
    assert reply.status == 200
    assert reply.headers["Content-Type"].split(";")[0] == form
    assert (reply.headers["Vary"], reply.headers["Cache-Control"]) == ("Accept", "no-store")
    assert reply.body.startswith(begins)
    assert holds in reply.body


def test_the_page_and_the_paper_have_headers_of_their_own(place: Place, rated: str) -> None:
    page = place.ask("GET", f"{rated}/report", Accept="text/html")
    assert page.headers["Content-Security-Policy"] == content_security_policy()
    paper = place.ask("GET", f"{rated}/report", Accept="application/pdf")
    name = f"report-{rated.rsplit('/', 1)[1]}.pdf"
    assert paper.headers["Content-Disposition"] == f'inline; filename="{name}"'
    other = place.ask("GET", f"{rated}/report", Accept="image/png")
    other.problem(406, "not_acceptable")


def test_an_instance_ends_amid_a_drawing(place: Place, tmp_path: Path) -> None:
    path = place.ended(*["\u05d01\u05d12 " * 1_200] * 12)  # each takes seconds to lay out
    place.reported(path)
    running = Instance(place.settings, tmp_path)
    running.start()
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    asking = threading.Thread(
        target=ask,
        args=(running, "GET", f"{path}/report"),
        kwargs={"user": CANDIDATE, "Accept": "application/pdf"},
    )
    asking.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (drawing := children.read_text().split()):
            assert time.monotonic() < deadline, "nothing is drawn"
            time.sleep(0.05)
    finally:
        assert running.stop() == 0
        asking.join()
    assert [pid for pid in drawing if _runs(pid)] == []


def _runs(pid: str) -> bool:
    """Whether a process does more than wait for its parent to look at how it ended."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def test_a_replica_that_lags_takes_no_turns_away(
    place: Place, rated: str, services: Any, tmp_path: Path
) -> None:
    place.ended(ANSWER)  # the replica does not know it
    with contextlib.ExitStack() as at_last:
        with fresh_database(services.database_url) as lagging:
            settings = {**place.settings, "DATABASE_REPLICA_URL": migrated(lagging)}
            asyncio.run(_without_turns(rated, place.database_url, lagging))
            running = Instance(settings, tmp_path)
            at_last.callback(running.stop)
            running.start()
            _until(running, "/api/interviews", rated.rsplit("/", 1)[1], '"total":1,')
            reply = ask(running, "GET", f"{rated}/report", user=CANDIDATE, Accept="text/markdown")
            assert "viva_replica_lag_seconds 0.0" in ask(running, "GET", "/metrics").body.decode()
        _until(running, "/metrics", "viva_replica_lag_seconds +Inf")
    assert reply.status == 200
    assert "### 4. Candidate" in reply.body.decode()


async def _without_turns(path: str, url: str, lagging: str) -> None:
    """Put an interview into the database that lags, but for its turns."""
    async with opened(url) as archive, opened(lagging) as other:
        restored = await archive.rebuild(path.rsplit("/", 1)[1])
        assert restored is not None
        await other.create_interview(restored.session)


def _until(running: Instance, path: str, *words: str) -> None:
    """Wait until a reviewer is told all these words."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        told = ask(running, "GET", path, user="rex", role="reviewer").body.decode()
        if all(word in told for word in words):
            return
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def test_a_report_is_not_written_again_at_once(place: Place, rated: str) -> None:
    refused = place.ask("POST", f"{rated}/report")
    refused.problem(429, "report_is_new")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    first = place.ask("GET", f"{rated}/report").json["report_id"]
    _age(place, rated)
    assert place.ask("POST", f"{rated}/report").status == 202
    deadline = time.monotonic() + PATIENCE_S
    while place.ask("GET", f"{rated}/report").json["report_id"] == first:  # the old one till then
        assert time.monotonic() < deadline, "it was not written again"
        time.sleep(0.1)


def _age(place: Place, path: str) -> None:
    """Let the report be older than the time in which none is written again."""
    older = (
        "UPDATE reports SET written_at = written_at - interval '2 minutes', report ="
        " jsonb_set(report, '{created_at}', to_jsonb((report->>'created_at')::bigint - 120000))"
        " WHERE interview_id = %s"
    )
    with psycopg.connect(place.database_url) as connection:
        connection.execute(older, (path.rsplit("/", 1)[1],))


def test_reviewers_decide_and_say_why(place: Place, rated: str) -> None:
    verdict = {"decision": "advance", "reason": "  Cut the scope and told the client.  "}
    path = f"{rated}/decision"
    place.ask("POST", path, verdict).problem(403, "reviewers_only")
    made = place.ask("POST", path, verdict, user="rex", role="reviewer")
    assert made.status == 201
    assert (made.json["reviewer"], made.json["reason"]) == ("rex", verdict["reason"].strip())
    assert place.ask("GET", f"{rated}/report").json["decisions"] == [made.json]
    for wrong in ({**verdict, "reason": " "}, {**verdict, "reason": "x" * 4001}):
        told = place.ask("POST", path, wrong, user="rex", role="reviewer")
        told.problem(400, "reason_needed")
    for role in ("reviewer", "admin"):
        told = place.ask("POST", path, verdict, role=role)  # the candidate, by another token
        told.problem(403, "own_interview")
    early = place.ended(STRONG)
    told = place.ask("POST", f"{early}/decision", verdict, user="rex", role="reviewer")
    told.problem(409, "no_report")


def test_the_anchors_are_for_reviewers(place: Place, rated: str) -> None:
    place.ask("GET", f"{rated}/guide").problem(403, "reviewers_only")
    guide = place.ask("GET", f"{rated}/guide", user="rex", role="reviewer").json
    report = place.ask("GET", f"{rated}/report").json
    assert guide["version"] == report["rubric"]
    anchors = {question["question_id"]: question["anchors"] for question in guide["questions"]}
    for rating in report["ratings"]:
        assert anchors[rating["question_id"]][str(rating["anchor"])] == rating["anchor_text"]
    absent = rated.rsplit("/", 1)[0] + "/0190a5c0-0000-7000-8000-00000000000a/guide"
    told = place.ask("GET", absent, user="rex", role="reviewer")
    told.problem(404, "no_such_interview")


def test_there_is_no_report_of_what_goes_on_or_said_nothing(place: Place) -> None:
    plan = {"type": "technical", "role": "Engineer", "duration_minutes": 15}
    made = place.ask("POST", "/api/interviews", plan)
    path = made.headers["Location"]
    place.ask("GET", f"{path}/report").problem(409, "not_over")
    place.ask("POST", f"{path}/report").problem(409, "not_over")
    silent = place.ended(" ", " ")
    assert place.ask("POST", f"{silent}/report").status == 202
    place.until_refused(silent, "nothing_to_report")


def test_what_failed_is_pending_while_it_is_written_again(place: Place, services: Any) -> None:
    path = place.ended(" ", " ")
    assert place.ask("POST", f"{path}/report").status == 202
    place.until_refused(path, "nothing_to_report")
    name = f"{path.rsplit('/', 1)[1]}:report"
    with _redis.from_url(services.redis_url) as redis:
        redis.hset("viva:{jobs}:known", name, "{}")  # as if ordered, and nobody had come to it
        assert place.ask("GET", f"{path}/report").status == 202
        redis.hdel("viva:{jobs}:known", name)
    place.ask("GET", f"{path}/report").problem(409, "nothing_to_report")


def test_the_end_is_known_before_it_is_stored(place: Place) -> None:
    plan = {"type": "technical", "role": "Sprinter", "duration_minutes": 15}
    interview_id = str(post(place.instance, "", plan)["id"])
    client = Client(interview_id, "json")
    client.connect(place.instance, post(place.instance, f"/{interview_id}/tickets", {})["ticket"])
    client.until_live()
    path, told = f"/api/interviews/{interview_id}", {"user": "ada"}
    with psycopg.connect(place.database_url) as connection:
        connection.execute("LOCK TABLE interviews IN SHARE MODE")  # nothing can be stored
        client.post(client.session.send(c.InterviewEnd(id="end")))
        while not isinstance(client.take(), InterviewEnded):
            pass
        assert place.ask("GET", path, **told).json["status"] != "terminated"
        assert place.ask("GET", f"{path}/report", **told).status == 202
        assert place.ask("POST", f"{path}/report", **told).status == 202
        connection.rollback()
    place.until_refused(path, "nothing_to_report", **told)
    RawSocket.abandon_all()


def test_ratings_of_an_assessment_are_for_reviewers(place: Place) -> None:
    path = place.ended(STRONG, STRONG, mode="assessment")
    for method in ("GET", "POST"):
        place.ask(method, f"{path}/report").problem(403, "reviewers_only")
    before = place.ask("GET", "/api/progress").json["interviews"]
    report = place.reported(path, user="rex", role="reviewer")
    assert report["composite"] == 5
    assert place.ask("GET", "/api/progress").json["interviews"] == before
    seen = place.ask("GET", "/api/progress?user=ann", user="rex", role="reviewer").json
    assert seen["interviews"] == before + 1


def test_progress_goes_from_report_to_report(place: Place, rated: str) -> None:
    seen = place.ask("GET", "/api/progress")
    assert seen.headers["Cache-Control"] == "no-store"
    assert rated.rsplit("/", 1)[1] in [p["interview_id"] for p in seen.json["overall"]["points"]]
    assert place.ask("GET", "/api/progress?user=ann").json == seen.json
    nothing = place.ask("GET", "/api/progress", user="eve").json
    assert (nothing["interviews"], nothing["competencies"]) == (0, [])
    place.ask("GET", "/api/progress?user=ann", user="eve").problem(403, "reviewers_only")
    nobody = place.ask("GET", "/api/progress?user=%00", user="rex", role="reviewer")
    nobody.problem(400, "invalid_request")


def test_the_document_describes_the_forms(place: Place) -> None:
    document = place.ask("GET", "/schema/openapi.json").json
    OpenAPIV31SpecValidator(document).validate()
    told = document["paths"]["/api/interviews/{interview_id}/report"]["get"]["responses"]
    forms = {"application/json", "text/markdown", "text/html", "application/pdf"}
    assert set(told["200"]["content"]) == forms
    assert told["202"]["content"]["application/json"]["schema"]["$ref"].endswith("Pending")
    assert {"403", "404", "406", "409"} <= told.keys()
    assert "decisions" in document["components"]["schemas"]["Decided"]["properties"]
    assert "get" in document["paths"]["/api/progress"]
