"""The page of states says what the table says."""

from pathlib import Path
from typing import Any

from protocol.diagram import diagram, page
from protocol.machine import STATUSES, TABLE
from protocol.scalars import ENDED

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "states.md"


def name(kind: Any) -> str:
    return kind.__struct_config__.tag or kind.__name__


def test_the_page_in_the_docs_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else page()
    assert written == page(), "write it anew, as protocol/diagram.py tells"


def test_every_edge_of_the_table_is_drawn_where_its_status_can_be_reached() -> None:
    drawn: set[tuple[str, str, str]] = set()
    for line in diagram().splitlines()[2:]:
        edge, _, inputs = line.strip().partition(": ")
        start, _, end = edge.partition(" --> ")
        drawn |= {(start, end, each) for each in inputs.split(", ")}
    edges = {(start, end, by) for start, end, by in drawn if end != "[*]"}
    statuses = {"created"} | {end for _, end, _ in edges}
    expected = {
        (status, target, name(kind))
        for (status, kind), rule in TABLE.items()
        for target in rule.leads_to
        if status in statuses
    }
    assert edges == expected
    assert {start for start, end, _ in drawn if end == "[*]"} == statuses & ENDED
    assert statuses == set(STATUSES)


def test_the_table_on_the_page_is_whole() -> None:
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) * len(STATUSES) == len(TABLE)
    assert {len(row) for row in rows} == {len(STATUSES) + 1}
