"""How settings are read: each reader takes a text, and tells for the docs which texts it takes.

They raise `ValueError` with what the text has to be, and never repeat the text: it may be a secret.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

DIGITS = 9
"""No whole number is longer; Python itself refuses to read very long ones."""

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"({_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(:(?P<port>[1-9][0-9]{{0,4}}))?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_USUAL_PORTS = {"http": ":80", "https": ":443"}


Prices = tuple[float, float, float]
"""US dollars per million tokens of input, cached input and output."""


class Reader(NamedTuple):
    """Reads a setting; ``takes`` tells which texts."""

    takes: str
    read: Callable[[str], Any]

    def __call__(self, text: str) -> Any:
        """Return the value of ``text``, or raise `ValueError`."""
        return self.read(text)


def number(least: float, most: float) -> Reader:
    """Take a number within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError("it has to be a number") from None
        if not least <= value <= most:
            raise ValueError(f"it has to be between {least:g} and {most:g}")
        return value

    return Reader(f"{least:g} … {most:g}", read)


def whole(least: int, most: int) -> Reader:
    """Take a whole number within bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > DIGITS or not least <= int(text) <= most:
            raise ValueError(f"it has to be a whole number between {least} and {most}")
        return int(text)

    return Reader(f"whole, {least} … {most}", read)


def one_of(*choices: str) -> Reader:
    """Take one of some words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"it has to be one of {', '.join(choices)}")
        return text

    return Reader(" ".join(f"`{choice}`" for choice in choices), read)


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("it has to be 1 or 0")
    return text == "1"


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and int(match["port"] or 1) < 65_536  # the ports end


def _hosts(text: str) -> tuple[str, ...]:
    hosts = _items(text)
    if not all(map(_is_host, hosts)):
        raise ValueError("it has to be hosts like interviews.example:8000, without a scheme or *")
    return tuple(hosts)


def _origin(text: str) -> str:
    scheme, mark, host = text.removesuffix("/").partition("://")
    if not mark or not _SCHEME.fullmatch(scheme) or not _is_host(host):
        raise ValueError("it has to be origins like https://interviews.example, without * or paths")
    # Browsers leave the usual port out.
    return f"{scheme}://{host.removesuffix(_USUAL_PORTS.get(scheme.lower(), '/'))}".lower()


def _origins(text: str) -> tuple[str, ...]:
    return tuple(_origin(item) for item in _items(text))


def _web_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        fine = parts.scheme in _USUAL_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    else:
        fine = fine and not (parts.query or parts.fragment) and not re.search(r"\s", text)
    if not fine:
        raise ValueError("it has to be an address like https://api.openai.com/v1")
    return text


def optional(reader: Reader, *, absent: str | None) -> Reader:
    """Take what ``reader`` takes; an empty text is ``absent``."""

    def read(text: str) -> Any:
        return reader(text) if text else absent

    return Reader(reader.takes, read)


def _prices(text: str) -> dict[str, Prices]:
    prices: dict[str, Prices] = {}
    for item in _items(text):
        model, mark, figures = item.rpartition("=")
        numbers = figures.split("/")
        if not model or not mark or len(numbers) != len(_ONE):
            raise ValueError("it has to be prices like my-model=0.5/0.05/2, with commas")
        fresh, cached, output = map(_PRICE.read, numbers)
        prices[model.strip()] = (fresh, cached, output)
    return prices


def _hours(text: str) -> tuple[int, int]:
    match = _SPAN.fullmatch(text.strip())
    first, until = (int(match[1]), int(match[2])) if match else (0, 0)
    if first == until or first > 23 or until > 24:
        raise ValueError("it has to be two hours of UTC like 22-6, or 0-24")
    return first, until


def _models(text: str) -> tuple[str, ...]:
    models = tuple(_items(text))
    if len(models) > MOST_MODELS or len(set(models)) < len(models):
        raise ValueError(f"it has to be at most {MOST_MODELS} models, each once, with commas")
    return models


MOST_MODELS = 9
_SPAN = re.compile(r"([0-9]{1,2})-([0-9]{1,2})")
_PRICE = number(0, 10_000)
_ONE = ("input", "cached", "output")
FLAG = Reader("`1` or `0`", _flag)
HOSTS = Reader("`host` or `host:port`, with commas", _hosts)
HOURS = Reader("`hour-hour` of UTC", _hours)
MODELS = Reader("models, with commas", _models)
ORIGINS = Reader("`scheme://host` or `scheme://host:port`, with commas", _origins)
WEB_ADDRESS = Reader("`http://` or `https://`", _web_address)
PRICES = Reader("`model=input/cached/output`, with commas", _prices)
