"""`viva token`: a JWT for the HTTP API."""

import argparse
import os
import sys
from pathlib import Path

from server.auth import LONGEST_USER, may_be_user, sign
from server.settings import SettingsError, check_names, read_setting

SECONDS = 30 * 86_400


def run(args: argparse.Namespace) -> int:
    """Print a token signed with VIVA_JWT_SECRET or a data directory's own, good for 30 days."""
    try:
        secret = _secret(args.data_dir)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not may_be_user(args.user):
        sys.stderr.write(f"--user has to be text of 1 to {LONGEST_USER} characters\n")
        return 1
    sys.stdout.write(sign(args.user, args.role, secret, SECONDS) + "\n")
    return 0


def _secret(data_dir: Path | None) -> str:
    check_names(os.environ)
    if data_dir is None:
        if not os.environ.get("VIVA_JWT_SECRET"):
            raise SettingsError(
                "VIVA_JWT_SECRET is not set: give it the server's,"
                " or name the data directory of `viva up` with --data-dir"
            )
        return str(read_setting("VIVA_JWT_SECRET", os.environ))
    try:
        return (data_dir / "jwt.secret").read_text(encoding="utf-8").strip()
    except OSError:
        raise SettingsError(f"{data_dir} holds no secret; `viva up` makes one there") from None
