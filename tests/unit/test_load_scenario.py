from pathlib import Path

import pytest

from loadtest.load.figures import COUNTS, RATES, SERVER
from loadtest.load.scenario import ScenarioError, changed, flat, load, read, shipped

USERS = "[users]\ncount = 1\n"
READY = {
    "smoke", "steady", "peak-5000", "reconnect-storm", "slow-readers", "soak", "rest-1000rps",
    "knee",
}  # fmt: skip


def refused(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        read(text, name="mine.toml")
    return str(caught.value)


def test_what_comes_with_viva_is_right_and_says_what_it_is_about() -> None:
    there = shipped()
    assert set(there) == READY
    assert all(there.values())
    for name in there:
        assert flat(load(name).at_most), name


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(ScenarioError, match=r"There is no scenario peak; there are .*peak-5000"):
        load("peak")


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f"seed = 7\n{USERS}")
    assert load(str(path)).seed == 7
    with pytest.raises(ScenarioError, match=r"absent\.toml cannot be read"):
        load(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("users = [", "mine.toml is no TOML"),
        ("[users]\ncuont = 5\n", "mine.toml: users: Object contains unknown field `cuont`"),
        ('[users]\ncount = "5"\n', "mine.toml: users.count: Expected `int`, got `str`"),
        ("[users]\ncount = 1\nvoice = 1.5\n", "mine.toml: users.voice: Expected `float` <= 1.0"),
        ("", "mine.toml: users: nobody comes"),
        ("[users]\ncount = 1\nper_second = 1\n", "mine.toml: users: either count or per_second"),
        (f"{USERS}[at_most]\nadded.p98_ms = 1\n", "at_most.added.p98_ms: there is no such figure"),
        (f"{USERS}[at_least]\ntokns = 1\n", "mine.toml: at_least.tokns: there is no such figure"),
        (f"{USERS}[strike]\nat_s = 1\n", "mine.toml: strike: there has to be another instance"),
        (
            f"{USERS}[strike]\nat_s = 1\n[server]\ninstances = 2\n[knee]\nstart = 1\n",
            "mine.toml: knee: the next step needs the instance that is killed",
        ),
        (
            f"{USERS}[[provider.faults]]\nkind = 'cutt'\n",
            "mine.toml: provider.faults[0].kind: Invalid enum value 'cutt'",
        ),
        ("[rest]\nper_second = 1\nmix = { list = 0 }\n", "mine.toml: rest.mix: all weights are 0"),
        (
            "[rest]\nper_second = 1\n[knee]\nstart = 1\n",
            "mine.toml: knee: it needs users.count or users.per_second",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_file_and_key(text: str, told: str) -> None:
    assert told in refused(text)


def test_bounds_have_the_full_names_of_figures() -> None:
    scenario = read(
        f"{USERS}[at_most]\nerrors = 0\nadded.p99_ms = 50\nadded.p50_ms = 15\n", name="x"
    )
    assert flat(scenario.at_most) == {"errors": 0, "added.p99_ms": 50, "added.p50_ms": 15}


def test_figures_do_not_share_names() -> None:
    assert len(COUNTS | RATES | SERVER) == len(COUNTS) + len(RATES) + len(SERVER)


def test_one_table_can_be_changed_and_the_rest_stays() -> None:
    scenario = load("smoke")
    more = changed(scenario, "users", count=99)
    assert (more.users.count, more.users.voice) == (99, scenario.users.voice)
    assert more.script == scenario.script
