"""The generated parts of docs/reference, taken from the code they describe.

A page is written by hand around places that are marked ``<!-- generated: NAME -->`` … ``<!-- end
-->``, or as a whole by code. ``python -m server.reference`` writes them anew; the tests tell when
that is due.
"""

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from protocol import assessment as a
from protocol import commands as c
from protocol import events as e
from protocol.closes import STANDARD, Close, may_reconnect
from protocol.diagram import page as states
from protocol.limits import LIMITS
from protocol.plan import Plan, Weight
from protocol.scalars import MAX_INTEGER, Position
from protocol.typescript import declarations
from server.cli import COMMANDS, Command
from server.meters import Meters
from server.reporting import progress as p
from server.settings import reference

PAGES = Path(__file__).parents[1] / "docs" / "reference"

_PLACE = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_DURABLE = get_args(e.DurableEvent)
_PARTS = (
    e.Snapshot,
    e.ClockView,
    e.PlanView,
    e.ReportView,
    e.TurnView,
    e.OpenView,
    e.Segment,
    c.Consent,
)


def filled(page: str) -> str:
    """Return a page with its generated places filled.

    Raises:
        KeyError: a place asks for something that is not generated.
    """
    return _PLACE.sub(lambda place: f"{place[1]}\n{SOURCES[place[2]]()}\n{place[3]}", page)


def current(path: Path) -> str:
    """Return what a page has to be; see `filled`."""
    whole = WHOLE.get(path.name)
    return whole() if whole else filled(path.read_text(encoding="utf-8"))


def main() -> None:
    """Bring every page of docs/reference up to date; print the names of those that changed."""
    for path in sorted(PAGES.iterdir()):
        new = current(path)
        if new != path.read_text(encoding="utf-8"):
            path.write_text(new, encoding="utf-8")
            print(path.name)  # noqa: T201  # a command of the developers


# --- messages ------------------------------------------------------------------------------------


def _messages(kinds: Iterable[type[msgspec.Struct]]) -> str:
    return "\n".join(_described(f"`{kind.__struct_config__.tag}`", kind) for kind in kinds)


def _parts() -> str:
    return _structs(*_PARTS)


def _structs(*kinds: type[msgspec.Struct]) -> str:
    return "\n".join(_described(kind.__name__, kind) for kind in kinds)


def _described(title: str, kind: type[msgspec.Struct]) -> str:
    lines = [f"### {title}", "", _prose(kind.__doc__), ""]
    rows = _fields(kind)
    if rows:
        lines += [*_table(("field", "type", ""), rows), ""]
    return "\n".join(lines)


def _fields(kind: type[msgspec.Struct]) -> list[tuple[str, str, str]]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        (f"`{field.encode_name}`", _type(hints[field.name]), _presence(field))
        for field in msgspec.structs.fields(kind)
        if not (kind in _DURABLE and field.name == "id")
    ]


def _presence(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    default = field.default
    return "optional" if default in (None, (), "", msgspec.NODEFAULT) else f"default `{default}`"


def _type(hint: Any) -> str:
    return _words(msgspec.inspect.type_info(hint))


def _words(kind: Any) -> str:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _words(kind.type)
    return _WORDS[type(kind)](kind)


def _integer(kind: msgspec.inspect.IntType) -> str:
    if kind.le is not None and kind.le < MAX_INTEGER:
        return f"integer, {kind.ge} … {kind.le}"
    return f"integer, {kind.ge} or more"


def _number(kind: msgspec.inspect.FloatType) -> str:
    if kind.le is not None and kind.le < MAX_INTEGER:
        return f"number, {kind.ge:g} … {kind.le:g}"
    return "number" if kind.ge is None else f"number, {kind.ge:g} or more"


def _text(kind: msgspec.inspect.StrType) -> str:
    pattern = (kind.pattern or _ANY).removeprefix(r"\A").removesuffix(r"\Z")
    if kind.pattern == _POSITION:
        return "event id, `<seq>-<check>`"
    if not pattern.startswith(_ANY):
        return f"text, `{pattern}`"
    if kind.max_length is None:
        return "text"
    return f"text, {kind.min_length or 0} … {kind.max_length} characters"


def _union(kind: msgspec.inspect.UnionType) -> str:
    untold: tuple[type, ...] = (msgspec.inspect.NoneType,)
    if any(isinstance(each, msgspec.inspect.FloatType) for each in kind.types):
        untold += (msgspec.inspect.IntType,)  # a number may be whole
    return " or ".join(_words(each) for each in kind.types if not isinstance(each, untold))


_ANY = r"[^\x00]*"
_POSITION = get_args(Position)[1].pattern
_WORDS: dict[type, Callable[[Any], str]] = {
    msgspec.inspect.BoolType: lambda _: "`true` or `false`",
    msgspec.inspect.DictType: lambda _: "object",
    msgspec.inspect.FloatType: _number,
    msgspec.inspect.IntType: _integer,
    msgspec.inspect.ListType: lambda kind: f"list of {_words(kind.item_type)}",
    msgspec.inspect.LiteralType: lambda kind: " ".join(f"`{value}`" for value in kind.values),
    msgspec.inspect.StrType: _text,
    msgspec.inspect.StructType: lambda kind: f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})",
    msgspec.inspect.UnionType: _union,
    msgspec.inspect.VarTupleType: lambda kind: f"list of {_words(kind.item_type)}",
}
"""How each type is told; a message with any other one needs an entry here."""


