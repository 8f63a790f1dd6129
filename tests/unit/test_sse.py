import pytest

from ai.sse import EventSplitter, OversizedEventError

STREAM = (
    b": a comment\n"
    b'event: message\r\ndata: {"a": 1}\r\n\r\n'
    b"data:no space\n\n"
    b"data: two\rdata:  lines\r\r"
    b"id: 7\nretry: 10\n\n\n"
    b"data: \xf0\x9f\x98\x80\n\n"
    b"data\n\n"
    b"data: [DONE]\n\n"
    b"data: never ended\n"
)
EVENTS = [b'{"a": 1}', b"no space", b"two\n lines", "😀".encode(), b"[DONE]"]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_cut_at_any_byte_changes_nothing(cut: int) -> None:
    splitter = EventSplitter()
    assert splitter.feed(STREAM[:cut]) + splitter.feed(STREAM[cut:]) == EVENTS


@pytest.mark.parametrize("size", range(1, 12))
def test_chunks_of_any_size_change_nothing(size: int) -> None:
    splitter = EventSplitter()
    chunks = (STREAM[at : at + size] for at in range(0, len(STREAM), size))
    assert [event for chunk in chunks for event in splitter.feed(chunk)] == EVENTS


def test_an_event_is_given_out_with_the_byte_that_ends_it() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: x\n") == []
    assert splitter.feed(b"\n") == [b"x"]
    assert splitter.feed(b"data: y\r\r") == [b"y"]
    assert splitter.feed(b"\ndata: z\n\n") == [b"z"]


def test_a_line_without_an_end_is_bounded() -> None:
    splitter = EventSplitter(limit=100)
    splitter.feed(b"data: " + b"x" * 90)
    with pytest.raises(OversizedEventError):
        splitter.feed(b"x" * 10)


def test_an_event_of_many_lines_is_bounded() -> None:
    splitter = EventSplitter(limit=100)
    with pytest.raises(OversizedEventError):
        splitter.feed(b"data: xxxx\n" * 11)


def test_many_events_in_one_chunk_are_not_bounded_together() -> None:
    assert len(EventSplitter(limit=100).feed(b"data: xxxx\n\n" * 100)) == 100
