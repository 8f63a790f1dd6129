"""The text of a PDF, read by a process whose troubles never are the instance's."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from server.documents.faults import UnreadableError
from server.documents.pdf import CHILD, MOST_BYTES, WALL_S, Taken, text_of_pdf
from server.documents.text import folded
from tests.support import documents


def taken(content: bytes, child: Path = CHILD, wall_s: float = WALL_S) -> Taken:
    return asyncio.run(text_of_pdf(content, child=child, wall_s=wall_s))


def fault(content: bytes, child: Path = CHILD, wall_s: float = WALL_S) -> str:
    with pytest.raises(UnreadableError) as told:
        taken(content, child, wall_s)
    return told.value.fault


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return tmp_path / "program.py"


def test_every_page_is_read() -> None:
    read = taken(documents.paper("Ada Lovelace", "An efficient engineer\nof engines"))
    assert read.pages == 2
    assert not read.clipped
    assert " ".join(read.text.split()) == "Ada Lovelace An efficient engineer of engines"


@pytest.mark.parametrize("script", documents.NAMES)
def test_every_script_is_read(script: str) -> None:
    text, _ = folded(taken(documents.foreign(script)).text)  # some come with NUL in between
    assert text.split() == documents.NAMES[script].split()


def test_a_long_one_is_read_in_part() -> None:
    read = taken(documents.paper(*["words and more " * 200] * 24))
    assert (read.pages, read.clipped) == (24, True)
    assert 60_000 <= len(read.text) < 61_000


def test_more_pages_than_are_read() -> None:
    read = taken(documents.paper(*[f"page {number}" for number in range(1, 62)]))
    assert (read.pages, read.clipped) == (61, True)
    assert "page 60" in read.text
    assert "page 61" not in read.text


def test_a_password() -> None:
    assert fault(documents.locked(to_read=True)) == "encrypted"
    assert "Ada" in taken(documents.locked(to_read=False)).text


def test_an_image_has_no_text() -> None:
    assert taken(documents.scan()).text.strip() == ""


GARBAGE = {
    "nothing": b"",
    "no PDF": b"PK\x03\x04" + bytes(2000),
    "a header alone": b"%PDF-1.7\n",
    "noise": b"%PDF-1.7\n" + bytes(range(256)) * 100,
    "cut": documents.paper("Ada")[:300],
    "a header too late": bytes(2000) + documents.paper("Ada"),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage(kind: str) -> None:
    assert fault(GARBAGE[kind]) == "damaged"


def test_a_stream_that_unfolds() -> None:
    bomb = documents.unfolding(150)
    assert len(bomb) < 3000
    assert fault(bomb) == "costly"


def test_the_processor_is_bounded(program: Path) -> None:
    source = CHILD.read_text(encoding="utf-8")
    program.write_text(source.replace("CPU_S = 8", "CPU_S = 1"), encoding="utf-8")
    with capture_logs() as logs:
        assert fault(documents.laborious(1_000_000), program, 60.0) == "costly"
    assert [log["reason"] for log in logs] == ["exit"]


def test_it_goes_last_and_is_the_first_to_be_ended(program: Path) -> None:
    source = CHILD.read_text(encoding="utf-8")
    ranks = "[os.nice(0), Path('/proc/self/oom_score_adj').read_text().strip()]"
    told = source.replace("return extracted(content)", f"return {{'text': str({ranks})}}")
    program.write_text(told, encoding="utf-8")
    assert taken(b"%PDF-", program).text in ("[10, '1000']", "[19, '1000']")


def test_memory_is_bounded(program: Path) -> None:
    source = CHILD.read_text(encoding="utf-8")
    much = source.replace("return extracted(content)", "return {'text': str(len(bytes(1 << 30)))}")
    assert much != source
    program.write_text(much, encoding="utf-8")
    assert fault(b"%PDF-", program) == "costly"


def test_time_is_bounded(program: Path) -> None:
    program.write_text("import time\ntime.sleep(600)", encoding="utf-8")
    began = time.monotonic()
    assert fault(b"%PDF-" + bytes(1 << 20), program, 0.5) == "costly"
    assert time.monotonic() - began < 10


def test_what_it_says_is_bounded(program: Path) -> None:
    program.write_text(
        f"import sys\nwhile True: sys.stdout.write('x' * {MOST_BYTES})", encoding="utf-8"
    )
    began = time.monotonic()
    assert fault(b"%PDF-", program) == "costly"
    assert time.monotonic() - began < WALL_S / 2


@pytest.mark.parametrize(
    "said",
    ["nonsense", '{"text": 1}', '{"fault": "of my own"}', '{"text": "a", "pages": -1}', "[]"],
)
def test_what_it_says_is_not_believed(program: Path, said: str) -> None:
    program.write_text(f"print({said!r})", encoding="utf-8")
    assert fault(b"%PDF-", program) == "damaged"


def test_a_process_that_fails(program: Path) -> None:
    program.write_text("raise SystemExit(3)", encoding="utf-8")
    assert fault(b"%PDF-" + bytes(1 << 20), program) == "costly"


def test_it_sees_nothing_of_the_instance(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVA_JWT_SECRET", "a secret of the instance")
    program.write_text(
        "import json, os, sys\n"
        "seen = [dict(os.environ), os.getcwd(), os.listdir('/proc/self/fd'), list(sys.modules)]\n"
        "print(json.dumps({'text': json.dumps(seen)}))",
        encoding="utf-8",
    )
    seen = taken(b"%PDF-", program).text
    assert "a secret" not in seen
    assert '"/"' in seen
    assert '["0", "1", "2", "3"]' in seen  # the last one lists them
    assert '"server' not in seen


def test_the_child_knows_nothing_of_viva() -> None:
    assert "from server" not in CHILD.read_text(encoding="utf-8")


def test_leaving_early_ends_the_process(program: Path, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program.write_text(
        f"import os, pathlib, time\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)",
        encoding="utf-8",
    )

    async def story() -> None:
        reading = asyncio.create_task(text_of_pdf(b"%PDF-", child=program, wall_s=60.0))
        while not note.exists() or not note.read_text():  # noqa: ASYNC110  # a file of another's
            await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(asyncio.wait_for(story(), 30))
    assert not Path(f"/proc/{note.read_text()}").exists()
