"""A résumé as a file, given to a real instance: its text, its refusals, and nothing kept."""

import http.client
import json
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest

from server.auth import sign
from server.guards import DOCUMENT_BYTES
from tests.e2e.instances import SECRET, Instance
from tests.support import documents
from tests.support.databases import flush_redis, fresh_database
from tests.support.migrations import migrated

PDF = "application/pdf"
TEXT = "text/plain"
WORDS = "Ada Lovelace wrote programs for the Analytical Engine"


@pytest.fixture(scope="module")
def instance(services: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[Instance]:
    flush_redis(services.redis_url)
    with fresh_database(services.database_url) as database_url:
        settings = {"REDIS_URL": services.redis_url, "DATABASE_URL": migrated(database_url)}
        running = Instance({**settings, "VIVA_LOG_LEVEL": "debug"}, tmp_path_factory.mktemp("one"))
        running.start()
        yield running
        running.stop()
        assert "Traceback" not in running.log()
        assert "Lovelace" not in running.log()


class Reply:
    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.json = json.loads(reply.read())

    def problem(self, status: int, code: str) -> None:
        assert (self.status, self.headers["Content-Type"]) == (status, "application/problem+json")
        assert (self.json["status"], self.json["code"]) == (status, code)
        assert self.json["detail"].endswith((".", "?"))


def post(
    instance: Instance,
    body: Any,
    kind: str | None = PDF,
    *,
    user: str = "ada",
    path: str = "/api/documents",
) -> Reply:
    """Send a body; an iterator of pieces goes in chunks, without a length."""
    headers = {"Authorization": f"Bearer {sign(user, 'candidate', SECRET, 600)}"}
    if kind is not None:
        headers["Content-Type"] = kind
    line = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=60)
    try:
        line.request("POST", path, body, headers if user else {"Content-Type": PDF})
        return Reply(line.getresponse())
    finally:
        line.close()


def test_a_pdf_becomes_part_of_a_plan(instance: Instance) -> None:
    read = post(instance, documents.paper(WORDS, "page two"))
    assert read.status == 200
    assert read.headers["Cache-Control"] == "no-store"
    assert read.json == {"text": f"{WORDS}\n\npage two", "pages": 2, "clipped": False}
    plan = {"type": "case", "role": "Programmer", "resume": read.json["text"]}
    created = post(instance, json.dumps(plan), "application/json", path="/api/interviews")
    assert (created.status, created.json["resume"]) == (201, read.json["text"])


@pytest.mark.parametrize("kind", [TEXT, "text/markdown", "Text/Plain; charset=utf-8"])
def test_a_text_file(instance: Instance, kind: str) -> None:
    read = post(instance, f"# {WORDS}\r\n".encode(), kind, user="bob")
    assert read.json == {"text": f"# {WORDS}", "pages": None, "clipped": False}


def test_a_file_of_the_largest_size(instance: Instance) -> None:
    whole = b"word " * (DOCUMENT_BYTES // 5) + b"x" * (DOCUMENT_BYTES % 5)
    assert len(whole) == DOCUMENT_BYTES
    for body in (
        whole,
        iter([whole[place : place + 4096] for place in range(0, len(whole), 4096)]),
    ):
        read = post(instance, body, TEXT, user="cyd")
        assert (read.status, read.json["clipped"]) == (200, True)
        assert 19_000 < len(read.json["text"]) <= 20_000
        plan = {"type": "case", "role": "Programmer", "job_description": read.json["text"]}
        created = post(instance, json.dumps(plan), "application/json", path="/api/interviews")
        assert created.status == 201


def test_a_file_that_is_too_large(instance: Instance) -> None:
    post(instance, bytes(DOCUMENT_BYTES + 1), TEXT, user="dan").problem(413, "request_too_large")
    chunks = iter([b"word " * 1000] * 500)
    post(instance, chunks, TEXT, user="dan").problem(413, "request_too_large")


def test_other_routes_take_no_more_than_before(instance: Instance) -> None:
    body = bytes(256 * 1024 + 1)
    for path in ("/api/interviews", "/api/documents/more", "/api"):
        reply = post(instance, body, "application/json", path=path)
        reply.problem(413, "request_too_large")


def test_who_asks_without_a_token_is_not_read(instance: Instance) -> None:
    post(instance, documents.paper(WORDS), user="").problem(401, "not_authenticated")


@pytest.mark.parametrize("kind", [None, "", "application/json", "image/png", "application/pdfx"])
def test_other_kinds(instance: Instance, kind: str | None) -> None:
    reply = post(instance, documents.paper(WORDS), kind, user="eve")
    reply.problem(415, "unsupported_media_type")
    assert PDF in reply.headers["Accept-Post"]


REFUSED = {
    "garbage": (b"%PDF-1.7 and no more", PDF, "document_damaged"),
    "an image": (documents.scan(), PDF, "document_without_text"),
    "a password": (documents.locked(to_read=True), PDF, "document_encrypted"),
    "a bomb": (documents.unfolding(100), PDF, "document_too_complex"),
    "nothing": (b"", TEXT, "document_without_text"),
    "a PDF as text": (b"%PDF-1.7\n\0\xff", TEXT, "document_damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_text(instance: Instance, case: str) -> None:
    body, kind, code = REFUSED[case]
    post(instance, body, kind, user="fay").problem(422, code)


def test_hard_work_does_not_hold_the_instance_up(instance: Instance) -> None:
    hard = documents.laborious(1_000_000)
    replies: list[Reply] = []

    def ask(user: str) -> None:
        replies.append(post(instance, hard, user=user))

    asking = [threading.Thread(target=ask, args=(user,)) for user in ("gil", "hal", "ivy")]
    for thread in asking:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in asking):
        began = time.monotonic()
        line = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=10)
        line.request("GET", "/health/live")
        assert line.getresponse().status == 200
        line.close()
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.02)
    assert slowest < 4.0, "half of what one of them works"
    told = sorted((reply.status, reply.json["code"]) for reply in replies)
    assert told[:2] == [(422, "document_too_complex")] * 2
    assert told[2] in ((422, "document_too_complex"), (503, "busy"))
    for reply in replies:
        assert (reply.status == 503) == ("Retry-After" in reply.headers)


def test_a_user_cannot_go_on_for_ever(instance: Instance) -> None:
    replies = [post(instance, b"words", TEXT, user="joe") for _ in range(13)]
    assert [reply.status for reply in replies[:12]] == [200] * 12
    replies[12].problem(429, "too_many_documents")
    assert 0 < int(replies[12].headers["Retry-After"]) <= 60


def test_it_is_described(instance: Instance) -> None:
    line = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=10)
    line.request("GET", "/schema/openapi.json")
    told = json.load(line.getresponse())["paths"]["/api/documents"]["post"]
    line.close()
    assert set(told["requestBody"]["content"]) == {PDF, TEXT, "text/markdown"}
    assert {"200", "401", "408", "413", "415", "422", "429", "503"} <= set(told["responses"])
    assert told["security"]
