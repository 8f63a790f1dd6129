"""The HTTP API on a real instance: its answers, its refusals, and whose interview is whose."""

import base64
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from redis import Redis

from server.auth import UserRole, sign
from server.caching import QUIET_S
from tests.e2e.instances import SECRET, Instance
from tests.support.databases import flush_redis, fresh_database
from tests.support.migrations import migrated

PLAN = {"type": "technical", "role": "=Engineer <b>", "duration_minutes": 15}
ABSENT = "0190a5c0-0000-7000-8000-00000000000a"
_jwt: Any = jwt
_redis: Any = Redis


@pytest.fixture(scope="module")
def instance(services: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[Instance]:
    flush_redis(services.redis_url)
    with fresh_database(services.database_url) as database_url:
        settings = {
            "REDIS_URL": services.redis_url,
            "DATABASE_URL": migrated(database_url),
            "VIVA_MAX_INTERVIEWS_PER_USER": "12",
        }
        running = Instance(settings, tmp_path_factory.mktemp("instance"))
        running.start()
        yield running
        running.stop()
        assert "Traceback" not in running.log()


class Reply:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int, code: str) -> Any:
        """Check that it is a problem of RFC 9457."""
        assert (self.status, self.headers["Content-Type"]) == (status, "application/problem+json")
        told = self.json
        assert (told["status"], told["code"]) == (status, code)
        assert told["type"].endswith(code)
        assert told["title"] not in ("", "Error")
        assert "Traceback" not in told["detail"]
        return told


def ask(
    instance: Instance,
    method: str,
    path: str,
    body: Any = None,
    *,
    user: str = "ada",
    role: UserRole = "candidate",
    token: str | None = None,
    **headers: str,
) -> Reply:
    token = sign(user, role, SECRET, 600) if token is None else token
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{instance.url}{path}",
        method=method,
        data=None if body is None else content,
        headers={
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return Reply(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers, error.read())


@pytest.fixture(scope="module")
def interview(instance: Instance) -> str:
    created = ask(instance, "POST", "/api/interviews", PLAN)
    assert created.status == 201
    assert created.headers["Location"] == f"/api/interviews/{created.json['id']}"
    assert (created.json["status"], created.json["type"]) == ("created", "technical")
    return str(created.json["id"])


def test_an_interview_is_shown_listed_and_selected_from(instance: Instance, interview: str) -> None:
    shown = ask(instance, "GET", f"/api/interviews/{interview}").json
    assert (shown["id"], shown["role"]) == (interview, PLAN["role"])
    few = ask(instance, "GET", f"/api/interviews/{interview}?fields=id,status").json
    assert few == {"id": interview, "status": "created"}
    page = ask(instance, "GET", "/api/interviews?limit=1&status=created&type=technical").json
    assert (page["limit"], page["offset"], len(page["items"])) == (1, 0, 1)
    assert page["total"] >= 1
    assert ask(instance, "GET", "/api/interviews?type=case").json["total"] == 0
    assert ask(instance, "GET", "/api/interviews", user="eve").json["total"] == 0
    assert ask(instance, "GET", "/api/interviews", user="eve", role="reviewer").json["total"] >= 1


def test_an_empty_query_value_is_an_absent_one(instance: Instance, interview: str) -> None:
    row = "?status=&type=&since=&limit=&offset=&fields="
    page = ask(instance, "GET", f"/api/interviews{row}").json
    assert (page["limit"], page["offset"]) == (20, 0)
    assert interview in [item["id"] for item in page["items"]]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?offset=-1", "offset"),
        ("?status=nonsense", "status"),
        ("?type=nonsense", "type"),
        ("?limit=nonsense", "limit"),
        ("?since=tomorrow", "since"),
        ("?since=-1", "since"),
        ("?since=253402300800000", "since"),
        ("?since=9007199254740991", "since"),
    ],
)
def test_a_wrong_query_names_its_field(instance: Instance, path: str, named: str) -> None:
    told = ask(instance, "GET", f"/api/interviews{path}").problem(400, "invalid_request")
    assert named in told["detail"]
    assert "nonsense" not in told["detail"]