def _plan() -> str:
    return "\n".join([*_table(("field", "type", ""), _fields(Plan)), "", _structs(Weight)])


def _limits() -> str:
    rows = [(f"`{name}`", str(value)) for name, value in msgspec.structs.asdict(LIMITS).items()]
    return "\n".join([*_table(("limit", "value"), rows), ""])


# --- close codes, command line -------------------------------------------------------------------


def _closes(*, reconnect: bool) -> str:
    meanings = STANDARD | {int(close): close.reason for close in Close}
    rows = [
        (str(code), meanings[code]) for code in sorted(meanings) if may_reconnect(code) == reconnect
    ]
    return "\n".join([*_table(("code", "meaning"), rows), ""])


class _Options(argparse.ArgumentParser):
    """Collects what a subcommand declares, so that no version of argparse decides its look."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        self.rows: list[tuple[str, str]] = []

    def add_argument(self, *names: str, **given: Any) -> argparse.Action:
        """Note the option, and declare it."""
        action = super().add_argument(*names, **given)
        choices = given.get("choices") or ()
        value = given.get("metavar") or "|".join(choices) or action.dest.upper()
        shown = f"{names[0]} {value}" if action.option_strings else value
        if action.nargs == 0:  # a flag
            shown = names[0]
        need = " (required)" if action.required else ""
        meaning = (action.help or "") % {"default": action.default}
        self.rows.append((f"`{shown}`".replace("|", r"\|"), f"{meaning}{need}"))
        return action


def _command_line() -> str:
    return "\n".join(_subcommand(command) for command in COMMANDS if command.present)


def _subcommand(command: Command) -> str:
    options = _Options()
    command.add_options(options)
    lines = [f"### `viva {command.name}`", "", _sentence(command.summary), ""]
    if options.rows:
        lines += [*_table(("option", "meaning"), options.rows), ""]
    return "\n".join(lines)


# --- metrics -------------------------------------------------------------------------------------


class _Registered(CollectorRegistry):
    """Keeps what is registered in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[Any] = []

    def register(self, collector: Any) -> None:
        """See `CollectorRegistry.register`."""
        self.collectors.append(collector)
        super().register(collector)


def _metrics() -> str:
    registry = _Registered()
    Meters(registry)
    rows: list[tuple[str, ...]] = []
    # The process's own collector is left out: what it has, the system decides.
    for collector in registry.collectors:
        if isinstance(collector, MetricWrapperBase):
            (metric,) = collector.describe()
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            labels = " ".join(f"`{label}`" for label in vars(collector)["_labelnames"]) or "—"
            rows.append((f"`{name}`", metric.type, labels, metric.documentation))
    return "\n".join([*_table(("metric", "type", "labels", "meaning"), sorted(rows)), ""])


# --- Markdown ------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _prose(docstring: str | None) -> str:
    return " ".join((docstring or "").replace("``", "`").split())


SOURCES: dict[str, Callable[[], str]] = {
    "settings": reference,
    "hello": lambda: _messages((c.Hello,)),
    "commands": lambda: _messages(get_args(c.DurableCommand)),
    "signals": lambda: _messages((c.SpeechPartial, c.Ack, c.Ping)),
    "events": lambda: _messages(_DURABLE),
    "controls": lambda: _messages(get_args(e.EphemeralMessage)),
    "parts": _parts,
    "report": lambda: _structs(a.Report, a.Coverage, a.Rating, a.Evidence, a.Remark, Weight),
    "progress": lambda: _structs(p.Progress, p.Series, p.Point),
    "limits": _limits,
    "plan": _plan,
    "closes-reconnect": lambda: _closes(reconnect=True),
    "closes-stay": lambda: _closes(reconnect=False),
    "command-line": _command_line,
    "metrics": _metrics,
}
"""What each place is filled with, by its name."""
WHOLE: dict[str, Callable[[], str]] = {"interview.d.ts": declarations, "states.md": states}
"""Pages that code writes as a whole."""


if __name__ == "__main__":
    main()
