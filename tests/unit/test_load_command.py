from pathlib import Path

import pytest

from loadtest.commands import load as command
from loadtest.load.aside import SECONDS, USERS
from loadtest.load.keys import Keys
from loadtest.load.result import Result, Verdict, write
from loadtest.load.scenario import Scenario, read
from loadtest.load.target import Target
from server.cli import main, parser

DISCARD = "http://127.0.0.1:9"


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["load", *arguments])
    return code, "".join(capsys.readouterr())


def test_the_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = ended(capsys, "list")
    assert code == 0
    assert "peak-5000" in told
    assert "steady" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing",), "There is no scenario nothing"),
        (("smoke", "--url", DISCARD), "--url needs VIVA_JWT_SECRET"),
        (("reconnect-storm", "--url", DISCARD, "--secret", "s"), "kills an instance"),
        (("smoke", "--url", "localhost:8000"), "--url localhost:8000 is no address"),
        (("smoke", "--url", "http://x:80a"), "--url http://x:80a is no address"),
        (("smoke", "--metrics", DISCARD), "--metrics goes with --url"),
        (("smoke", "--url", DISCARD, "--metrics", "x:1"), "--metrics x:1 is no address"),
        (("smoke", "--url", DISCARD, "--secret", "s"), f"--url {DISCARD} does not serve viva"),
        (("smoke", "--seconds", "0"), "--seconds takes a number above 0"),
        (("smoke", "--seconds", "nan"), "--seconds takes a number above 0"),
        (("smoke", "--json", "none/x.json"), "none/x.json cannot be written"),
        (("smoke", "--html", "."), ". cannot be written"),
        (("smoke", "extra"), "extra: nothing goes with smoke"),
        (("steady", "peak-5000"), "peak-5000: nothing goes with steady"),
        (("before.json", "after.json"), "are compared by viva load compare"),
        (("list", "steady"), "steady: nothing goes with list"),
        (("compare", "one.json"), "takes two results"),
        (("compare", "one.json", "two.json"), "one.json cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told_and_ends_with_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("VIVA_JWT_SECRET", "VIVA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    code, said = ended(capsys, *arguments)
    assert code == 2
    assert told in said


@pytest.mark.parametrize(
    ("streaming", "verdict", "code"),
    [
        (95.0, "held", 0),
        (120.0, "broken", 0),
        (80.0, "held", 1),
        (80.0, "void", 2),
        (120.0, "void", 2),
    ],
)
def test_a_comparison_ends_with_1_where_something_is_worse(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    streaming: float,
    verdict: Verdict,
    code: int,
) -> None:
    before, after = (str(tmp_path / name) for name in ("before.json", "after.json"))
    write(made(100.0, "held"), Path(before))
    write(made(streaming, verdict), Path(after))
    ended_with, said = ended(capsys, "compare", before, after)
    assert ended_with == code
    assert ("  worse" in said) == (streaming == 80)


def made(streaming: float, verdict: Verdict) -> Result:
    return Result(
        name="mine",
        scenario=Scenario(),
        started_at=0.0,
        target="own servers",
        verdict=verdict,
        figures={"streaming": streaming, "server_cpu": 0.5},
    )


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), []),
        (("--users", "199"), [USERS]),
        (("--users", "200", "--seconds", "60"), []),
        (("--users", "500", "--seconds", "59.5"), [SECONDS]),
        (("--seconds", "90"), []),
        (("knee", "--users", "10"), []),
    ],
)
def test_only_less_than_the_scenario_asks_for_sets_thresholds_aside(
    arguments: tuple[str, ...], options: list[str]
) -> None:
    words = arguments if arguments[:1] == ("knee",) else ("steady", *arguments)
    assert command.fewer(parser().parse_args(["load", *words])) == options


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--token", "t"), ("", "t")),
        (("--secret", "s"), ("s", "")),
        ((), ("of the shell", "of the shell")),
    ],
)
@pytest.mark.anyio
async def test_what_is_said_goes_before_what_the_shell_holds(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], named: tuple[str, str]
) -> None:
    for name in ("VIVA_JWT_SECRET", "VIVA_TOKEN"):
        monkeypatch.setenv(name, "of the shell")
    told: list[tuple[str, str]] = []

    async def found(keys: Keys, metrics: object) -> Target:
        del metrics
        told.append((keys.secret, keys.token))
        return Target(keys=keys)

    monkeypatch.setattr(command, "found", found)
    args = parser().parse_args(["load", "smoke", "--url", DISCARD, *arguments])
    async with command.target(args, read("[users]\ncount = 1\n", name="x")):
        pass
    assert told == [named]
