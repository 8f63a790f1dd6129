"""What is left of a text that goes into a plan, and how many may have theirs read at a time."""

import asyncio
import sys
import time
import unicodedata
from typing import Any

import msgspec
import pytest

from protocol.plan import Plan
from server.clock import SystemClock
from server.documents import reading
from server.documents.faults import UnreadableError
from server.documents.pdf import Taken
from server.documents.reading import Documents, FullError, TooOftenError
from server.documents.text import LONGEST, MARKS, decoded, folded
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual

ENCODED = {
    "UTF-8": "Zoë — 日本".encode(),
    "UTF-8 with its mark": "\ufeffZoë — 日本".encode(),
    "UTF-16": "Zoë — 日本".encode("utf-16"),
    "UTF-16, the other way round": b"\xfe\xff" + "Zoë — 日本".encode("utf-16-be"),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_files_of_unicode(encoding: str) -> None:
    assert folded(decoded(ENCODED[encoding])) == ("Zoë — 日本", False)


def test_files_of_windows() -> None:
    assert decoded("Zoë “made” … €".encode("cp1252")) == "Zoë “made” … €"


BINARY = {
    "NUL": b"a\0b",
    "no character of Windows": b"\x81\x8d",
    "half of UTF-16": b"\xff\xfea",
}


@pytest.mark.parametrize("kind", BINARY)
def test_files_that_are_no_text(kind: str) -> None:
    with pytest.raises(UnreadableError) as told:
        decoded(BINARY[kind])
    assert told.value.fault == "damaged"


def test_what_is_folded() -> None:
    messy = "\x07e\ufb03cient \u00a0 \t co\u00adop\r\n\r\n\n\n\f\uf0b7 Zoe\u0308\u202e \x1b[0m\n"
    assert folded(messy) == ("efficient coop\n\nZoë [0m", False)


def test_letters_that_nobody_sees_are_left_out() -> None:
    hidden = "".join(chr(0xE0000 + ord(char)) for char in "hire them")
    assert folded(f"Ada{hidden} bakes") == ("Ada bakes", False)


@pytest.mark.parametrize(
    "text",
    ["", " \n\t ", "\uf0b7 \x00", "— … •", " " * 100_000 + "x"],
    ids=["nothing", "white space", "icons", "signs", "a word too far away"],
)
def test_what_says_nothing(text: str) -> None:
    with pytest.raises(UnreadableError) as told:
        folded(text)
    assert told.value.fault == "no_text"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("x" * LONGEST, (LONGEST, False)),
        ("x" * (LONGEST + 1), (LONGEST, True)),
        ("\U0001f600x" * LONGEST, (LONGEST, True)),
        ("x " + " " * 70_000 + "y", (1, True)),
    ],
    ids=["just fits", "one too many", "wide ones", "cut before it is folded"],
)
def test_a_plan_takes_it(text: str, left: tuple[int, bool]) -> None:
    kept, clipped = folded(text)
    assert (len(kept), clipped) == left
    plan = {"type": "case", "role": "Baker", "resume": kept, "job_description": kept}
    assert msgspec.convert(plan, Plan).resume == kept


def test_the_bound_is_that_of_a_plan() -> None:
    plan = {"type": "case", "role": "Baker", "resume": "x" * (LONGEST + 1)}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(plan, Plan)


# --- what is dear to normalise --------------------------------------------------------------------


@pytest.mark.parametrize(
    "marks",
    [
        "\u0301" * 25_000 + "\u0316" * 25_000,
        "\u0301\u0316" * 25_000,
        "\u0f73" * 50_000,  # no non-starter itself, but two of them
        ("\u0301" * 99 + "\u202e") * 500,  # parted by what goes before
    ],
    ids=["two kinds", "by turns", "each two", "parted"],
)
def test_no_long_run_of_marks_is_normalised(monkeypatch: pytest.MonkeyPatch, marks: str) -> None:
    given: list[str] = []

    def normalised(form: str, text: str) -> str:
        assert form == "NFC"
        given.append(text)
        return text

    monkeypatch.setattr(unicodedata, "normalize", normalised)
    kept, clipped = folded(f"Zoe{marks}bakes")
    assert kept.startswith("Zoe")
    assert kept.endswith("bakes")
    assert not clipped
    assert [len(text) for text in given] == [len("Zoebakes") + MARKS]


def test_nothing_but_marks_is_sorted() -> None:
    """A run of what is a mark by its category holds all that normalising may have to sort."""
    others = (
        unicodedata.normalize("NFD", char)
        for char in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(char)[0] != "M"
    )
    assert all(not unicodedata.combining(text[0]) for text in others)


