"""`python -m loadtest.fakeopenai`: prints its address and `ready`, serves until it is ended."""

import argparse
import asyncio
import contextlib
import signal
import sys

import uvloop

from loadtest.fakeopenai import FakeOpenAI, Options


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="fakeopenai", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one (the default)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=40, help="mean length of a reply")
    parser.add_argument("--tokens-per-second", type=float, default=30.0, help="0: at once")
    parser.add_argument("--first-token-s", type=float, default=0.1)
    parser.add_argument(
        "--script", choices=("words", "stamps", "interviewer", "unruly"), default="words"
    )
    args = parser.parse_args()
    options = Options(
        seed=args.seed,
        tokens=args.tokens,
        tokens_per_second=args.tokens_per_second,
        first_token_s=args.first_token_s,
        script=args.script,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(options, args.port))


async def _serve(options: Options, port: int) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with FakeOpenAI(options).running(port) as fake:
        sys.stdout.write(f"OPENAI_BASE_URL={fake.url}\nready\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    main()
