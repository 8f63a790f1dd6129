"""Settings: a wrong one is named, and nothing of a secret is told."""

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from server.commands import migrate, token, up
from server.settings import (
    DECLARED,
    OTHERS,
    SettingsError,
    read_setting,
    read_settings,
    reference,
)

_jwt: Any = jwt  # its signatures are open-ended
NEEDED = {
    "REDIS_URL": "redis://redis",
    "DATABASE_URL": "postgresql://postgres/viva",
    "VIVA_JWT_SECRET": "s" * 32,
}
WRONG = [
    ("VIVA_JWT_SECRET", "s" * 31),
    ("VIVA_API", "completions"),
    ("VIVA_BACKGROUND", "maybe"),
    *[
        (name, value)
        for name in ("VIVA_REUSE_PORT", "VIVA_BACKGROUND")
        for value in ("2", "yes", "true", "on", "01")
    ],
    *[
        ("VIVA_ORIGINS", value)
        for value in (
            "*",
            "null",
            "bare.example",
            "http://",
            "https://*.example",
            "https://a.example/path",
            "https://a.example:0",
            "https://a.example:65536",
            "https://user@a.example",
            "https://a.example https://b.example",
            "https://a.example, *",
        )
    ],
    *[
        ("VIVA_HOSTS", value)
        for value in ("*", "https://a.example", "a.example/", "a b", "a.example:http", "[::1", "-")
    ],
    *[
        ("OPENAI_BASE_URL", value)
        for value in ("bare.example/v1", "ftp://a.example", "http://", "https://a:b/", "http:/x")
    ],
    ("VIVA_LOG_LEVEL", "loud"),
    *[
        (name, value)
        for name in ("VIVA_FIRST_TOKEN_TIMEOUT_S", "VIVA_TOKEN_TIMEOUT_S")
        for value in ("0", "121", "-1", "nan", "inf", "soon", "1,5")
    ],
    ("VIVA_RATINGS", "later"),
    *[
        ("VIVA_BATCH_HOURS", value)
        for value in ("22", "6-6", "24-6", "0-25", "22-6h", "-1-5", "a-b", "22:00-6:00", "²-6")
    ],
    ("VIVA_BATCH_WAIT_S", "0"),
    ("VIVA_ASSESSOR_SAMPLES", "0"),
    ("VIVA_ASSESSOR_SAMPLES", "10"),
    ("VIVA_ASSESSOR_TIMEOUT_S", "0.9"),
    ("VIVA_ASSESSOR_TIMEOUT_S", "601"),
    ("VIVA_BANK_PACE", "-1"),
    ("VIVA_BANK_PACE", "1001"),
    ("VIVA_DRAIN_S", "-1"),
    ("VIVA_DRAIN_S", "601"),
    ("VIVA_IDLE_S", "0"),
    ("VIVA_IDLE_S", "86401"),
    *[
        (name, value)
        for name in ("VIVA_MAX_CONNECTIONS", "VIVA_MAX_INTERVIEWS_PER_USER", "VIVA_LOG_LENGTH")
        for value in ("0", "-1", "1.5", "1e3", "many", "1000001", "²", "9" * 5000)
    ],
]

