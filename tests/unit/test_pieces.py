import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.handles import BankPosition, ResponsePosition, needs_response, parse_handle, stored_response
from ai.pieces import Pieces, Progress, Words


def _halves(text: str) -> str:
    """Return the text in UTF-16 units, as a provider cuts it."""
    return "".join(
        chr(unit)
        for unit in memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H").tolist()
    )


def _say(pieces: Pieces, deltas: list[str], first: int = 1) -> list[Words]:
    said = [
        Words(text) if pieces.plain(text) else pieces.take(text, first + place)
        for place, text in enumerate(deltas)
    ]
    return [words for words in (*said, pieces.close()) if words]


def _text(said: list[Words]) -> str:
    return "".join(words.text for words in said)


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_pair_split_anywhere_is_joined(cut: int) -> None:
    units = _halves("ab😀c😀")
    said = _say(Pieces(Progress(), 100), [units[:cut], units[cut:]])
    assert _text(said) == "ab😀c😀"


def test_nul_and_lone_halves_do_not_reach_the_log() -> None:
    said = _say(Pieces(Progress(), 100), ["a\x00b", "\udc00", "c", "\ud83d"])
    assert _text(said) == "ab\ufffdc\ufffd"


def test_leading_space_is_dropped_over_several_pieces() -> None:
    assert _text(_say(Pieces(Progress(), 100), ["\n", " ", " a ", " b"])) == "a  b"


def test_text_is_cut_at_the_limit() -> None:
    progress = Progress("12345")
    pieces = Pieces(progress, 8)
    assert _say(pieces, ["67", "890", "x"])[-1].text == "8"
    assert pieces.full
    assert progress.said == 8


def test_without_a_stored_response_there_is_no_handle() -> None:
    assert all(words.handle == "" for words in _say(Pieces(Progress(), 100), ["a", "b"]))


deltas = st.lists(
    st.text(st.sampled_from("ab \x00\ud83d\ude00"), min_size=1, max_size=4), min_size=1, max_size=12
)


@given(deltas)
def test_words_that_are_plain_are_counted_as_any_other(texts: list[str]) -> None:
    quick, slow = Progress(), Progress()
    said = _say(Pieces(quick, 20), texts)
    pieces = Pieces(slow, 20)
    taken = [pieces.take(text, place) for place, text in enumerate(texts)]
    assert said == [words for words in (*taken, pieces.close()) if words]
    assert (quick.said, quick.size) == (slow.said, slow.size)


def test_a_response_that_is_stored_late_has_its_places_from_then_on() -> None:
    pieces = Pieces(Progress(), 20)
    assert pieces.take("a", 1) == Words("a")
    assert pieces.plain("b")
    pieces.begin("resp_1", 2)
    assert not pieces.plain("c")
    words = pieces.take("c", 3)
    assert words is not None
    assert parse_handle(words.handle) == ResponsePosition("resp_1", 3, 0, 3, 0)


@given(deltas)
def test_every_piece_can_be_gone_on_from_exactly(texts: list[str]) -> None:
    progress = Progress()
    pieces = Pieces(progress, 20)
    pieces.begin("resp_1", 0)
    said = _say(pieces, texts)
    whole = _text(said)
    for place, words in enumerate(said):
        logged = _text(said[: place + 1])
        position = parse_handle(words.handle)
        assert isinstance(position, ResponsePosition)
        assert position.length == len(logged)
        again = Pieces(Progress(logged, position), 20)
        if again.full:
            continue
        rest = _say(again, texts[position.sequence :], position.sequence + 1)
        assert logged + _text(rest) == whole


@pytest.mark.parametrize(
    "handle", ["", "bank:", "bank:-1", "bank:01", "resp:a:1", "resp::1:2:3", "resp:a b:1:2:3", "x"]
)
def test_what_is_no_handle_is_told(handle: str) -> None:
    assert parse_handle(handle) is None


@pytest.mark.parametrize("position", [BankPosition(12), ResponsePosition("resp_a-1.b", 5, 1, 40)])
def test_handles_are_read_back(position: BankPosition | ResponsePosition) -> None:
    assert parse_handle(str(position)) == position


@pytest.mark.parametrize(
    ("logged", "needed"),
    [
        ("resp:r1:9:2:40", True),
        ("resp:r1:1:0:4:1", True),
        ("of a newer version", True),
        ("resp:r2:1:0:4", False),
        ("bank:4", False),
        ("cache:4", False),
        ("", False),
    ],
)
def test_a_stored_response_is_needed_by_who_goes_on_with_it(logged: str, needed: bool) -> None:  # noqa: FBT001
    assert needs_response(logged, stored_response("resp:r1:1:0:4")) is needed


@pytest.mark.parametrize("handle", ["bank:4", "cache:4", "", "of a newer version"])
def test_what_is_no_handle_of_a_response_names_none(handle: str) -> None:
    assert stored_response(handle) == ""
    assert not needs_response("bank:4", stored_response(handle))
