"""Draws one report as a PDF: the program of a process that lives for that alone.

Laying out a text takes fpdf a time that depends on what a candidate wrote, and it lets nobody else
have the interpreter meanwhile. So this runs apart, by its path, with nothing in its environment and
bounds on what it takes. Standard input: a JSON array of the report and its turns. Standard output:
the PDF.
"""

import os
import sys
from pathlib import Path

CPU_S = 30
"""The most: drawing itself looks at the time before this; see `server.reporting.pdf.WORK_S`."""
MEMORY_BYTES = 512 * 1024 * 1024
"""Address space; the interpreter with the libraries and all fonts takes half of it."""


def main() -> None:
    """Read, draw, write."""
    sys.path.insert(0, str(Path(__file__).parents[2]))  # isolated, it would find no viva
    from server.documents.child import confine  # noqa: PLC0415

    confine(CPU_S, MEMORY_BYTES)
    # fpdf takes numpy where there is one; it needs none of its threads, and may not start any.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # Imported when the limits stand.
    import msgspec  # noqa: PLC0415

    from protocol.assessment import Report  # noqa: PLC0415
    from protocol.session import Turn  # noqa: PLC0415
    from server.reporting.pdf import report_pdf  # noqa: PLC0415

    given = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Report, tuple[Turn, ...]])
    sys.stdout.buffer.write(report_pdf(*given))


if __name__ == "__main__":
    main()
