"""compose.yaml and deploy/, as far as they can be judged without an engine that runs containers."""

import contextlib
import http.client
import re
import shutil
import subprocess
import sys
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import yaml
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from server.drain import BATCH_PAUSE_S, BATCHES, GOODBYE_S, UNREADY_S
from server.embedded.ports import free_port
from server.guards import BODY_BYTES, DOCUMENT_BYTES, DOCUMENTS
from server.problems import MEDIA_TYPE, Problem, ProblemError, general_code, told
from server.runner import RELEASE_S
from server.serving import CLOSE_S
from server.settings import DECLARED, read_settings
from tests.e2e.balancers import Balancer, binary, haproxy_environment, rendered_nginx
from tests.support.redis_binaries import redis_binaries

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose.yaml"
DEPLOY = ROOT / "deploy"
SECRETS = {
    "VIVA_JWT_SECRET": "s" * 64,
    "REDIS_PASSWORD": "r" * 64,
    "POSTGRES_PASSWORD": "p" * 64,
}
INSTANCES = ("viva-1", "viva-2")
JOBS = ("migrate",)
FOREIGN = {"FORWARDED_ALLOW_IPS"}
"""Variables in an instance's environment that are uvicorn's, not viva's."""
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")


class MissingError(Exception):
    """A variable without a default is not set; the message is the file's own."""


def interpolated(value: Any, environment: dict[str, str]) -> Any:
    """Replace variables as compose does (`$$`, `${A}`, `${A:-default}`, `${A:?message}`)."""

    def replaced(match: re.Match[str]) -> str:
        name, kind, word = match.groups()
        if name is None:
            return "$"
        if not environment.get(name) and kind == "?":
            raise MissingError(f"{name} {word}")
        return environment.get(name) or word or ""

    if isinstance(value, str):
        return _VARIABLE.sub(replaced, value)
    if isinstance(value, list):
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [interpolated(item, environment) for item in items]
    if isinstance(value, dict):
        entries: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {key: interpolated(item, environment) for key, item in entries.items()}
    return value


def composed(environment: dict[str, str] | None = None) -> Any:
    """compose.yaml with its variables replaced."""
    return interpolated(yaml.safe_load(COMPOSE.read_text()), SECRETS | (environment or {}))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return composed()["services"]


def seconds(text: str) -> float:
    """A duration such as 45s or 1m."""
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def test_it_fits_the_schema_of_compose_files() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_no_secret_has_a_default(secret: str) -> None:
    with pytest.raises(MissingError, match=rf"{secret} is not set; make one with openssl"):
        composed({secret: ""})
    assert "example" not in COMPOSE.read_text()


def test_an_instance_starts_with_the_environment_it_is_given(services: dict[str, Any]) -> None:
    declared = {setting.variable for setting in DECLARED}
    for name in (*INSTANCES, *JOBS):
        environment = services[name]["environment"]
        assert set(environment) - FOREIGN <= declared
        settings = read_settings(environment)
        assert settings.redis_url == f"redis://:{'r' * 64}@redis:6379/0"
        assert settings.database_url == f"postgresql://viva:{'p' * 64}@postgres:5432/viva"
        assert settings.hosts == (services["balancer"]["environment"]["PUBLIC_HOST"],)


def test_settings_of_the_shell_reach_the_instances() -> None:
    given = {"PUBLIC_HOST": "viva.example", "VIVA_ORIGINS": "https://a.example, https://b.example"}
    settings = read_settings(composed(given)["services"]["viva-2"]["environment"])
    assert settings.hosts == ("viva.example",)
    assert settings.origins == ("https://a.example", "https://b.example")


def test_an_instance_is_given_the_time_to_drain(services: dict[str, Any]) -> None:
    for name in INSTANCES:
        drain = float(services[name]["environment"]["VIVA_DRAIN_S"])
        # Balancers find out; turns and their release, beside the sockets' farewell; the ledger's
        # rows; uvicorn's own end.
        farewell = BATCHES * BATCH_PAUSE_S + GOODBYE_S
        longest = UNREADY_S + max(drain + RELEASE_S, farewell) + GOODBYE_S + CLOSE_S
        assert longest <= 30
        assert seconds(services[name]["stop_grace_period"]) > max(30, longest)
        assert drain == read_settings(services[name]["environment"] | {"VIVA_DRAIN_S": ""}).drain_s


