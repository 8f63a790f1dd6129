"""What a socket is welcomed with, over the twin, in virtual time."""

import asyncio

from protocol.commands import Hello
from protocol.events import ClockView, Welcome
from server.credentials import Credentials
from server.joining import Door
from storage.twin import Twin
from tests.support.attending import LAPSES, Scene, Socket


def test_who_goes_on_is_told_what_the_clock_shows_after_their_absence() -> None:
    scene = Scene()
    credentials = Credentials("a secret of enough bytes, all of them", scene.clock.now)
    door = Door(Twin(scene.server), scene.sessions[1], credentials, scene.clock)

    async def welcome(name: str, token: str, held: str | None) -> Welcome:
        hello = Hello(credential=token, last_event_id=held)
        since = scene.clock.monotonic()
        return (await door.admit(door.identify(name, hello), hello, since=since)).welcome

    async def story() -> None:
        name = await scene.interview()
        user = (await scene.found(name)).user_id
        first = await welcome(name, credentials.ticket(name, user, "candidate")[0], None)
        assert first.clock is None
        assert first.snapshot is not None
        began = first.snapshot.clock
        socket = Socket(scene.clock)
        scene.instances[0].enter(name, socket)
        await asyncio.sleep(60)
        socket.silent_since = scene.clock.monotonic()
        scene.instances[0].leave(name, socket)
        await asyncio.sleep(LAPSES + 100)
        back = await welcome(name, first.resume_token, first.head)
        assert (back.recovered, back.snapshot) == (True, None)
        assert back.clock == ClockView(
            elapsed_ms=began.elapsed_ms + 60_000,
            remaining_ms=began.remaining_ms - 60_000,
            running=True,
        )

    scene.play(story)
