"""The plan's language as prompts name it: whoever chose the tag may have put words in it."""

import re

_TAG = re.compile(
    r"([a-z]{2,3}(?:-[a-z]{3})?)(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?(?=(-|\Z))", re.IGNORECASE
)
"""Language (``zh-yue`` is one, too), script and region: hardly a place to write words into. Source:
RFC 5646, §2.1."""
UNKNOWN = "und"
"""The tag of a language that nobody knows. Source: ISO 639-2."""


def told(language: str) -> str:
    """Return what a prompt tells of a tag: language, script and region, in one spelling."""
    match = _TAG.match(language)
    return _spelt(match) if match is not None else UNKNOWN


def shared(language: str) -> str | None:
    """Return the tag in one spelling; None where it says more than `told` tells."""
    match = _TAG.match(language)
    return _spelt(match) if match is not None and not match[4] else None


def _spelt(match: re.Match[str]) -> str:
    language, script, region, _ = match.groups()
    parts = (language.lower(), script and script.title(), region and region.upper())
    return "-".join(part for part in parts if part)
