"""HTML out of function calls: whatever is not made here is text, and is escaped."""

from collections.abc import Sequence
from html import escape
from typing import TypeAlias

from server.reporting.words import visible


class Markup(str):
    """HTML that was made by `tag`, or is a constant of this package."""

    __slots__ = ()


Child: TypeAlias = "str | int | Sequence[Child] | None"

_VOID = frozenset(("meta", "br", "line", "rect", "circle", "path", "col"))


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Return an element. Attributes: ``class_`` is `class`, ``_`` is `-`; None and False: none."""
    opened = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID and not children:
        return Markup(f"<{name}{opened}/>" if name not in {"meta", "br"} else f"<{name}{opened}>")
    return Markup(f"<{name}{opened}>{join(children)}</{name}>")


def join(children: Child) -> Markup:
    """Return what stands between two tags: markup as it is, text escaped, lists in order."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str | int):
        return Markup(escape(visible(str(children))))
    return Markup("".join(map(join, children)))


def _attribute(key: str, value: str | float | bool | None) -> str:  # noqa: FBT001  # as in HTML
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f' {name}="{escape(visible(text))}"'
