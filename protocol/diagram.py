"""The reference page of the interview's states, drawn from the machine's table.

To write it anew after the table has changed::

    python -c 'from protocol.diagram import page; print(page(), end="")' > docs/reference/states.md
"""

from collections.abc import Iterable

from protocol.machine import STATUSES, TABLE
from protocol.scalars import ENDED, Status

_PAGE = """\
# States of an interview

<!-- Written by protocol/diagram.py, which says how to write it anew. -->

An interview is created, live, disconnected, paused or over. Commands, what becomes of the
interviewer's turns, and time move it. Every rule is a row of `TABLE` in `protocol/machine.py`, and
this page is drawn from it. The reasons stand in [the conduct](../explanation/conduct.md).

```mermaid
{diagram}
```

## What each input does in each status

A name in code is the code of the rejection. *Applied* means that the status admits the input; what
is open at that moment may still refuse it (an answer can only be submitted while one is open).

{table}

`Speaking` says that an answer is being spoken or typed, before any of it is final, `Finished` and
`Lost` tell how the generation of an interviewer's turn went, `Noted` carries a notice, `Ticked`
says that time has passed, `Left` that nobody is there any more who could answer, `Arrived` that
somebody is again, and `Rated` and `Reported` tell what the assessor found. They come from the
server, never from a client.
"""


def page() -> str:
    """Return the reference page in Markdown, with the diagram and the whole table."""
    return _PAGE.format(diagram=diagram(), table="\n".join(_rows()))


def diagram() -> str:
    """Return the Mermaid state diagram of the statuses that can be reached."""
    edges: dict[tuple[Status, Status], list[str]] = {}
    reached = _reached()
    for (status, kind), rule in TABLE.items():
        for target in rule.leads_to if status in reached else ():
            edges.setdefault((status, target), []).append(_name(kind))
    lines = ["stateDiagram-v2", "    [*] --> created"]
    lines += [f"    {start} --> {end}: {', '.join(by)}" for (start, end), by in edges.items()]
    lines += [f"    {status} --> [*]" for status in STATUSES if status in ENDED & reached]
    return "\n".join(lines)


def _reached() -> frozenset[Status]:
    """Return the statuses that an interview can come to from its creation."""
    found: list[Status] = ["created"]
    for status in found:  # grows as it goes
        for kind in _inputs():
            found.extend(target for target in TABLE[status, kind].leads_to if target not in found)
    return frozenset(found)


def _inputs() -> Iterable[type]:
    return dict.fromkeys(kind for _, kind in TABLE)


def _rows() -> Iterable[str]:
    yield f"| input | {' | '.join(STATUSES)} |"
    yield "|---" * (len(STATUSES) + 1) + "|"
    for kind in _inputs():
        yield f"| `{_name(kind)}` | {' | '.join(_cell(status, kind) for status in STATUSES)} |"


def _cell(status: Status, kind: type) -> str:
    rule = TABLE[status, kind]
    if not rule.leads_to:
        return rule.told
    return f"{rule.told} → {', '.join(rule.leads_to)}"


def _name(kind: type) -> str:
    """Return how an input is called: a command by its type on the wire."""
    tag = getattr(kind, "__struct_config__").tag  # noqa: B009  # every input is a Struct
    return tag or kind.__name__
