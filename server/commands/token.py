"""`viva token`: a JWT for the HTTP API."""

import argparse
import os
import sys

from server.auth import LONGEST_USER, may_be_user, sign
from server.settings import SECRET_BYTES

SECONDS = 30 * 86_400


def run(args: argparse.Namespace) -> int:
    """Print a token signed with VIVA_JWT_SECRET, good for 30 days."""
    secret = os.environ.get("VIVA_JWT_SECRET", "")
    if len(secret.encode()) < SECRET_BYTES:
        sys.stderr.write(f"VIVA_JWT_SECRET is not set, or shorter than {SECRET_BYTES} bytes\n")
        return 1
    if not may_be_user(args.user):
        sys.stderr.write(f"--user has to be text of 1 to {LONGEST_USER} characters\n")
        return 1
    sys.stdout.write(sign(args.user, args.role, secret, SECONDS) + "\n")
    return 0
