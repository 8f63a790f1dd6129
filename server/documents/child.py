"""Takes the text out of one PDF: the program of a process that lives for that alone.

A PDF is hostile until it is read: streams that unfold to gigabytes, trees without an end, faults
of the parser. So this runs apart, by its path, with nothing of viva imported and nothing in its
environment, and gives up its own rights before the first byte comes in. Standard input: the PDF.
Standard output: a JSON object of ``text``, ``pages`` and ``clipped``, or of ``fault`` alone.
"""

import contextlib
import io
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

CPU_S = 8
MEMORY_BYTES = 320 * 1024 * 1024
"""Address space; the interpreter with the library takes half of it."""
PAGES = 60
CHARACTERS = 60_000
"""Where reading stops: three times what a plan takes, for white space will be folded."""


def main() -> None:
    """Read, extract, tell."""
    confine(CPU_S, MEMORY_BYTES)
    sys.stdout.write(json.dumps(answer(sys.stdin.buffer.read())))


def confine(cpu_s: int, memory_bytes: int) -> None:
    """Bound what this process can take, however long the machine would let it."""
    limits = (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 32),
    )
    with contextlib.suppress(OSError), Path("/proc/self/oom_score_adj").open("w") as score:
        score.write("1000")  # where memory runs out, the kernel ends this before the instance
    for kind, most in limits:
        hard = resource.getrlimit(kind)[1]
        most_of_all = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most_of_all, most_of_all))
    os.nice(10)  # live interviews go first


def answer(content: bytes) -> dict[str, Any]:
    """Return the text, or what is wrong: ``encrypted``, ``costly`` or ``damaged``."""
    # Imported when the limits stand.
    from pypdf.errors import (  # noqa: PLC0415
        DependencyError,
        FileNotDecryptedError,
        LimitReachedError,
    )

    try:
        return extracted(content)
    except (DependencyError, FileNotDecryptedError):  # ciphers that need a library of their own
        return {"fault": "encrypted"}
    except (MemoryError, LimitReachedError):
        return {"fault": "costly"}
    except Exception:  # noqa: BLE001  # at a broken file the library raises whatever it stumbles on
        return {"fault": "damaged"}


def extracted(content: bytes) -> dict[str, Any]:
    """Return the text of the first pages, as they stand."""
    from pypdf import PdfReader  # noqa: PLC0415

    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        return {"fault": "encrypted"}
    parts: list[str] = []
    left, pages = CHARACTERS, len(reader.pages)
    for number in range(min(pages, PAGES)):
        text = reader.pages[number].extract_text()
        parts.append(text[:left])
        left -= len(text)
        if left < 0:
            break
    clipped = left < 0 or pages > PAGES
    return {"text": _whole("\n\n".join(parts)), "pages": pages, "clipped": clipped}


def _whole(text: str) -> str:
    """Join split surrogate pairs, which fonts may name one half at a time; replace lone ones."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


if __name__ == "__main__":
    main()