@pytest.mark.parametrize("fields", ["bogus", "%2c"])
def test_fields_are_looked_at_before_the_interviews_are(instance: Instance, fields: str) -> None:
    for path in ("/api/interviews", f"/api/interviews/{ABSENT}"):
        told = ask(instance, "GET", f"{path}?fields={fields}", user="fay")
        told.problem(400, "unknown_field")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "type"),
        ({**PLAN, "type": "nonsense"}, "type"),
        ({**PLAN, "role": "x" * 121}, "role"),
        ({**PLAN, "role": "a\0b"}, "role"),
        ({**PLAN, "role": "   "}, "role"),
        ({**PLAN, "role": "\x1b[31mred"}, "role"),
        ({**PLAN, "duration_minutes": 14}, "duration_minutes"),
        ({**PLAN, "duration_minutes": 61}, "duration_minutes"),
        ({**PLAN, "language": "not a language!"}, "language"),
        ({**PLAN, "nonsense": 1}, "nonsense"),
        ({**PLAN, "nonsense": None}, "nonsense"),
        ({**PLAN, "role": None}, "role"),
    ],
)
def test_a_wrong_plan_is_refused_by_its_field(instance: Instance, body: Any, named: str) -> None:
    told = ask(instance, "POST", "/api/interviews", body, user="bob").problem(
        400, "invalid_request"
    )
    assert named in told["detail"]
    assert not any(f"'{value}'" in told["detail"] for value in body.values())


def test_a_body_that_is_no_json_is_told(instance: Instance) -> None:
    whole = json.dumps(PLAN).encode()
    for body in (
        b"{nonsense",
        whole.replace(b"=Engineer", b"\xff"),
        whole.replace(b"=Engineer", b"\\ud800"),
        whole.decode().encode("utf-16"),
        b"\xff",
        b"[" * 100_000,
    ):
        told = ask(instance, "POST", "/api/interviews", body, user="bob")
        assert told.problem(400, "bad_request")["detail"] == "The body is no valid JSON."


def test_a_body_that_is_missing_is_told(instance: Instance) -> None:
    told = ask(instance, "POST", "/api/interviews", user="bob").problem(400, "invalid_request")
    assert told["detail"] == "The request needs a body of JSON."
    ticket = ask(instance, "POST", f"/api/interviews/{ABSENT}/tickets", user="bob")
    ticket.problem(404, "no_such_interview")


