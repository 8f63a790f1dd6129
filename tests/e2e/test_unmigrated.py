"""An instance on a database that nobody migrated says what is to be done."""

import json
import urllib.request
from pathlib import Path

from tests.e2e.instances import Instance


def test_it_serves_and_asks_for_the_migration(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    instance = Instance({"REDIS_URL": redis_url, "DATABASE_URL": database_url}, tmp_path)
    instance.start()
    try:
        with urllib.request.urlopen(f"{instance.url}/health/ready", timeout=5) as reply:
            assert json.load(reply)["dependencies"]["postgres"] == "unmigrated"
        with urllib.request.urlopen(f"{instance.url}/metrics", timeout=5) as reply:
            assert b'viva_dependency_up{dependency="postgres"} 0.0' in reply.read()
    finally:
        instance.stop()
    assert "run `viva migrate`" in instance.log()
