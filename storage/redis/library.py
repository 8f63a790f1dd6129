"""The function library: its source, named by its own hash, and loading it where it is missing."""

import hashlib
from importlib.resources import files

FILES = (
    "session.lua",
    "turns.lua",
    "keeping.lua",
    "outbox.lua",
    "jobs.lua",
    "budgets.lua",
    "cache.lua",
    "gate.lua",
)
"""One library of several files: what the later ones use, the first defines."""

_TEMPLATE = "\n".join((files("storage.redis") / name).read_text(encoding="utf-8") for name in FILES)

HASH = hashlib.sha1(_TEMPLATE.encode(), usedforsecurity=False).hexdigest()[:12]
"""Names the library's version, so that old and new instances live side by side."""

NAME = f"viva_{HASH}"

SOURCE = _TEMPLATE.replace("@HASH@", HASH)


def function(name: str) -> str:
    """Return the versioned name of a function."""
    return f"{name}_{HASH}"
