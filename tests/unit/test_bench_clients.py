"""What the bench's clients count of what they hear."""

import msgspec

from loadtest.bench.clients import Shared, VivaClient
from loadtest.stamps import stamp
from protocol import events as e


class Heard:
    """A client, and the server's part."""

    def __init__(self) -> None:
        self.shared = Shared()
        self.client = VivaClient(self.shared, "/i", "ticket")
        self.text = ""

    def tell(self, seq: int, event: e.Event) -> None:
        msgspec.structs.force_setattr(event, "id", f"{seq}-{seq}")
        self.client.received(msgspec.json.encode(event))

    def begin(self) -> None:
        turn = e.TurnStarted(turn=1, attempt=1, speaker="interviewer", kind="question", at=1)
        self.tell(1, turn)

    def say(self, seq: int, text: str) -> None:
        self.tell(seq, e.TurnDelta(turn=1, attempt=1, offset=len(self.text), text=text))
        self.text += text


def test_tokens_count_once() -> None:
    heard = Heard()
    heard.begin()
    for seq in (2, 3):
        heard.say(seq, stamp())
    assert (heard.shared.tokens, heard.shared.wrong) == (2, {})
    heard.say(3, stamp())
    heard.say(3, stamp())
    assert (heard.shared.tokens, heard.shared.wrong) == (2, {"repeat": 2})


def test_any_event_that_comes_again_is_a_repeat_and_one_that_is_missing_a_gap() -> None:
    heard = Heard()
    heard.begin()
    heard.begin()
    assert heard.shared.wrong == {"repeat": 1}
    heard.say(9, stamp())
    assert heard.shared.wrong == {"repeat": 1, "gap": 1}