def test_every_service_is_watched_limited_and_restrained(services: dict[str, Any]) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        assert (check == {"disable": True}) if name in JOBS else check["test"][0].startswith("CMD")
        assert service["restart"] == ("no" if name in JOBS else "unless-stopped")
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["logging"]["options"]["max-size"]


def test_images_are_pinned_and_named_without_a_host(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 5
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-[a-z]+(-[a-z]+)?", image), image
    assert len(set(images[-2:])) == 1  # what was built runs on what it was built for


def test_services_wait_for_what_they_need(services: dict[str, Any]) -> None:
    waits = {
        name: {needed: how["condition"] for needed, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    instance = {"migrate": "service_completed_successfully", "redis": "service_healthy"}
    assert waits == {
        # One broken instance does not keep the balancer from the other one.
        "balancer": dict.fromkeys(INSTANCES, "service_started"),
        **dict.fromkeys(INSTANCES, instance),
        "migrate": {"postgres": "service_healthy"},
        "redis": {},
        "postgres": {},
    }


def test_only_the_balancer_can_be_reached(services: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if "ports" in service] == ["balancer"]
    assert services["balancer"]["ports"] == ["127.0.0.1:8000:8000"]
    networks = composed()["networks"]
    assert networks["inside"]["internal"] is True
    for name, service in services.items():
        outside = "edge" in service["networks"]
        assert outside == (name == "balancer" or name in INSTANCES)
        assert ("inside" in service["networks"]) == (name != "balancer")


@pytest.mark.parametrize("server", redis_binaries().values(), ids=redis_binaries())
def test_redis_keeps_what_it_acknowledged(
    services: dict[str, Any], server: Path, tmp_path: Path
) -> None:
    shell, option, script = services["redis"]["command"]
    (tmp_path / "redis-server").symlink_to(server)
    port = free_port()
    here = f"--bind 127.0.0.1 --port {port} --dir {tmp_path}"
    password = services["redis"]["environment"]["REDISCLI_AUTH"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "REDISCLI_AUTH": password}
    process = subprocess.Popen(
        [shell, option, f"{script} {here}"], env=environment, stdout=subprocess.DEVNULL
    )
    retry = Retry(ConstantBackoff(0.05), 100)
    try:
        client: Any = redis.Redis(port=port, password=password, retry=retry)
        with client:
            client.ping()
            found = client.config_get("*")
    finally:
        process.terminate()
        process.wait(10)
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "auto-aof-rewrite-min-size": str(512 * 2**20),
        "save": "",
        "maxmemory": str(2**30),
        "maxmemory-policy": "noeviction",
        "crash-log-enabled": "no",
        "requirepass": password,
    }
    assert {name: found[name] for name in wanted} == wanted
    assert services["redis"]["volumes"] == ["redis:/data"]


def test_postgres_keeps_its_data_in_the_volume(services: dict[str, Any]) -> None:
    postgres = services["postgres"]
    assert postgres["image"].startswith("postgres:18.")
    # Since 18 the image's data directory is /var/lib/postgresql/18/docker.
    assert postgres["volumes"] == ["postgres:/var/lib/postgresql"]
    assert {"redis", "postgres"} == set(composed()["volumes"])


def test_what_is_mounted_exists(services: dict[str, Any]) -> None:
    mounted = [volume for service in services.values() for volume in service.get("volumes", [])]
    files = [volume.split(":")[0] for volume in mounted if volume.startswith(".")]
    assert files == ["./deploy/haproxy.cfg"]
    assert all((ROOT / file).is_file() for file in files)


def test_the_image_holds_what_it_is_built_from() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.MULTILINE)
    assert {"requirements/runtime.txt", "pyproject.toml", "server"} <= set(copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / source).exists() for source in copied)
    assert "*" in ignored
    assert not any(fnmatch(".env", name) for name in allowed)


def test_the_image_runs_as_nobody_and_without_a_shell() -> None:
    final = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert re.search(r"^USER \d{5}:\d{5}$", final, re.MULTILINE)
    for word in ("ENTRYPOINT", "CMD", "    CMD"):
        assert re.search(rf'^{word} \["', final, re.MULTILINE), word
    assert "STOPSIGNAL SIGTERM" in final


