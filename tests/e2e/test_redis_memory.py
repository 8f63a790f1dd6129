"""An instance tells how full its Redis is."""

import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.instances import Instance
from tests.support.migrations import migrated

BOUND = 2**30
PATIENCE_S = 20.0


def told(instance: Instance) -> float:
    with urllib.request.urlopen(f"{instance.url}/metrics", timeout=5) as reply:
        found = re.search(r"^viva_redis_memory_ratio (\S+)", reply.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_it_tells_what_redis_takes_of_its_bound(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    kind: Any = redis.Redis  # redis-py's commands are not typed strictly
    urls = {"REDIS_URL": redis_url, "DATABASE_URL": migrated(database_url)}
    instance = Instance(urls, tmp_path)
    with kind.from_url(redis_url) as client:
        client.config_set("maxmemory", BOUND)
        try:
            instance.start()
            deadline = time.monotonic() + PATIENCE_S
            while not told(instance):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            used = client.info("memory")["used_memory"]
            assert told(instance) == pytest.approx(used / BOUND, rel=0.5)
        finally:
            client.config_set("maxmemory", 0)
            instance.stop()