def _forged(**changes: Any) -> str:
    claims = {"sub": "ada", "role": "candidate", "exp": 4_000_000_000, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return str(_jwt.encode(kept, SECRET, algorithm="HS256"))


def _unsigned() -> str:
    def part(content: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    claims = {"sub": "ada", "role": "admin", "exp": 4_000_000_000}
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


TOKENS = {
    "none": "",
    "nonsense": "a.b.c",
    "expired": _forged(exp=1),
    "no user": _forged(sub=None),
    "empty user": _forged(sub=""),
    "no text as user": _forged(sub="a\ud800"),
    "no text as role": _forged(role=["admin"]),
    "unknown role": _forged(role="king"),
    "not signed": _unsigned(),
    "another secret": str(_jwt.encode({"sub": "ada", "exp": 4_000_000_000}, "x" * 40)),
    "another algorithm": str(
        _jwt.encode({"sub": "ada", "exp": 4_000_000_000}, SECRET * 2, algorithm="HS512")
    ),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_a_wrong_token_is_refused(instance: Instance, interview: str, token: str) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", f"/{interview}")):
        reply = ask(instance, method, f"/api/interviews{path}", token=token)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        assert reply.json["status"] == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/transcript"),
        ("GET", "/report"),
        ("POST", "/report"),
        ("POST", "/tickets"),
    ],
)
def test_somebody_elses_looks_like_an_absent_one(
    instance: Instance, interview: str, method: str, path: str
) -> None:
    theirs = ask(instance, method, f"/api/interviews/{interview}{path}", {}, user="eve")
    absent = ask(instance, method, f"/api/interviews/{ABSENT}{path}", {}, user="eve")
    for reply in (theirs, absent):
        reply.problem(404, "no_such_interview")
    assert theirs.json == absent.json


def test_reviewers_look_and_do_not_erase(instance: Instance, interview: str) -> None:
    path = f"/api/interviews/{interview}"
    assert ask(instance, "GET", path, user="rex", role="reviewer").status == 200
    assert ask(instance, "DELETE", path, user="rex", role="reviewer").status == 403
    asked = ask(instance, "POST", f"{path}/tickets", {"role": "candidate"}, user="r", role="admin")
    assert asked.status == 403


def test_a_repeated_creation_is_one(instance: Instance) -> None:
    made = [
        ask(instance, "POST", "/api/interviews", PLAN, user="kay", Idempotency_Key="once")
        for _ in range(3)
    ]
    assert len({reply.json["id"] for reply in made}) == 1
    other = {**PLAN, "role": "Another"}
    ask(instance, "POST", "/api/interviews", other, user="kay", Idempotency_Key="once").problem(
        422, "idempotency_key_reused"
    )
    elsewhere = ask(instance, "POST", "/api/interviews", other, user="kim", Idempotency_Key="once")
    assert elsewhere.status == 201


def test_null_stands_for_an_absent_field(instance: Instance) -> None:
    optional = ("level", "difficulty", "mode", "duration_minutes", "language", "competencies")
    optional += ("weights", "job_description", "resume")
    bare = {"type": "case", "role": "Engineer"}
    bodies = (bare, bare | dict.fromkeys(optional))
    made = [
        ask(instance, "POST", "/api/interviews", body, user="nul", Idempotency_Key="one")
        for body in bodies
    ]
    assert [reply.status for reply in made] == [201, 201]
    assert made[0].json == made[1].json
    assert set(optional) < made[0].json.keys()


def test_too_many_interviews_are_refused_for_a_while(instance: Instance) -> None:
    first = ask(instance, "POST", "/api/interviews", PLAN, user="max", Idempotency_Key="first")
    ask(instance, "DELETE", first.headers["Location"], user="max")
    kept = ask(instance, "POST", "/api/interviews", PLAN, user="max", Idempotency_Key="kept")
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(ask, instance, "POST", "/api/interviews", PLAN, user="max")
            for _ in range(20)
        ]
    replies = [each.result() for each in asked]
    assert sorted(reply.status for reply in replies) == [201] * 10 + [429] * 10
    refused = ask(instance, "POST", "/api/interviews", PLAN, user="max")
    refused.problem(429, "too_many_interviews")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    again = ask(instance, "POST", "/api/interviews", PLAN, user="max", Idempotency_Key="kept")
    assert (again.status, again.json) == (201, kept.json)


def test_transcripts_in_three_forms(instance: Instance, interview: str) -> None:
    path = f"/api/interviews/{interview}/transcript"
    assert ask(instance, "GET", path).json == {"interview_id": interview, "turns": []}
    markdown = ask(instance, "GET", path, Accept="text/markdown")
    assert markdown.headers["Content-Type"].startswith("text/markdown")
    csv = ask(instance, "GET", path, Accept="text/csv")
    assert csv.headers["Content-Type"].startswith("text/csv")
    assert csv.body.decode().startswith("turn,speaker")


def test_what_is_erased_is_gone_and_stays_so(instance: Instance) -> None:
    made = ask(instance, "POST", "/api/interviews", PLAN, user="zoe").json["id"]
    for _ in range(2):
        assert ask(instance, "DELETE", f"/api/interviews/{made}", user="zoe").status == 204
    ask(instance, "GET", f"/api/interviews/{made}", user="zoe").problem(404, "no_such_interview")
    assert ask(instance, "GET", "/api/interviews", user="zoe").json["total"] == 0
    for role in ("candidate", "reviewer"):
        erased = ask(instance, "DELETE", f"/api/interviews/{made}", user="eve", role=role)
        absent = ask(instance, "DELETE", f"/api/interviews/{ABSENT}", user="eve", role=role)
        assert erased.problem(404, "no_such_interview") == absent.json


