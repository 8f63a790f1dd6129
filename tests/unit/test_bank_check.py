"""`viva bank check`: what it counts, what it warns of, and what it refuses."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ai.bank.entries import Bank, Probe, Question
from ai.bank.loading import load_bank, packaged
from ai.bank.survey import table, warnings
from protocol.scalars import InterviewType
from server.cli import main

PHRASES = load_bank().phrases


def copied(folder: Path) -> Path:
    for file in packaged().iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def made(name: str, text: str = "", **fields: Any) -> Question:
    """A question that has no sentence in common with another one of another name."""
    probes = tuple(Probe(text=f"{name} probe {number}?") for number in range(3))
    given: dict[str, Any] = {"id": name, "text": text or name, "roles": (), "levels": ()}
    given |= {"probes": probes, "hints": (f"{name} one.", f"{name} two."), **fields}
    return msgspec.structs.replace(load_bank().questions["coding"][0], **given)


def bank(*questions: Question, kind: InterviewType = "coding") -> Bank:
    return Bank({kind: questions}, PHRASES)


def test_the_packaged_bank_is_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bank", "check"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    total = sum(map(len, load_bank().questions.values()))
    assert f"{total} questions of 7 types" in out


def test_a_question_counts_at_each_level_and_role_it_is_for() -> None:
    rows = table(
        bank(
            made("any", difficulty="easy"),
            made("own", difficulty="hard", roles=("qa", "data"), levels=("mid", "senior")),
        )
    )
    assert [(row.family, row.total) for row in rows] == [(None, 1), ("data", 1), ("qa", 1)]
    assert len(rows[0].cells) == 5
    assert rows[1].cells == {("mid", "hard"): 1, ("senior", "hard"): 1}


@pytest.mark.parametrize(
    ("questions", "told"),
    [
        (
            (
                made("one", "How would you test a ladder that firefighters climb at night?"),
                made("two", "How do you test the ladder that firefighters climb in winter?"),
            ),
            "one and two share 67% of their words",
        ),
        (
            (made("one", hints=("See here.", "And.")), made("two", hints=("See here.", "Or."))),
            "one and two have the same sentence: See here.",
        ),
        ((made("one", "Why is it so? And how did you notice?"),), "one asks more than one"),
        ((made("one", difficulty="hard", levels=("mid",)),), "coding, hard: only 0 for any role"),
        ((made("one", roles=("qa",)),), "qa: only 1 of its own"),
    ],
)
def test_it_warns(questions: Iterable[Question], told: str) -> None:
    assert any(warning.startswith(told) for warning in warnings(bank(*questions)))


def test_what_differs_is_not_warned_of() -> None:
    told = warnings(
        bank(
            *(
                made(f"{difficulty}-{number}", f"{difficulty}{number * 'x'}", difficulty=difficulty)
                for difficulty in ("easy", "medium", "hard")
                for number in range(4)
            )
        )
    )
    assert all("of its own" in warning for warning in told)


def test_every_fault_is_a_line_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(tmp_path)
    for name in ("case.toml", "coding.toml"):
        file = tmp_path / name
        text = file.read_text(encoding="utf-8").replace('difficulty = "easy"', "difficulty = 1", 1)
        file.write_text(text, encoding="utf-8")
    assert main(["bank", "check", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[0] for line in err.splitlines()] == [
        f"{tmp_path}/case.toml:5",
        f"{tmp_path}/coding.toml:5",
    ]


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bank", "check", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'none'}:1: ")
