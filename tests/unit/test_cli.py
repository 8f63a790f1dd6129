import subprocess
import sys
import textwrap
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from protocol.scalars import Difficulty, InterviewType, Level, Mode
from server import cli


def _parse(*argv: str) -> Namespace:
    return cli.parser().parse_args(argv)


def _found(name: str) -> str:
    return name


@pytest.fixture
def all_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.importlib.util, "find_spec", _found)


def test_a_command_is_offered_when_its_module_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = cli.Command("nonesuch", "do nothing", lambda _: None)
    astray = cli.Command("astray", "have not even a package", lambda _: None, "loadtest.astray")
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, missing, astray))
    assert "services" in cli.parser().format_help()
    assert "nonesuch" not in cli.parser().format_help()
    assert "astray" not in cli.parser().format_help()
    with pytest.raises(SystemExit) as exit_:
        cli.main(["nonesuch"])
    assert exit_.value.code == 2
    assert "invalid choice: 'nonesuch'" in capsys.readouterr().err


@pytest.mark.usefixtures("all_modules")
def test_the_exit_code_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(args: Namespace) -> int:
        seen.append(str(args.data_dir))
        return 7

    monkeypatch.setitem(sys.modules, "server.commands.services", SimpleNamespace(run=run))
    assert cli.main(["services", "--data-dir", "x"]) == 7
    assert cli.main(["services"]) == 7
    assert seen == ["x", ".viva"]


@pytest.mark.usefixtures("all_modules")
def test_ctrl_c_is_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "server.commands.services", SimpleNamespace(run=run))
    assert cli.main(["services"]) == 130


@pytest.mark.usefixtures("all_modules")
def test_the_options_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    up = _parse("up", "--port", "9000", "--instances", "3")
    assert (up.port, up.instances, str(up.data_dir)) == (9000, 3, ".viva")
    assert (_parse("up").port, _parse("up").instances) == (8000, 1)
    serve = _parse("serve", "--host", "0.0.0.0", "--port", "1")  # noqa: S104 - only parsed
    assert (serve.host, serve.port) == ("0.0.0.0", 1)  # noqa: S104
    assert _parse("serve").host == "127.0.0.1"
    token = _parse("token", "--user", "u", "--role", "admin")
    assert (token.user, token.role) == ("u", "admin")
    monkeypatch.delenv("VIVA_URL", raising=False)
    assert _parse("talk").url == "http://127.0.0.1:8000"
    monkeypatch.setenv("VIVA_URL", "http://elsewhere:1")
    assert _parse("talk").url == "http://elsewhere:1"
    assert _parse("talk", "--url", "http://here:2").url == "http://here:2"
    assert _parse("load", "steady", "--users", "5").users == 5
    chaos = _parse("chaos", "--kills", "200", "--seed", "7")
    assert (chaos.kills, chaos.seed) == (200, 7)
    assert chaos.command.module == "loadtest.commands.chaos"
    assert _parse("migrate").command.module == "server.commands.migrate"


@pytest.mark.usefixtures("all_modules")
@pytest.mark.parametrize(
    "argv",
    [
        ["up", "--port", "0"],
        ["up", "--port", "65536"],
        ["up", "--port", "http"],
        ["up", "--instances", "0"],
        ["token"],
        ["token", "--user", "u", "--role", "root"],
        ["talk", "--type", "chess"],
        ["talk", "--level", "boss"],
        ["talk", "--difficulty", "none"],
        ["talk", "--mode", "exam"],
        [],
    ],
)
def test_nonsense_is_refused_with_the_usage(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(argv)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: viva")


def test_a_command_is_told_as_it_can_be_typed_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "my bin" / "viva"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program), "up"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.typed("token", "--user", "a b") == f"'{program}' token --user 'a b'"
    monkeypatch.setenv("PATH", str(program.parent))
    assert cli.typed("up") == "viva up"
    monkeypatch.setattr("sys.argv", [".venv/bin/viva", "up"])
    assert cli.typed("up") == ".venv/bin/viva up", "another one is on the path"
    monkeypatch.setattr("sys.argv", ["server/__main__.py", "up"])
    assert cli.typed("up") == "viva up"


def test_what_may_be_chosen_is_what_the_protocol_knows() -> None:
    chosen = (cli.TYPES, cli.LEVELS, cli.DIFFICULTIES, cli.MODES)
    assert chosen == tuple(map(get_args, (InterviewType, Level, Difficulty, Mode)))


def test_help_and_the_embedded_servers_start_without_the_application() -> None:
    script = """
        import sys
        import server.cli, server.commands.services
        heavy = {"litestar", "msgspec", "openai", "psycopg", "redis", "storage", "ai", "protocol"}
        sys.exit(", ".join(heavy & sys.modules.keys()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
