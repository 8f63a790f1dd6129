"""`viva serve` and the files that it may have open."""

import resource
import subprocess
import sys

PROGRAM = """
import resource
from server.commands.serve import allow_files
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
allow_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_as_many_files_as_the_system_allows() -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=60
    )
    assert int(told.stdout) == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
