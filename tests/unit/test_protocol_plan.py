"""What an interview may set out to do."""

import msgspec
import pytest

from protocol.plan import Plan

_FIELDS = {"type": "technical", "role": "Engineer"}


_TAGS = (
    *("en", "EN", "de-CH", "zh-Hant-TW", "sl-rozaj-biske-1994", "de-CH-1901-u-co-phonebk"),
    *("i-default", "x-klingon", "en-x-a-b-c-d-e-f-g"),
)


@pytest.mark.parametrize("tag", _TAGS)
def test_a_language_is_any_tag(tag: str) -> None:
    assert msgspec.convert({**_FIELDS, "language": tag}, Plan).language == tag


@pytest.mark.parametrize(
    "tag", ["", "e", "English please", "en-", "-en", "en_US", "en\n", "en-Ünglish", "x-", "i"]
)
def test_and_nothing_else(tag: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="language"):
        msgspec.convert({**_FIELDS, "language": tag}, Plan)