def test_nothing_of_an_interview_is_kept_by_caches(instance: Instance, interview: str) -> None:
    place = f"/api/interviews/{interview}"
    for method, path in (
        ("GET", place),
        ("GET", "/api/interviews"),
        ("GET", f"{place}/transcript"),
        ("GET", f"{place}/report"),
        ("POST", f"{place}/tickets"),
    ):
        assert ask(instance, method, path).headers["Cache-Control"] == "no-store"
    made = ask(instance, "POST", "/api/interviews", PLAN, user="cat")
    assert made.headers["Cache-Control"] == "no-store"


def test_files_of_the_page_are_asked_for_again_and_not_sent_again(instance: Instance) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/app.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/logo.svg", "image/svg+xml"),
    ):
        file = ask(instance, "GET", path, token="")
        charset = "; charset=utf-8" if kind.startswith("text/") else ""
        assert file.headers["Content-Type"] == kind + charset
        assert file.headers["Cache-Control"] == "no-cache"
        head = ask(instance, "HEAD", path, token="")
        assert (head.status, head.body) == (200, b"")
        for name in ("ETag", "Content-Type", "Content-Length"):
            assert head.headers[name] == file.headers[name]
        for known in (file.headers["ETag"], f'W/{file.headers["ETag"]}, "x"', "*"):
            again = ask(instance, "GET", path, token="", If_None_Match=known)
            assert (again.status, again.body) == (304, b"")
            assert again.headers["ETag"] == file.headers["ETag"]
        assert ask(instance, "GET", path, token="", If_None_Match='"x"').body == file.body
    for path in ("/nonsense.js", "/..%2fsettings.py", "/%2e%2e/settings.py", "/web/app.js"):
        assert ask(instance, "GET", path, token="").status == 404


def test_the_document_tells_of_tokens_and_refusals(instance: Instance) -> None:
    document = ask(instance, "GET", "/schema/openapi.json", token="").json
    OpenAPIV31SpecValidator(document).validate()
    (scheme,) = document["components"]["securitySchemes"].items()
    assert (scheme[1]["scheme"], scheme[1]["bearerFormat"]) == ("bearer", "JWT")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if not path.startswith("/api/"):
                assert "security" not in operation
                continue
            assert operation["security"] == [{scheme[0]: []}]
            told = operation["responses"]
            expected = {"400", "401", "503"} | ({"404"} if "{" in path else set[str]())
            if (method, path) == ("post", "/api/interviews"):
                expected |= {"413", "422", "429"}
            if (method, path) == ("delete", "/api/interviews/{interview_id}"):
                expected |= {"403"}
            assert expected <= told.keys(), (method, path)
            for status in [name for name in told if name >= "4"]:
                (form,) = told[status]["content"].items()
                assert form[0] == "application/problem+json"
                assert form[1]["schema"]["$ref"].endswith("/Problem")


