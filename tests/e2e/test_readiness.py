"""`/health/ready` of an instance whose cache and replica are servers of their own."""

import json
import re
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.instances import Instance
from tests.support.migrations import migrated

PATIENCE_S = 40.0


def dependencies(instance: Instance) -> dict[str, str]:
    """Ask once; it is ready, and says so at once."""
    began = time.monotonic()
    with urllib.request.urlopen(f"{instance.url}/health/ready", timeout=5) as reply:
        told = json.load(reply)["dependencies"]
    assert time.monotonic() - began < 1.0
    return told


@pytest.mark.parametrize("state", ["up", "down"])
def test_what_is_not_needed_is_named_and_not_waited_for(
    redis_url: str, database_url: str, tmp_path: Path, state: str
) -> None:
    url = migrated(database_url)
    dead = {
        "CACHE_URL": "redis://127.0.0.1:1",
        "DATABASE_REPLICA_URL": "postgresql://viva@127.0.0.1:1/viva",
    }
    spare = dead if state == "down" else {"CACHE_URL": redis_url, "DATABASE_REPLICA_URL": url}
    settings: Mapping[str, str] = {"REDIS_URL": redis_url, "DATABASE_URL": url, **spare}
    instance = Instance(settings, tmp_path)
    instance.start()
    try:
        wanted = {"redis": "up", "postgres": "up", "cache": state, "replica": state}
        deadline = time.monotonic() + PATIENCE_S
        while dependencies(instance) != wanted:
            assert time.monotonic() < deadline, dependencies(instance)
            time.sleep(0.2)
        with urllib.request.urlopen(f"{instance.url}/metrics", timeout=5) as reply:
            metrics = reply.read().decode()
        shown = re.findall(r'viva_dependency_up{dependency="(\w+)"} (\S+)', metrics)
        assert dict(shown) == {name: str(float(is_ == "up")) for name, is_ in wanted.items()}
    finally:
        instance.stop()
