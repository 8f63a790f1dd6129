"""What the archive decides without a server: times in ids, meanings of errors."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from storage.errors import BackendDownError, BadDataError, UnmigratedError
from storage.postgres.faults import outlives, translate, translated
from storage.postgres.pool import SETTINGS, address
from storage.postgres.times import created_at_of, moment
from tests.support.interviews import interview_id

JANUARY = 2_051_222_400_000
END_OF_TIME = 253_402_300_800_000
"""The first millisecond of the year 10000."""


@pytest.mark.parametrize("at", [0, 1, 999, JANUARY - 1, JANUARY, END_OF_TIME - 1])
def test_an_id_tells_the_millisecond_of_its_creation(at: int) -> None:
    assert created_at_of(interview_id(at)) == moment(at)
    assert (moment(at) - moment(0)) // timedelta(milliseconds=1) == at


def test_a_month_ends_with_its_last_millisecond() -> None:
    before, after = created_at_of(interview_id(JANUARY - 1)), created_at_of(interview_id(JANUARY))
    assert (before.year, before.month) == (2034, 12)
    assert after == datetime(2035, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "interview",
        "6f1e0a3c-8f5e-4d3b-9a1d-0c2b5d7e9f10",
        interview_id().upper(),
        interview_id().replace("-", ""),
        "{" + interview_id() + "}",
        "urn:uuid:" + interview_id(),
        interview_id(END_OF_TIME),
    ],
    ids=["empty", "word", "version 4", "upper case", "no dashes", "braces", "urn", "end of time"],
)
def test_only_one_spelling_of_a_uuid7_is_an_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        created_at_of(text)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (errors.AdminShutdown(), BackendDownError),
        (errors.QueryCanceled(), BackendDownError),
        (errors.LockNotAvailable(), BackendDownError),
        (errors.DeadlockDetected(), BackendDownError),
        (errors.DiskFull(), BackendDownError),
        (errors.ReadOnlySqlTransaction(), BackendDownError),
        (errors.FeatureNotSupported(), BackendDownError),
        (errors.UndefinedTable(), UnmigratedError),
        (errors.UndefinedColumn(), UnmigratedError),
        (errors.InsufficientPrivilege(), BackendDownError),
        (psycopg.InterfaceError(), BackendDownError),
        (errors.UniqueViolation(), BadDataError),
        (errors.NotNullViolation(), BadDataError),
        (errors.UntranslatableCharacter(), BadDataError),
        (errors.InvalidTextRepresentation(), BadDataError),
        (errors.SyntaxError(), BadDataError),
    ],
)
def test_errors_are_told_by_what_repeating_is_worth(
    error: psycopg.Error, meaning: type[Exception]
) -> None:
    assert type(translate(error)) is meaning


@pytest.mark.anyio
@pytest.mark.parametrize("error", [TimeoutError("secret"), ConnectionResetError("secret")])
async def test_a_message_holds_nothing_of_the_original(error: Exception) -> None:
    with pytest.raises(BackendDownError) as caught, translated():
        raise error
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_connection_that_can_never_serve_again_is_given_up() -> None:
    assert not outlives(errors.ReadOnlySqlTransaction())
    assert not outlives(errors.FeatureNotSupported())
    assert outlives(errors.QueryCanceled())


def test_settings_of_an_address_are_kept() -> None:
    made = address("postgresql://u:p@h/d?connect_timeout=9&options=-c%20jit%3Doff", SETTINGS)
    assert "connect_timeout=9" in made
    assert "-c jit=off -c statement_timeout=5s" in made
    assert "tcp_user_timeout=5000" in made