def test_the_document_describes_what_is_answered(instance: Instance, interview: str) -> None:
    document = ask(instance, "GET", "/schema/openapi.json", token="").json
    schemas = document["components"]["schemas"]

    def told(method: str, path: str, status: str, form: str = "application/json") -> Any:
        answer = document["paths"][path][method]["responses"][status]["content"][form]["schema"]
        return schemas[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer

    one = "/api/interviews/{interview_id}"
    shown = ask(instance, "GET", f"/api/interviews/{interview}").json
    for method, path, status in (("post", "/api/interviews", "201"), ("get", one, "200")):
        assert list(told(method, path, status)["properties"]) == list(shown)
    item = told("get", "/api/interviews", "200")["properties"]["items"]["items"]
    assert item["$ref"].endswith("InterviewView")
    transcript = told("get", f"{one}/transcript", "200")
    assert transcript["properties"]["turns"]["items"]["$ref"].endswith("TurnView")
    for form in ("text/markdown", "text/csv"):
        assert told("get", f"{one}/transcript", "200", form) == {"type": "string"}
    ready = ask(instance, "GET", "/health/ready", token="").json
    for status in ("200", "503"):
        assert list(told("get", "/health/ready", status)["properties"]) == list(ready)


def test_large_bodies_and_wrong_methods(instance: Instance) -> None:
    announced = ask(instance, "POST", "/api/interviews", b"{}", Content_Length="900000000")
    announced.problem(413, "request_too_large")
    wrong = ask(instance, "PUT", "/api/interviews", {})
    wrong.problem(405, "method_not_allowed")
    options = ask(instance, "OPTIONS", "/api/interviews", token="")
    for reply in (wrong, options):
        allowed = reply.headers["Allow"].split(", ")
        assert sorted(allowed) == ["GET", "HEAD", "OPTIONS", "POST"]
    for path in (f"/api/interviews/{ABSENT}", "/api/me", "/", "/health/live"):
        own = ask(instance, "OPTIONS", path, token="")
        wrong = ask(instance, "PUT", path, {}, token="")
        assert own.status == 204
        assert sorted(own.headers["Allow"].split(", ")) == sorted(
            wrong.headers["Allow"].split(", ")
        )
    for path in ("/api/nonsense", "/schema/nonsense", "/nonsense"):
        ask(instance, "GET", path, token="").problem(404, "not_found")


def test_head_is_get_without_a_body(instance: Instance, interview: str) -> None:
    for path in ("/health/live", "/metrics", "/api/interviews", f"/api/interviews/{interview}"):
        head = ask(instance, "HEAD", path)
        assert (head.status, head.body) == (200, b"")
        kind = ask(instance, "GET", path).headers["Content-Type"]
        assert head.headers["Content-Type"] == kind
        assert kind.count("charset") <= 1


def test_a_plain_request_to_a_socket_and_a_form_there_is_none_of(
    instance: Instance, interview: str
) -> None:
    plain = ask(instance, "GET", f"/api/interviews/{interview}/socket", token="")
    plain.problem(426, "upgrade_required")
    assert plain.headers["Upgrade"] == "websocket"
    path = f"/api/interviews/{interview}/transcript"
    ask(instance, "GET", path, Accept="application/xml").problem(406, "not_acceptable")


def test_health_metrics_and_documents_need_no_token(instance: Instance) -> None:
    assert ask(instance, "GET", "/health/live", token="").status == 200
    ready = ask(instance, "GET", "/health/ready", token="").json
    assert {"redis", "postgres"} <= {str(name).lower() for name in json.dumps(ready).split('"')}
    metrics = ask(instance, "GET", "/metrics", token="").body.decode()
    for name in (
        "viva_sockets",
        "viva_tasks",
        "viva_turns_running",
        "viva_flush_seconds_bucket",
        "viva_database_seconds_bucket",
    ):
        assert name in metrics
    assert ask(instance, "GET", "/schema/openapi.json", token="").json["openapi"]
    assert ask(instance, "GET", "/asyncapi.json", token="").json["asyncapi"] == "3.0.0"


def test_the_page_comes_with_a_strict_policy(instance: Instance) -> None:
    page = ask(instance, "GET", "/", token="")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy or "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert b"<script>" not in page.body


def test_a_user_tells_about_themselves(instance: Instance) -> None:
    me = ask(instance, "GET", "/api/me", user="mia").json
    assert (me["user"], me["role"], me["name"], me["preferences"]) == ("mia", "candidate", None, {})
    assert me["limits"] == {"interviews_per_hour": 12, "interview_usd": 0.1, "day_usd": 2.0}
    change = {"name": "Mia", "language": "pt-BR", "preferences": {"type": "case", "level": "mid"}}
    changed = ask(instance, "PATCH", "/api/me", change, user="mia")
    assert changed.status == 200
    assert changed.headers["Cache-Control"] == "no-store"
    ask(instance, "PATCH", "/api/me", {"language": None}, user="mia")
    for _ in range(2):  # from the cache, too
        me = ask(instance, "GET", "/api/me", user="mia").json
        assert (me["name"], me["language"]) == ("Mia", None)
        assert me["preferences"] == {"type": "case", "level": "mid"}
        assert me["updated_at"] > 0
    assert ask(instance, "GET", "/api/me", user="noa").json["name"] is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"limits": {"interviews_per_hour": 99}}, "limits"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"language": "Klingon!"}, "language"),
        ({"preferences": {"type": "chess"}}, "preferences.type"),
        ({"preferences": {"role": "\u2028"}}, "preferences.role"),
        ({"preferences": {"colour": "red"}}, "colour"),
    ],
)
def test_a_wrong_change_names_its_field(
    instance: Instance, change: dict[str, Any], named: str
) -> None:
    told = ask(instance, "PATCH", "/api/me", change, user="mia")
    assert named in told.problem(400, "invalid_request")["detail"]