ADDRESSES = [
    *[
        (name, value)
        for name in ("REDIS_URL", "CACHE_URL")
        for value in (
            "hunter2",
            "hunter2:secret@host:6379",
            "http://hunter2/",
            "redis://:hunter2@host:port/0",
            "redis://:hunter2@host:65536/0",
            "redis://:hunter2@host:0/0",
            "redis://:hunter2@host/zero",
            "redis://:hunter2@host/0/1",
            "redis://:hunter2@host?db=zero",
            "redis://:hunter2@host?nonsense=1",
            "redis://:hunter2@host?socket_timeout=soon",
            "redis://[hunter2",
            "redis://[hunter2]:1/0",
            "redis+cluster://:hunter2@host:7000",
            "redis+sentinel://:hunter2@host:26379",
            "redis+sentinel://:hunter2@host/service",
            "redis+sentinel://:hunter2@host:port/service",
            "redis+sentinel://:hunter2@host:²/service",
            "redis+sentinel://:hunter2@host:70000/service",
            "redis+sentinel://:hunter2@host:26379/service/zero",
            "redis+sentinel://:hunter2@host:26379/service/0/1",
            "redis+sentinel://:hunter2@host:26379/service?ssl=true",
            "redis+sentinel://:hunter2@host:26379/service/0#ssl",
        )
    ],
    *[
        (name, value)
        for name in ("DATABASE_URL", "DATABASE_REPLICA_URL")
        for value in (
            "hunter2",
            "mysql://u:hunter2@host/viva",
            "redis://:hunter2@host/0",
            "http://hunter2?host=a",
            "postgresql://u:hunter2@host:port/viva",
            "postgresql://u:hunter2@host:65536/viva",
            "postgresql://u:hunter2@host:0/viva",
            "postgresql://u:hunter2@a:1,b:port/viva",
            "postgresql://u:hunter2@host/viva?nonsense=1",
            "postgresql://u:hunter2@host/viva?connect_timeout=soon",
            "postgresql://[hunter2",
            "host=hunter2 port=port",
        )
    ],
]
GOOD = [
    ("REDIS_URL", "redis://"),
    ("REDIS_URL", "redis://user:p%40ss@host:6380/3"),
    ("REDIS_URL", "rediss://host/"),
    ("REDIS_URL", "unix:///run/redis.sock?db=1"),
    ("REDIS_URL", "redis://[::1]:6379/0"),
    ("REDIS_URL", "redis+sentinel://:pw@a:26379,b:26379/mymaster/2"),
    ("CACHE_URL", "redis://cache"),
    ("DATABASE_URL", "postgres://u:p@a:5432,b:5433/viva?target_session_attrs=read-write"),
    ("DATABASE_URL", "postgresql:///viva?host=/run/postgresql"),
    ("DATABASE_URL", "postgresql://u:p@[::1]:5432/viva?sslmode=require&connect_timeout=4"),
    ("DATABASE_URL", "host=a dbname=viva user=u"),
    ("DATABASE_REPLICA_URL", "postgresql://replica/viva"),
]


