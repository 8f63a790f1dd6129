"""What the documentation says of files, commands, settings and codes is so."""

import re
from pathlib import Path

import pytest

from server import reference
from server.cli import COMMANDS
from server.settings import DECLARED, OTHERS

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "deploy/README.md")),
]
SETTINGS = {declared.variable for declared in DECLARED} | OTHERS


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.replace(" ", "-"))
    return found


def broken(page: Path) -> list[str]:
    """The page's links that lead nowhere."""
    found: list[str] = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        place, _, anchor = link.partition("#")
        if place.startswith(("https://", "http://", "mailto:")):
            continue
        target = (page.parent / place).resolve() if place else page
        headed = target.suffix == ".md" and target.is_file()
        if not target.exists() or (
            anchor and not (headed and anchor in anchors(target.read_text(encoding="utf-8")))
        ):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A head\n[a](page.md#a-head) [b](#a-foot) [c](none.md) [d](https://e.f/)")
    assert broken(page) == ["#a-foot", "none.md"]


@pytest.mark.parametrize("page", sorted(reference.PAGES.iterdir()), ids=name)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert reference.current(page) == text, "run: .venv/bin/python -m server.reference"


def test_every_page_that_code_writes_is_there() -> None:
    assert {page.name for page in reference.PAGES.iterdir()} > set(reference.WHOLE)


def test_flags_are_told_without_a_value() -> None:
    told = reference.SOURCES["command-line"]()
    assert "| `--plain` |" in told
    assert "| `--port PORT` |" in told


def test_everything_that_is_generated_has_its_place() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in reference.PAGES.glob("*.md"))
    places = re.findall(r"<!-- generated: ([\w-]+) -->\n", pages)
    assert sorted(places) == sorted(reference.SOURCES)


def test_a_place_that_is_out_of_date_is_filled_anew() -> None:
    page = "before\n<!-- generated: limits -->\nold\n<!-- end -->\nafter\n"
    filled = reference.filled(page)
    assert "old" not in filled
    assert "`frame_bytes` | 65536" in filled
    assert filled.startswith("before\n")
    assert filled.endswith("<!-- end -->\nafter\n")
    assert reference.filled(filled) == filled


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    made = set(re.findall(r"(?:`|^|; |&& |… )make ([a-z]+)", text, re.MULTILINE))
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert made <= set(targets)
    run = set(re.findall(r"(?:`|/|&& )viva (?!is )([a-z]+)", text))
    assert run <= {command.name for command in COMMANDS}


def test_the_readme_names_the_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"make ([a-z]+)", text)) >= {"run", "test", "check", "torture"}
    assert "viva talk" in text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_settings_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"\bVIVA_[A-Z0-9_]*[A-Z0-9]", text)) <= SETTINGS


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_metrics_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    told = set(re.findall(r"\bviva_[a-z_]+", text))
    assert told <= set(re.findall(r"`(viva_\w+)`", reference.SOURCES["metrics"]()))


def test_metrics_are_told_with_their_kinds_and_labels() -> None:
    told = reference.SOURCES["metrics"]()
    assert "| `viva_commands_total` | counter | `command` `verdict` |" in told
    assert "| `viva_sockets` | gauge | `role` |" in told
    assert "| `viva_flush_seconds` | histogram | — |" in told


def test_rejections_of_the_page_are_those_of_the_code() -> None:
    """Every code of a refusal in the source stands in the table, and no other."""
    page = (reference.PAGES / "messages.md").read_text(encoding="utf-8")
    table = page.partition("### Why a command is rejected")[2].partition("## Limits")[0]
    told = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    source = "".join(
        (ROOT / place).read_text(encoding="utf-8")
        for place in (
            "protocol/machine.py",
            "protocol/clock.py",
            "server/sessions.py",
            "server/connection.py",
        )
    )
    calls = r"(?:\bRefusal\(|\bReject\(|_(?:reject|refuse)\(\s*(?:\w+\.)*\w*id, )\"(\w+)\""
    assert told == set(re.findall(calls, source))


def test_decisions_are_numbered_and_listed() -> None:
    folder = ROOT / "docs" / "adr"
    pages = sorted(page for page in folder.glob("*.md") if page.name != "README.md")
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for number, page in enumerate(pages, 1):
        text = page.read_text(encoding="utf-8")
        assert page.name.startswith(f"{number:04d}-")
        title = text.splitlines()[0].removeprefix("# ")
        assert title.startswith(f"{number}. ")
        assert f"{number}. [{title.partition('. ')[2]}]({page.name})" in listed
        for part in ("## Context", "## Decision", "## Consequences"):
            assert part in text