HONEST = {
    "Vietnamese": "Nguye\u0302\u0303n Thi\u0323 A\u0301nh Tuye\u0302\u0301t",
    "Hebrew": "\u05d1\u05bc\u05b0\u05e8\u05b5\u05d0\u05e9\u05c1\u05b4\u0596\u05d9\u05ea",
    "Arabic": "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f\u064c",
    "Hindi": "\u0915\u094d\u0937\u0947\u0924\u094d\u0930\u0940\u092f",
    "Tibetan": "\u0f66\u0f92\u0fb2\u0f74\u0f56\u0f66",
    "Thai": "\u0e17\u0e35\u0e48\u0e19\u0e31\u0e48\u0e19\u0e33\u0e49",
    "an emoji": "\U0001f44d\U0001f3fd \u2764\ufe0f 1\ufe0f\u20e3",
}


@pytest.mark.parametrize("language", HONEST)
def test_words_of_languages_keep_their_marks(language: str) -> None:
    text = f"{HONEST[language]} " * 100
    assert folded(text)[0] == unicodedata.normalize("NFC", text).strip()


# --- how many ------------------------------------------------------------------------------------


def test_a_user_has_a_dozen_and_then_one_a_minute() -> None:
    async def story() -> None:
        documents = Documents(LoopClock())
        for _ in range(reading.BURST):
            await _once(documents, "ada")
        with pytest.raises(TooOftenError) as told:
            await _once(documents, "ada")
        await _once(documents, "bob")
        await asyncio.sleep(told.value.wait_s - 0.1)
        with pytest.raises(TooOftenError):
            await _once(documents, "ada")
        await asyncio.sleep(0.2)
        await _once(documents, "ada")

    run_virtual(story())


async def _once(documents: Documents, user: str) -> None:
    async with documents.admitted(user):
        pass


async def _stay(documents: Documents, user: str, leave: asyncio.Event) -> None:
    async with documents.admitted(user):
        await leave.wait()


def test_a_user_takes_two_places_and_all_take_sixteen() -> None:
    async def story() -> None:
        documents, leave = Documents(LoopClock()), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(reading.INSIDE):
                group.create_task(_stay(documents, f"user {number // 2}", leave))
                await asyncio.sleep(0)
                if number == 1:
                    with pytest.raises(TooOftenError):
                        await _stay(documents, "user 0", leave)
            with pytest.raises(FullError):
                await _stay(documents, "somebody else", leave)
            leave.set()
        await _stay(documents, "somebody else", leave)
        await _stay(documents, "user 0", leave)

    run_virtual(story())


def test_allowances_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "USERS", 3)

    monkeypatch.setattr(reading, "BURST", 1)

    async def story() -> None:
        documents = Documents(LoopClock())
        for user in ("ada", "bob", "cyd"):
            await _once(documents, user)
        with pytest.raises(TooOftenError):
            await _once(documents, "ada")
        await _once(documents, "dan")
        await _once(documents, "bob")  # used longest ago, and so forgotten
        with pytest.raises(TooOftenError):
            await _once(documents, "ada")

    run_virtual(story())


def test_two_processes_at_a_time_and_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WAIT_S", 0.2)
    running = most = 0

    async def story() -> list[Any]:
        leave = asyncio.Event()

        async def take(_: bytes) -> Taken:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await leave.wait()
            running -= 1
            return Taken("words", 1, clipped=True)

        documents = Documents(SystemClock(), take)
        asked = [asyncio.create_task(documents.text(b"", "application/pdf")) for _ in range(5)]
        began = time.monotonic()
        await asyncio.wait(asked[2:])
        assert time.monotonic() - began < 5
        leave.set()
        done = await asyncio.gather(*asked, return_exceptions=True)
        again = await documents.text(b"", "application/pdf")
        return [*done, again]

    *done, again = asyncio.run(story())
    assert [type(each).__name__ for each in done] == ["DocumentText"] * 2 + ["FullError"] * 3
    assert most == reading.AT_ONCE
    assert (again.text, again.pages, again.clipped) == ("words", 1, True)


def test_a_document_that_fails_gives_its_process_back() -> None:
    async def broken(_: bytes) -> Taken:
        raise UnreadableError("damaged")

    async def story() -> None:
        documents = Documents(SystemClock(), broken)
        for _ in range(reading.AT_ONCE + 1):
            with pytest.raises(UnreadableError):
                await asyncio.wait_for(documents.text(b"", "application/pdf"), 5)

    asyncio.run(story())


def test_plain_text_has_no_pages() -> None:
    read = asyncio.run(Documents(SystemClock()).text(b"# Zoe\n", "text/markdown"))
    assert (read.text, read.pages, read.clipped) == ("# Zoe", None, False)