def _refusal(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as refused:
        read_settings(environ)
    return str(refused.value)


def test_three_settings_are_enough() -> None:
    settings = read_settings(NEEDED)
    assert settings.redis_url == "redis://redis"
    assert (settings.openai_api_key, settings.database_replica_url) == (None, None)
    assert (settings.drain_s, settings.max_connections, settings.background) == (13, 6000, False)
    assert (settings.origins, settings.hosts) == ((), ())


@pytest.mark.parametrize("name", NEEDED)
def test_one_that_is_missing_is_named(name: str) -> None:
    for environ in ({**NEEDED, name: ""}, {k: v for k, v in NEEDED.items() if k != name}):
        assert _refusal(environ).startswith(f"{name} is not set: ")


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{n}={v[:9]}" for n, v in WRONG])
def test_one_that_is_wrong_is_named_and_not_repeated(name: str, value: str) -> None:
    sentence = _refusal({**NEEDED, name: value})
    assert sentence.startswith(f"{name} is wrong: it ")
    assert "\n" not in sentence
    if len(value) > 4:
        assert value not in sentence


@pytest.mark.parametrize(("name", "value"), ADDRESSES, ids=[f"{n}={v}" for n, v in ADDRESSES])
def test_a_wrong_address_is_named_and_nothing_of_it_is_told(name: str, value: str) -> None:
    sentence = _refusal({**NEEDED, name: value})
    assert sentence.startswith(f"{name} is wrong: it ")
    for part in ("hunter2", "secret", "zero", "nonsense", "soon", "mysql", "²", "host:", "65536"):
        assert part not in sentence.replace("host:port", "")
    if name == "DATABASE_URL":
        with pytest.raises(SettingsError) as refused:
            read_setting(name, {name: value})
        assert str(refused.value) == sentence


@pytest.mark.parametrize(("name", "value"), GOOD, ids=[f"{n}={v}" for n, v in GOOD])
def test_addresses_of_all_kinds_are_taken(name: str, value: str) -> None:
    settings = read_settings({**NEEDED, name: value})
    assert getattr(settings, name.lower()) == value


def test_a_name_that_is_none_of_ours_stops_the_start() -> None:
    assert "VIVA_MAX_CONNECTION " in _refusal({**NEEDED, "VIVA_MAX_CONNECTION": "5"})
    for name in OTHERS:
        read_settings({**NEEDED, name: "x"})
    assert _refusal({**NEEDED, "viva_model": "m"}).startswith("viva_model is no setting")
    read_settings({**NEEDED, "VIVARIUM": "1", "PATH": "/bin"})


def test_an_empty_setting_is_the_default() -> None:
    empty = {declared.variable: "" for declared in DECLARED if declared.default is not None}
    assert read_settings({**NEEDED, **empty}) == read_settings(NEEDED)


def test_lists_and_flags_are_read_as_people_write_them() -> None:
    given = {
        "VIVA_HOSTS": " a.example, b.example:80 ,[::1]:8000",
        "VIVA_ORIGINS": "https://A.example/, http://b.example:8080,https://c.example:443",
        "VIVA_API": "responses",
        "VIVA_BACKGROUND": "1",
    }
    settings = read_settings({**NEEDED, **given})
    assert settings.hosts == ("a.example", "b.example:80", "[::1]:8000")
    assert settings.origins == ("https://a.example", "http://b.example:8080", "https://c.example")
    assert settings.background


@pytest.mark.parametrize("api", [{}, {"VIVA_API": ""}, {"VIVA_API": "chat"}])
def test_what_would_have_no_effect_beside_another_stops_the_start(api: dict[str, str]) -> None:
    told = _refusal({**NEEDED, **api, "VIVA_BACKGROUND": "1"})
    assert "VIVA_BACKGROUND=1 has no effect with VIVA_API=chat" in told
    assert "`VIVA_API=responses`" in reference()


def test_no_value_shows_in_a_representation() -> None:
    shown = f"{read_settings({**NEEDED, 'OPENAI_API_KEY': 'a-key'})!r}"
    assert not any(value in shown for value in (*NEEDED.values(), "a-key"))


def test_every_setting_is_told_in_the_reference() -> None:
    page = reference()
    for declared in DECLARED:
        assert f"| `{declared.variable}` |" in page
    assert "| whole, 1 … 100000 |" in page
    assert "| 0.1 … 120 |" in page
    (cache,) = (line for line in page.splitlines() if "CACHE_URL" in line)
    assert "same server" in cache


def test_one_setting_is_read_without_the_others() -> None:
    assert read_setting("DATABASE_URL", {"DATABASE_URL": "dbname=x"}) == "dbname=x"
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        read_setting("DATABASE_URL", {})
    with pytest.raises(SettingsError, match="VIVA_NONSENSE"):
        read_setting("DATABASE_URL", {"DATABASE_URL": "dbname=x", "VIVA_NONSENSE": "1"})


# --- the commands that need only some -------------------------------------------------------------


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for declared in DECLARED:
        monkeypatch.delenv(declared.variable, raising=False)
    return monkeypatch


def test_migrate_needs_the_database_alone(
    environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    async def fake(url: str) -> None:
        asked.append(url)

    environ.setattr(migrate, "migrate", fake)
    assert migrate.run(argparse.Namespace()) == 1
    assert "DATABASE_URL is not set" in capsys.readouterr().err
    environ.setenv("DATABASE_URL", "postgresql://there")
    assert migrate.run(argparse.Namespace()) == 0
    assert asked == ["postgresql://there"]
    environ.setenv("VIVA_DATABASE_URL", "postgresql://there")
    assert migrate.run(argparse.Namespace()) == 1
    assert "VIVA_DATABASE_URL is no setting" in capsys.readouterr().err


def test_up_tells_of_a_secret_that_is_too_short(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: Any = up._secret  # pyright: ignore[reportPrivateUsage]
    environ.setenv("VIVA_JWT_SECRET", "short")
    with pytest.raises(SettingsError, match="VIVA_JWT_SECRET is wrong: it needs at least 32"):
        read(tmp_path)
    environ.setenv("VIVA_JWT_SECRET", "s" * 32)
    assert read(tmp_path) == "s" * 32
    assert list(tmp_path.iterdir()) == []


def test_up_makes_a_secret_once(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read: Any = up._secret  # pyright: ignore[reportPrivateUsage]
    environ.delenv("VIVA_JWT_SECRET", raising=False)
    made = read(tmp_path)
    assert len(made) >= 32
    assert read(tmp_path) == made
    assert (tmp_path / "jwt.secret").stat().st_mode & 0o077 == 0


def test_a_token_needs_the_secret(
    environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whom = argparse.Namespace(user="ann", role="reviewer", data_dir=None)
    assert token.run(whom) == 1
    told = capsys.readouterr().err
    assert "VIVA_JWT_SECRET is not set" in told
    assert "--data-dir" in told
    environ.setenv("VIVA_JWT_SECRET", "s" * 31)
    assert token.run(whom) == 1
    assert "at least 32 bytes" in capsys.readouterr().err
    environ.setenv("VIVA_JWT_SECRET", "s" * 32)
    assert token.run(whom) == 0
    assert capsys.readouterr().out.count(".") == 2


@pytest.mark.parametrize("user", ["", "u" * 129, "a\0b", "a\udc80"])
def test_a_token_is_for_somebody_whom_the_server_takes(
    environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], user: str
) -> None:
    environ.setenv("VIVA_JWT_SECRET", "s" * 32)
    assert token.run(argparse.Namespace(user=user, role="candidate", data_dir=None)) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "--user has to be text of 1 to 128 characters\n")


def test_a_token_of_a_data_directory_is_signed_with_its_secret(
    environ: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whom = argparse.Namespace(user="ann", role="candidate", data_dir=tmp_path)
    assert token.run(whom) == 1
    assert "holds no secret" in capsys.readouterr().err
    environ.setenv("VIVA_JWT_SECRET", "s" * 32)
    (tmp_path / "jwt.secret").write_text("t" * 40 + "\n")
    assert token.run(whom) == 0
    told = capsys.readouterr().out.strip()
    assert _jwt.decode(told, "t" * 40, algorithms=["HS256"])["sub"] == "ann"
    environ.setenv("VIVA_NONSENSE", "1")
    assert token.run(whom) == 1
    assert "VIVA_NONSENSE is no setting" in capsys.readouterr().err


def test_up_tells_where_there_are_no_ports(capsys: pytest.CaptureFixture[str]) -> None:
    for count in (2, 1_000_000_000):
        assert up.run(argparse.Namespace(port=65535, instances=count, data_dir=Path("none"))) == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "--port" in told
    assert not Path("none").exists()


def test_up_tells_reviewers_a_command_that_can_be_typed(
    environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    announce: Any = up._announce  # pyright: ignore[reportPrivateUsage]
    environ.setattr("sys.argv", [".venv/bin/viva", "up"])
    announce([8000], "s" * 32, Path("my data"))
    told = ".venv/bin/viva token --user NAME --role reviewer --data-dir 'my data'"
    assert f"\n  {told}\n" in capsys.readouterr().out
    environ.setenv("VIVA_JWT_SECRET", "s" * 32)
    announce([8000], "s" * 32, Path("my data"))
    assert "--role reviewer\n" in capsys.readouterr().out


def test_up_gives_its_instances_no_backend_of_the_shell() -> None:
    own: Any = up._environment  # pyright: ignore[reportPrivateUsage]
    services = SimpleNamespace(socket_url="unix:///own", database_url="postgresql:///own")
    shell = {name: f"{name}://shell" for name in ("CACHE_URL", "DATABASE_REPLICA_URL", *NEEDED)}
    settings = read_settings({**shell, **own(services, "s" * 32, [8000])})
    assert (settings.redis_url, settings.cache_url) == ("unix:///own", "")
    assert (settings.database_url, settings.database_replica_url) == ("postgresql:///own", None)
    assert settings.hosts == ("127.0.0.1:8000", "localhost:8000")


@pytest.mark.parametrize(
    "text", ["m", "m=1", "m=1/2", "m=1/2/3/4", "=1/2/3", "m=a/b/c", "m=-1/0/0"]
)
def test_wrong_prices_stop_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="VIVA_PRICES is wrong: it has to be"):
        read_settings({**NEEDED, "VIVA_PRICES": text})


def test_prices_of_own_models() -> None:
    found = read_settings({**NEEDED, "VIVA_PRICES": "a=b=1/0.5/2, local=0/0/0"}).prices
    assert found == {"a=b": (1, 0.5, 2), "local": (0, 0, 0)}