@pytest.mark.skipif(binary("haproxy") is None, reason="no haproxy is installed")
def test_haproxy_accepts_its_configuration(services: dict[str, Any]) -> None:
    program = binary("haproxy")
    assert program is not None
    given = services["balancer"]["environment"]
    eight = haproxy_environment(8000, 8404, [f"127.0.0.1:{8001 + n}" for n in range(8)])
    assert set(eight) - set(given) == {f"INSTANCE_{number}" for number in range(3, 9)}
    for environment in (given | {"MAX_CONNECTIONS": "100"}, eight):
        check = [program, "-c", "-f", str(DEPLOY / "haproxy.cfg")]
        done = subprocess.run(
            check, env=environment, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stderr
        # Outside of compose the instances' names cannot be resolved; that is all it may say.
        warnings = [line for line in done.stderr.splitlines() if "[WARNING]" in line]
        assert all("could not resolve address" in line for line in warnings), warnings
    assert not warnings  # those were addresses


@pytest.mark.skipif(binary("nginx") is None, reason="no nginx is installed")
def test_nginx_accepts_its_configuration(tmp_path: Path) -> None:
    program = binary("nginx")
    assert program is not None
    path = tmp_path / "nginx.conf"
    path.write_text(rendered_nginx(8000, ["127.0.0.1:8001", "127.0.0.1:8002"], tmp_path))
    check = [program, "-t", "-e", "stderr", "-p", str(tmp_path), "-c", str(path)]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr
    assert "${" not in path.read_text()


@pytest.mark.parametrize(
    ("file", "said"),
    [("haproxy.cfg", {404, 413, 502, 503, 504}), ("nginx.conf", {404, 413, 429, 502, 504})],
)
def test_a_balancer_tells_of_errors_as_an_instance_does(file: str, said: set[int]) -> None:
    bodies = re.findall(r"'(\{.+\})'", (DEPLOY / file).read_text())
    problems = [msgspec.json.decode(body, type=Problem) for body in bodies]
    assert {problem.status for problem in problems} == said
    for each in problems:
        assert each == told(ProblemError(each.status, general_code(each.status), each.detail))


class Ready(BaseHTTPRequestHandler):
    """An instance that is ready, and answers nothing else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


def reply(balancer: Balancer, path: str, size: int = 0) -> tuple[int, str, Problem]:
    """What is answered to a body of this size, none of which is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", path, headers={"Content-Length": str(size)})
        answer = connection.getresponse()
        content = msgspec.json.decode(answer.read(), type=Problem)
        return answer.status, answer.headers.get_content_type(), content


@pytest.mark.skipif(binary("nginx") is None, reason="no nginx is installed")
def test_nginx_sends_its_errors_as_problems(tmp_path: Path) -> None:
    balancer = Balancer("nginx", tmp_path)
    try:
        with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as ready:
            threading.Thread(target=ready.serve_forever, args=(0.01,), daemon=True).start()
            balancer.start([f"127.0.0.1:{ready.server_port}"])
            assert reply(balancer, "/api/interviews", BODY_BYTES + 1)[:2] == (413, MEDIA_TYPE)
            assert reply(balancer, DOCUMENTS, DOCUMENT_BYTES + 1)[:2] == (413, MEDIA_TYPE)
            assert reply(balancer, "/metrics")[:2] == (404, MEDIA_TYPE)
            ready.shutdown()
        status, kind, problem = reply(balancer, "/api/interviews")
        assert (status, kind, problem.code) == (502, MEDIA_TYPE, "bad_gateway")
    finally:
        balancer.stop()


@pytest.mark.skipif(shutil.which("envsubst") is None, reason="no envsubst is installed")
def test_the_documented_command_renders_nginx_as_the_tests_do(tmp_path: Path) -> None:
    text = (DEPLOY / "README.md").read_text()
    words = re.search(r"envsubst '([^']+)'", text)
    assert words is not None
    server = "server 127.0.0.1:8001 max_fails=1 fail_timeout=2s;"
    done = subprocess.run(
        ["envsubst", words[1]],
        input=(DEPLOY / "nginx.conf").read_text(),
        env={
            "BALANCER_ADDRESS": "127.0.0.1:8000",
            "CONNECTIONS_PER_ADDRESS": "2000",
            "INSTANCES": server,
            "SCRATCH": str(tmp_path),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert done.stdout == rendered_nginx(8000, ["127.0.0.1:8001"], tmp_path)
