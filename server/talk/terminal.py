"""The talk on a real terminal: the question streams in above the line that is being typed."""

from collections.abc import Callable

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import print_formatted_text
from prompt_toolkit.styles import Style

from server.talk.conversation import Conversation
from server.talk.link import Link
from server.talk.text import clock, inert

STYLE = Style.from_dict(
    {
        "kind": "bold ansicyan",
        "words": "",
        "you": "bold ansigreen",
        "aside": "ansibrightblack",
        "bottom-toolbar": "noreverse ansibrightblack",
    }
)
REFRESH_S = 1.0


class Interrupted(Exception):  # noqa: N818  # no error: the candidate pressed Ctrl-C
    """Ctrl-C at the prompt.

    Not KeyboardInterrupt: asyncio lets no task keep that for itself, it ends the whole loop.
    """


class TerminalScreen:
    """Keeps what is being said for the prompt, and prints what is finished above it."""

    def __init__(self) -> None:
        self.session: PromptSession[str] = PromptSession(
            key_bindings=_keys(), style=STYLE, interrupt_exception=Interrupted
        )
        self.link: Link | None = None
        self._state = "connecting"
        self._kind = ""
        self._words = ""

    def status(self, words: str) -> None:
        """See `Screen.status`."""
        self._state = words
        self._redraw()

    def tell(self, sentence: str) -> None:
        """See `Screen.tell`."""
        self._print([("class:aside", inert(sentence))])

    def begin(self, kind: str) -> None:
        """See `Screen.begin`."""
        self._kind, self._words = kind, ""
        self._redraw()

    def speak(self, piece: str) -> None:
        """See `Screen.speak`."""
        self._words += inert(piece)
        self._redraw()

    def void(self) -> None:
        """See `Screen.void`."""
        self._words = ""
        self._redraw()

    def finish(self, text: str) -> None:
        """See `Screen.finish`."""
        kind, self._kind, self._words = self._kind, "", ""
        self._print([("class:kind", f"{kind}  "), ("class:words", inert(text))])

    def prompt(self) -> FormattedText:
        """Return what stands before the cursor."""
        speaking: list[tuple[str, str]] = []
        if self._kind:
            speaking = [("class:kind", f"{self._kind}  "), ("class:words", f"{self._words}\n")]
        return FormattedText([*speaking, ("class:you", "you  ")])

    def toolbar(self) -> FormattedText:
        """Return the line at the foot."""
        link = self.link
        parts = [self._state]
        if link is not None and link.view.status in ("live", "paused"):
            parts.append(f"{clock(link.countdown.left_ms)} left")
            parts.append("paused" if link.view.status == "paused" else self._whose_turn(link))
            parts.append("saving …" if link.session.unstored else "all saved")
        return FormattedText([("class:bottom-toolbar", "  ·  ".join(parts))])

    @staticmethod
    def _whose_turn(link: Link) -> str:
        return "your turn" if link.answering else "Enter interrupts"

    def _print(self, parts: list[tuple[str, str]]) -> None:
        print_formatted_text(FormattedText(parts), style=STYLE)

    def _redraw(self) -> None:
        self.session.app.invalidate()


async def converse(conversation: Conversation, screen: TerminalScreen) -> None:
    """Read lines until the interview is over or the candidate leaves."""
    screen.link = conversation.link
    with patch_stdout(raw=True):
        if await conversation.begin(lambda: _agreed(screen)):
            await _lines(conversation, screen)


async def _lines(conversation: Conversation, screen: TerminalScreen) -> None:
    link, draft = conversation.link, ""
    while not link.over:
        try:
            line = await link.unless_over(_ask(screen, screen.prompt, draft))
        except EOFError:
            return
        except Interrupted:
            draft = screen.session.default_buffer.text
            if link.speaking is not None:
                link.interrupt()
            else:
                screen.tell("Ctrl-D leaves; the interview waits for you. /end ends it.")
            continue
        if line is None:
            return
        left, draft = await _entered(conversation, screen, line)
        if left:
            return


async def _entered(
    conversation: Conversation, screen: TerminalScreen, line: str
) -> tuple[bool, str]:
    """Do what the line says; return whether it says to leave, and what stays in the prompt."""
    link = conversation.link
    if link.speaking is None or line.strip().startswith("/"):
        return not await conversation.take(line), ""
    if not line.strip():
        link.interrupt()
        return False, ""
    screen.tell("The interviewer is still speaking; press Enter again when it is your turn.")
    return False, line


async def _ask(screen: TerminalScreen, prompt: Callable[[], FormattedText], draft: str) -> str:
    return await screen.session.prompt_async(
        prompt,
        default=draft,
        bottom_toolbar=screen.toolbar,
        refresh_interval=REFRESH_S,
        multiline=False,
    )


async def _agreed(screen: TerminalScreen) -> bool:
    question = FormattedText([("class:you", "Do you agree? [y/N] ")])
    try:
        answer = await _ask(screen, lambda: question, "")
    except (Interrupted, EOFError):
        return False
    return answer.strip().lower() in ("y", "yes")


def _keys() -> KeyBindings:
    keys = KeyBindings()

    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    keys.add("escape", "enter")(new_line)
    return keys
