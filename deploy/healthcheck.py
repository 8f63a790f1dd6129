#!/usr/bin/env python3
"""Ask the instance on this machine whether it is ready: exit code 0 if so, else 1.

For a container's health check: standard library only, no shell. The one argument is the port
(default: 8000). It names a host that VIVA_HOSTS lets in, since any other is refused with 421.
"""

import http.client
import os
import sys

TIMEOUT_S = 3.0


def main(arguments: list[str]) -> int:
    """Ask `/health/ready` once; return the exit code."""
    port = int(arguments[0]) if arguments else 8000
    served = [host.strip() for host in os.environ.get("VIVA_HOSTS", "").split(",")]
    host = next((host for host in served if host), f"127.0.0.1:{port}")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready", headers={"Host": host})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
