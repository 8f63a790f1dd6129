"""PDFs as candidates have them, and as nobody should."""

import io
import zlib

from fpdf import FPDF
from PIL import Image

from server.reporting.fonts import BASE, SCRIPTS

NAMES = {
    "Latin": "Łukasz Żółć, ingénieur",
    "Greek": "Ελένη Παπαδοπούλου",
    "Cyrillic": "Инженер-программист",
    "CJK": "株式会社日本 后端工程师",
}
_SMALL = b"BT /F1 12 Tf (a) Tj ET\n"


def paper(*pages: str) -> bytes:
    """A PDF in a font that knows Latin alone."""
    return bytes(_written(FPDF(), *pages).output())


def foreign(script: str) -> bytes:
    """A PDF in an embedded font, as word processors make them."""
    document = FPDF()
    font = next((each for each in SCRIPTS if each.name == script), BASE[""])
    document.add_font("own", "", font.file)
    return bytes(_written(document, NAMES[script], family="own").output())


def locked(*, to_read: bool) -> bytes:
    """A PDF that asks for a password, to read it or else only to change it."""
    document = _written(FPDF(), "Nobody but Ada reads this.")
    document.set_encryption(owner_password="owner", user_password="user" if to_read else "")
    return bytes(document.output())


def scan() -> bytes:
    """A page that is an image."""
    document = FPDF()
    document.add_page()
    picture = io.BytesIO()
    Image.new("RGB", (200, 100), "white").save(picture, "PNG")
    document.image(picture)
    return bytes(document.output())


def unfolding(mebibytes: int) -> bytes:
    """A kilobyte or so whose stream unfolds to so much, twice compressed."""
    stream = zlib.compress(zlib.compress(bytes(mebibytes << 20), 9), 9)
    return _raw(stream, b"[/FlateDecode/FlateDecode]")


def laborious(operators: int) -> bytes:
    """A page of very many small texts."""
    return _raw(zlib.compress(_SMALL * operators, 9), b"/FlateDecode")


def _written(document: FPDF, *pages: str, family: str = "helvetica") -> FPDF:
    document.set_font(family, size=12)
    for page in pages:
        document.add_page()
        document.multi_cell(0, 6, page)
    return document


def _raw(stream: bytes, filters: bytes) -> bytes:
    bodies = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources 6 0 R>>",
        b"<</Filter %b/Length %d>>stream\n%b\nendstream" % (filters, len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Font<</F1 5 0 R>>>>",
    )
    out, places = bytearray(b"%PDF-1.4\n"), list[int]()
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj%bendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = len(out)
    out += b"xref\n0 7\n0000000000 65535 f \n%b" % table
    out += b"trailer<</Root 1 0 R/Size 7>>\nstartxref\n%d\n%%%%EOF\n" % end
    return bytes(out)
