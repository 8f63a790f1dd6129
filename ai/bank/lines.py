"""Where in a file of the bank something stands: TOML's readers do not tell.

The files are written one field or one item a line (see ``docs/how-to/write-questions.md``), so that
the line is found by what it begins with. A file in another form is still refused rightly, only the
line may then be that of the entry, or the first.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_SHOWN = 24
"""Characters by which a text is found: before any that TOML might have escaped, mostly."""

_TOLD_LINE = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")
_PATH = re.compile(r"at `\$\.(\w+)(?:\[(\d+)\])?")
_FIELD = re.compile(r"field `(\w+)`")


class Fault(NamedTuple):
    """What is wrong, and where."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class Page:
    """A file's text, or the part of it that holds one entry."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines = text.splitlines()
        self._from, self._to = 0, len(self._lines)

    def narrow(self, table: str, place: int) -> None:
        """Look from now on between the ``place``-th header ``[[table]]`` (from 0) and the next.

        Where there are fewer headers than that, in the whole file.
        """
        header = re.compile(rf"\s*\[\[\s*{table}\s*\]\]")
        found = [number for number, line in enumerate(self._lines) if header.match(line)]
        ends = [*found, len(self._lines)]
        inside = place < len(found)
        self._from, self._to = ends[place : place + 2] if inside else (0, len(self._lines))

    def fault(self, message: str, about: str = "") -> Fault:
        """Return a fault at the text ``about``, else where ``message`` itself points to."""
        number = self._of_text(about) if about else self._of_message(message)
        return Fault(self._file, number + 1, message)

    def _of_text(self, text: str) -> int:
        return self._first(number for number, line in self._part() if text[:_SHOWN] in line)

    def _of_message(self, message: str) -> int:
        told = _TOLD_LINE.search(message)
        if told:
            return int(told[1] or len(self._lines)) - 1
        path, field = _PATH.search(message), _FIELD.search(message)
        start = self._of_item(self._of_key(path[1]), int(path[2] or -1)) if path else self._from
        return self._of_key(field[1], start) if field else start

    def _of_key(self, key: str, start: int = 0) -> int:
        """Return the line that gives ``key`` a value, from ``start`` on; ``start`` if none does."""
        begins = re.compile(rf"\s*(?:{key}\s*=|\[+[\w.]*\b{key}\s*\])|.*[{{,]\s*{key}\s*=")
        found = (n for n, line in self._part() if n >= start and begins.match(line))
        return next(found, max(start, self._from))

    def _of_item(self, key: int, item: int) -> int:
        """Return the line of the ``item``-th (from 0) of the items, one a line, under ``key``."""
        number = key + 1 + item
        within = item >= 0 and number < self._to
        return number if within and self._lines[number].lstrip()[:1] in {"{", '"', "'"} else key

    def _part(self) -> Iterable[tuple[int, str]]:
        return enumerate(self._lines[self._from : self._to], self._from)

    def _first(self, numbers: Iterable[int]) -> int:
        return next(iter(numbers), self._from)
