from typing import Literal

import msgspec
import pytest
from msgspec.structs import replace

from protocol.commands import Consent
from server.notice import Notice, notice
from server.settings import read_settings

NEEDED = {
    "REDIS_URL": "redis://r",
    "DATABASE_URL": "postgresql://p",
    "VIVA_JWT_SECRET": "s" * 32,
}
BACKGROUND = {"VIVA_API": "responses", "VIVA_BACKGROUND": "1"}


def _notice(**settings: str) -> Notice:
    return notice(read_settings({**NEEDED, **settings}))


def test_offline_it_says_that_nothing_is_sent() -> None:
    told = _notice(OPENAI_BASE_URL="https://unused.example/v1", **BACKGROUND)
    assert "prepared questions" in told.points[0]
    assert "unused.example" not in " ".join(told.points)


def test_with_a_key_it_names_the_provider_and_no_more_of_its_address() -> None:
    words = " ".join(
        _notice(OPENAI_API_KEY="k", OPENAI_BASE_URL="https://u:pw@model.example:8443/v1").points
    )
    for part in ("at model.example.", "The role", "job description", "résumé"):
        assert part in words
    assert "pw" not in words
    assert "stores" not in words


@pytest.mark.parametrize(("api", "told"), [("responses", True), ("chat", False)])
def test_storing_is_told_where_it_is_done(api: Literal["responses", "chat"], *, told: bool) -> None:
    settings = read_settings({**NEEDED, "OPENAI_API_KEY": "k", **BACKGROUND})
    points = notice(replace(settings, api=api)).points
    assert any("api.openai.com stores" in point for point in points) == told


def test_ratings_in_batches_are_told() -> None:
    points = _notice(OPENAI_API_KEY="k", VIVA_RATINGS="batch").points
    assert any("lie there until they are rated" in point for point in points)
    assert not any("lie there" in point for point in _notice(OPENAI_API_KEY="k").points)
    assert not any("lie there" in point for point in _notice(VIVA_RATINGS="batch").points)


def test_each_wording_has_a_version_that_a_consent_may_carry() -> None:
    grouped = {"OPENAI_API_KEY": "k", "VIVA_RATINGS": "batch"}
    told = [_notice(), _notice(OPENAI_API_KEY="k"), _notice(OPENAI_API_KEY="k", **BACKGROUND)]
    told += [_notice(**grouped), _notice(**grouped, **BACKGROUND)]
    assert len({each.version for each in told}) == len(told)
    for each in told:
        msgspec.convert({"version": each.version, "at": 1}, Consent)