def _asked(instance: Instance, cache: str) -> dict[str, float]:
    """How often a cache was asked, by its answers."""
    metrics = ask(instance, "GET", "/metrics").body.decode()
    found = re.findall(rf'viva_cache_total{{answer="(\w+)",cache="{cache}"}} (\S+)', metrics)
    return {answer: float(count) for answer, count in found}


def test_an_interview_that_was_read_is_read_from_the_cache_unless_it_has_documents(
    instance: Instance,
) -> None:
    plain = ask(instance, "POST", "/api/interviews", PLAN, user="ria").json["id"]
    resume = {**PLAN, "resume": "Ten years of cobalt."}
    private = ask(instance, "POST", "/api/interviews", resume, user="ria").json["id"]
    before = _asked(instance, "interview")
    for _ in range(3):
        assert ask(instance, "GET", f"/api/interviews/{plain}", user="ria").json["id"] == plain
        shown = ask(instance, "GET", f"/api/interviews/{private}", user="ria").json
        assert shown["resume"] == "Ten years of cobalt."
        ask(instance, "GET", f"/api/interviews/{plain}", user="eve").problem(
            404, "no_such_interview"
        )
    after = _asked(instance, "interview")
    assert after["hit"] - before.get("hit", 0) == 2
    # The first look, three at what is never kept, and three at what is none of hers.
    assert after["miss"] - before.get("miss", 0) == 1 + 3 + 3
    assert ask(instance, "DELETE", f"/api/interviews/{plain}", user="ria").status == 204
    ask(instance, "GET", f"/api/interviews/{plain}", user="ria").problem(404, "no_such_interview")


def test_a_list_that_was_read_shows_what_is_created_and_erased_next(instance: Instance) -> None:
    def listed() -> list[str]:
        items = ask(instance, "GET", "/api/interviews", user="lia").json["items"]
        return [item["id"] for item in items]

    assert listed() == listed() == []
    created = [ask(instance, "POST", "/api/interviews", PLAN, user="lia").json["id"]]
    assert listed() == listed() == created
    created.insert(0, ask(instance, "POST", "/api/interviews", PLAN, user="lia").json["id"])
    assert listed() == created
    assert ask(instance, "DELETE", f"/api/interviews/{created[1]}", user="lia").status == 204
    assert listed() == created[:1]
    metrics = ask(instance, "GET", "/metrics").body.decode()
    assert 'viva_cache_total{answer="miss",cache="list"}' in metrics


def test_an_erasure_that_did_not_come_to_redis_leaves_no_list_behind(
    instance: Instance, services: Any
) -> None:
    path = ask(instance, "POST", "/api/interviews", PLAN, user="leo").headers["Location"]
    time.sleep(QUIET_S + 0.1)  # from now on the list is kept
    assert ask(instance, "GET", "/api/interviews", user="leo").json["total"] == 1
    with _redis.from_url(services.redis_url) as redis:
        redis.client_pause(20_000, all=False)  # whoever writes waits
        ask(instance, "DELETE", path, user="root", role="admin").problem(503, "backend_down")
        redis.client_unpause()
    assert ask(instance, "GET", "/api/interviews", user="leo").json["total"] == 0
    assert ask(instance, "DELETE", path, user="root", role="admin").status == 204
