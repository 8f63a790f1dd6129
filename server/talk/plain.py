"""The talk in plain lines, for pipes, scripts and screen readers: one line in is one answer."""

import asyncio
import contextlib
import sys
import threading
from typing import TextIO

from server.talk.conversation import Conversation
from server.talk.text import inert


class PlainScreen:
    """Writes to a stream as the words come."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._open = False

    def status(self, words: str) -> None:
        """See `Screen.status`."""
        if words != "connected":
            self.tell(f"({words})")

    def tell(self, sentence: str) -> None:
        """See `Screen.tell`."""
        self._break()
        self._write(f"{inert(sentence)}\n")

    def begin(self, kind: str) -> None:
        """See `Screen.begin`."""
        self._break()
        self._write(f"\n{kind}: ")
        self._open = True

    def speak(self, piece: str) -> None:
        """See `Screen.speak`."""
        self._write(inert(piece))

    def void(self) -> None:
        """See `Screen.void`."""
        self._write(" … (begins anew)\n")

    def finish(self, text: str) -> None:
        """See `Screen.finish`."""
        del text  # it stands there already
        self._break()

    def _break(self) -> None:
        if self._open:
            self._write("\n")
        self._open = False

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class Lines:
    """Lines of a stream, read by a thread of its own: a pipe cannot be waited for otherwise.

    The thread is a daemon: it may hang in a read when the interview is over.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue(maxsize=8)
        threading.Thread(target=self._read, daemon=True).start()

    async def next(self) -> str:
        """Return the next line, the empty string where there is none any more."""
        return await self._lines.get()

    def _read(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            while True:
                line = self._stream.readline()
                asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()
                if not line:
                    return


async def converse(conversation: Conversation, lines: Lines) -> None:
    """Give each line of the input as the next answer, until the interview or the input ends."""
    if not await conversation.begin(lambda: _agreed(lines)):
        return
    link = conversation.link
    while not link.over:
        await link.until("answering", "paused", "over")
        line = await link.unless_over(lines.next())
        if not line or not await conversation.take(line):
            return


async def _agreed(lines: Lines) -> bool:
    sys.stdout.write("Do you agree? [y/N] ")
    sys.stdout.flush()
    return (await lines.next()).strip().lower() in ("y", "yes")
