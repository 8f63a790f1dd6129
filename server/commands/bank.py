"""`viva bank`: check a question bank, and show how its questions are spread."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from ai.bank.entries import Bank
from ai.bank.loading import BankError, packaged, read_bank
from ai.bank.survey import DIFFICULTIES, LEVELS, Row, table, warnings


def run(args: argparse.Namespace) -> int:
    """Check; 0 for a good bank, whatever its warnings, 1 with a line for each fault."""
    folder: Path | None = args.folder
    try:
        bank = read_bank(packaged() if folder is None else folder)
    except BankError as error:
        for fault in error.faults:
            sys.stderr.write(f"{_place(folder, fault.file)}:{fault.line}: {fault.message}\n")
        return 1
    sys.stdout.write("\n".join(_report(bank)) + "\n")
    return 0


def _place(folder: Path | None, file: str) -> str:
    """Return the path to ``file``, which is one of the folder's or its own name."""
    if folder is None:
        return file
    return str(folder if file == folder.name else folder / file)


def _report(bank: Bank) -> Iterable[str]:
    rows = table(bank)
    yield from _aligned([_head(), *map(_cells, rows)])
    yield ""
    total = sum(map(len, bank.questions.values()))
    families = {row.family for row in rows if row.family}
    yield f"{total} questions of {len(bank.questions)} types, {len(families)} families of roles."
    yield f"Under each level: {', '.join(DIFFICULTIES)}. What fits several is counted in each."
    for warning in warnings(bank):
        yield f"warning: {warning}"


def _head() -> tuple[str, ...]:
    return ("type", "role", "all", *LEVELS)


def _cells(row: Row) -> tuple[str, ...]:
    levels = (
        " ".join(f"{row.cells.get((level, each), 0):2}" for each in DIFFICULTIES)
        for level in LEVELS
    )
    return (row.type, row.family or "any", str(row.total), *levels)


def _aligned(lines: list[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, strict=True)
        yield "  ".join(cell.ljust(width) for cell, width in cells).rstrip()
