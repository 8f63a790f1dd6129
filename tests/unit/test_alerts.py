"""deploy/prometheus/alerts.yaml: rules that Prometheus takes, over metrics that are exported."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from server import reference

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
NAMES = [rule["alert"] for rule in RULES]
STORIES = sorted(Path(__file__).parent.glob("alerts*_test.yaml"))
GIVEN_BY_PROMETHEUS = {"job", "instance", "le"}
OF_THE_PROCESS = ("process_cpu_seconds_total", "process_resident_memory_bytes")


def exported() -> dict[str, set[str]]:
    """The labels of each metric by the names under which it can be asked for."""
    found: dict[str, set[str]] = {name: set() for name in ("up", *OF_THE_PROCESS)}
    for row in reference.SOURCES["metrics"]().splitlines():
        name, kind, labels = (row.split("|") + [""] * 4)[1:4]
        ends = ("_bucket", "_count", "_sum") if kind.strip() == "histogram" else ("",)
        for end in ends:
            found[name.strip(" `") + end] = set(re.findall(r"`(\w+)`", labels))
    return found


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_asks_for_what_is_exported_and_tells_what_to_do(rule: dict[str, Any]) -> None:
    expression, known = rule["expr"], exported()
    asked = re.findall(r"\b((?:viva|process)_\w+|up)\{([^}]*)\}", expression)
    assert asked
    assert len(asked) == len(re.findall(r"\b(?:viva|process)_\w+|\bup\b", expression))
    for name, selector in asked:
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector))
        assert "job" in labels
        assert labels - GIVEN_BY_PROMETHEUS <= known[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert {"summary", "description"} == set(rule["annotations"])


def promtool(*arguments: str | Path) -> str:
    """Run it; what it said."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool is installed")
    done = subprocess.run(
        [found, *arguments], capture_output=True, timeout=60, check=False, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules_and_its_configuration() -> None:
    told = promtool("check", "config", ALERTS.with_name("prometheus.yaml"))
    assert f"{len(RULES)} rules found" in told


def test_each_alert_rests_and_fires_in_one_story() -> None:
    told: set[str] = set()
    for path in STORIES:
        for story in yaml.safe_load(path.read_text())["tests"]:
            cases = story["alert_rule_test"]
            fires = {case["alertname"] for case in cases if case.get("exp_alerts")}
            rests = {case["alertname"] for case in cases if not case.get("exp_alerts")}
            assert fires | rests <= set(NAMES), "what has no such name rests, too"
            told |= fires & rests
    assert told == set(NAMES)


@pytest.mark.parametrize("story", STORIES, ids=[path.stem for path in STORIES])
def test_alerts_fire_when_they_should(story: Path, tmp_path: Path) -> None:
    bare = [{key: rule[key] for key in rule if key != "annotations"} for rule in RULES]
    alerts = {"groups": [{"name": "viva", "rules": bare}]}
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(alerts))
    shutil.copy(story, tmp_path)
    promtool("test", "rules", tmp_path / story.name)
