"""Event ids: their form, their chain, and that every fault of a log shows in them."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.ids import ORIGIN, EventId, chain, parse_event_id
from protocol.scalars import MAX_INTEGER

PATIENT = settings(deadline=None, database=None)
VECTORS = [
    (0, b"", 3207868063592668),
    (0, b'{"type":"interview.started","at":1}', 3802915396834034),
    (4503599627370495, b"x", 3297146363097377),
    (1, "Löwe 🦁".encode(), 249249587829144),
]


@pytest.mark.parametrize(("before", "body", "expected"), VECTORS)
def test_vectors(before: int, body: bytes, expected: int) -> None:
    assert chain(before, body) == expected


@PATIENT
@given(st.integers(0, 2**52 - 1), st.binary())
def test_the_check_is_52_bits_of_sha1(before: int, body: bytes) -> None:
    digest = hashlib.sha1(b"%d%s" % (before, body), usedforsecurity=False).digest()
    assert chain(before, body) == int.from_bytes(digest) >> 108
    assert 0 <= chain(before, body) < 2**52


@PATIENT
@given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1))
def test_an_id_is_read_as_it_is_written(seq: int, check: int) -> None:
    assert parse_event_id(str(EventId(seq, check))) == EventId(seq, check)


def test_the_origin() -> None:
    assert str(ORIGIN) == "0-0"
    assert parse_event_id("0-0") == ORIGIN
    assert ORIGIN.after(b"x") == EventId(1, chain(0, b"x"))


@PATIENT
@given(st.lists(st.binary(max_size=8), min_size=2, max_size=6, unique=True), st.data())
def test_another_past_gives_another_id(bodies: list[bytes], data: st.DataObject) -> None:
    other = data.draw(st.permutations(bodies).filter(lambda order: order != bodies))
    assert _head(bodies) != _head(list(other))
    assert _head(bodies).seq == len(bodies)


def _head(bodies: list[bytes]) -> EventId:
    head = ORIGIN
    for body in bodies:
        head = head.after(body)
    return head


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "-",
        "1-",
        "-1",
        "1-1-1",
        "01-1",
        "1-01",
        "+1-1",
        "1--1",
        " 1-1",
        "1-1 ",
        "1-1\n",
        "1.0-1",
        "1e3-1",
        "0x1-1",
        "\u0661-1",
        "\uff11-1",
        "12345678901234567-1",
        "1-12345678901234567",
        f"{MAX_INTEGER + 1}-1",
        f"1-{MAX_INTEGER + 1}",
        "1-1\0",
    ],
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="decimal"):
        parse_event_id(text)


@PATIENT
@given(st.text())
def test_any_text_is_an_id_or_a_value_error(text: str) -> None:
    try:
        found = parse_event_id(text)
    except ValueError:
        return
    assert str(found) == text
