"""`python -m server` is `viva`."""

import sys

from server.starting import loading


def main() -> int:
    """Load the command line, and run it; its exit code."""
    with loading():
        from server import cli  # noqa: PLC0415  # Ctrl-C may come while it is loaded
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
