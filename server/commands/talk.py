"""`viva talk`: an interview in the terminal."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from server.auth import sign
from server.cli import DEFAULT_DATA_DIR, DEFAULT_URL, DEFAULT_USER, typed
from server.talk.api import Api, TalkError
from server.talk.conversation import Conversation
from server.talk.documents import texts
from server.talk.link import Link
from server.talk.plain import Lines, PlainScreen
from server.talk.plain import converse as plainly
from server.talk.report import LATER, REVIEWERS, awaited, compact
from server.talk.text import inert

_Talk = tuple[Conversation, Coroutine[Any, Any, None]]
"""What is talked, and the talking of it."""
TOKEN_S = 24 * 3600
LEAVE_S = 2.0
"""How long what was given last may take to reach the server when the candidate leaves."""


def run(args: argparse.Namespace) -> int:
    """Talk until the interview is over or the candidate leaves; 0 then, 1 where it cannot be."""
    try:
        return _run(args)
    except KeyboardInterrupt:  # while the report was waited for, or in a pipe
        return 128 + signal.SIGINT


def _run(args: argparse.Namespace) -> int:
    failure = ""
    try:
        asyncio.run(_talk(args))
    except* TalkError as group:
        failure = _first(group)
    except* BrokenPipeError:
        _close_output()
        failure = "nothing more can be shown: what read the output is gone; the interview waits"
    if failure:
        sys.stderr.write(f"{failure}\n")
    return 1 if failure else 0


def _close_output() -> None:
    # The interpreter flushes it once more when it ends, which would be another error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _talk(args: argparse.Namespace) -> None:
    for option, place in (("--save", args.save), ("--report", args.report)):
        _check_place(option, place)
    if args.resume and (args.cv or args.job_description):
        raise TalkError("an interview that is there already keeps the files it was begun with")
    api = Api(args.url, _token(args))
    interview_id = args.resume or await api.create(_plan(args) | await _documents(api, args))
    plain = args.plain or not (sys.stdin.isatty() and sys.stdout.isatty())
    async with asyncio.TaskGroup() as group:
        if plain:
            conversation, talking = _plain(api, interview_id, args)
        else:
            conversation, talking = _pretty(api, interview_id, args)
        link = conversation.link
        running = group.create_task(link.run())
        try:
            await talking
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await link.settled()
        finally:
            # Read before the link is cancelled: a cancelled one is over in any case.
            over = link.over or bool(link.reason)
            running.cancel()
            # An id that was given may be of no interview; whom the server let in, has one.
            there = not args.resume or link.session.resume_token is not None
            if there and not over and not conversation.declined:
                again = " (with the same --token)" if args.token else ""
                sys.stdout.write(f"\nThe interview waits{again}: {_way_back(interview_id, args)}\n")
    if conversation.declined:
        await _decline(api, interview_id, created=not args.resume)
    elif over:
        await _goodbye(api, link, interview_id, args)


def _plain(api: Api, interview_id: str, args: argparse.Namespace) -> _Talk:
    screen = PlainScreen(sys.stdout)
    link = Link(api, interview_id, screen)
    conversation = Conversation(link, screen, api.notice, agreed=args.yes)
    return conversation, plainly(conversation, Lines(sys.stdin))


def _pretty(api: Api, interview_id: str, args: argparse.Namespace) -> _Talk:
    # Imported here: pipes and scripts do without it, and it takes a while.
    from server.talk.terminal import TerminalScreen, converse  # noqa: PLC0415

    screen = TerminalScreen()
    link = Link(api, interview_id, screen)
    conversation = Conversation(link, screen, api.notice, agreed=args.yes)
    return conversation, converse(conversation, screen)


async def _decline(api: Api, interview_id: str, *, created: bool) -> None:
    """Erase the interview if it is of this very call; another one is not ours to throw away."""
    if not created:
        raise TalkError("without your agreement the interview does not begin; it is kept as it was")
    await api.erase(interview_id)
    raise TalkError("without your agreement there is no interview; what was prepared is erased")


async def _goodbye(api: Api, link: Link, interview_id: str, args: argparse.Namespace) -> None:
    _write(f"\n{link.reason or 'The interview is over.'}\n")
    save, place = args.save, args.report
    if save is None:
        _write(f"{len(link.view.turns)} turns are stored; --save FILE keeps a copy.\n")
    elif place is None and save.name.endswith(".report.md"):
        place = save
    else:
        await _keep("transcript", save, await api.markdown(interview_id))
    if link.assesses:
        _write(f"{REVIEWERS}\n")
        return
    report = await _report(api, interview_id, args, needed=place is not None)
    if report is not None:
        _write(f"\n{inert(compact(report))}\n")
        if place is not None:
            await _keep("report", place, report)


async def _report(
    api: Api, interview_id: str, args: argparse.Namespace, *, needed: bool
) -> str | None:
    """Return the report; None where there is none, which was said then.

    Raises:
        TalkError: there is none, and it is ``needed``.
    """
    why = f"{LATER}; later: {_way_back(interview_id, args)}"
    try:
        report = await awaited(api, interview_id, _write)
    except TalkError as error:
        report, why = None, str(error)
    if report is None:
        if needed:
            raise TalkError(why)
        _write(f"No report: {why}\n")
    return report


async def _keep(what: str, place: Path, text: str) -> None:
    try:
        await asyncio.to_thread(place.write_text, inert(text), encoding="utf-8")
    except OSError as error:
        raise TalkError(f"the {what} cannot be written to {place}: {error.strerror}") from None
    _write(f"The {what} is in {place}.\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _way_back(interview_id: str, args: argparse.Namespace) -> str:
    """Return the command that goes on, with what it needs to find this interview again."""
    words = ["talk", "--resume", interview_id]
    # Where VIVA_URL is set, even the usual address has to be told apart from it.
    usual = DEFAULT_URL if "VIVA_URL" not in os.environ else None
    for option, given, default in (
        ("--url", args.url, usual),
        ("--user", args.user, DEFAULT_USER),
        ("--data-dir", str(args.data_dir), str(DEFAULT_DATA_DIR)),
    ):
        if given != default:
            words += [option, given]
    return typed(*words)  # without a token, which is a secret: others may read this


def _check_place(option: str, place: Path | None) -> None:
    """Find out before the interview, not after it, that what is to be kept has no place.

    Raises:
        TalkError: it cannot be written there.
    """
    if place is None:
        return
    held = place if place.exists() else place.parent
    if place.is_dir() or not os.access(held, os.W_OK):
        raise TalkError(f"nothing can be written to {place}; give {option} another file")


def _plan(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "type": args.type,
        "role": args.role,
        "level": args.level,
        "difficulty": args.difficulty,
        "mode": args.mode,
        "duration_minutes": args.minutes,
    }


async def _documents(api: Api, args: argparse.Namespace) -> dict[str, str]:
    files = {"resume": args.cv, "job_description": args.job_description}
    return await texts(api, files, _write)


def _token(args: argparse.Namespace) -> str:
    given = args.token or os.environ.get("VIVA_TOKEN")
    if given:
        return str(given)
    secret = os.environ.get("VIVA_JWT_SECRET") or _own_secret(args.data_dir)
    if not secret:
        command = typed("token", "--user", "NAME")
        raise TalkError(
            f"no token: give --token or VIVA_TOKEN (`{command}` makes one), or run this where"
            " `viva up` keeps its data"
        )
    return sign(args.user, "candidate", secret, TOKEN_S)


def _own_secret(data_dir: Path) -> str:
    try:
        return (data_dir / "jwt.secret").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _first(group: BaseExceptionGroup[TalkError]) -> str:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else str(error)
