"""PDF to text, by PDFium (pypdfium2; BSD and Apache-2.0): about 0.6 MB of text a second.

Headers and footers, the same but for numbers on most pages, go; words cut at line ends are joined. PDFium is not safe
in threads, so one call at a time enters it.
"""

from __future__ import annotations

import re
from collections import Counter
from threading import Lock

from motherlode.errors import MissingExtraError
from motherlode.modality.text.unfit import Unfit

MAGIC = b"%PDF-"
_MOST_PAGES = 20_000
_LEAST_PAGES, _SHARE = 4, 0.3
"""A first or last line is a header or footer where it is on this share of at least so many pages."""
_CUT_WORD = re.compile(r"\x02(?:\r?\n)?")
_LEADERS = re.compile(r"(?: ?\.){6,}")
_NUMBERS = re.compile(r"\d+|\b[ivxlc]+\b")
_LOCK = Lock()


def extract(media: bytes, max_characters: int) -> str:
    """The text of all pages, a blank line between them.

    Raises:
        Unfit: "damaged", "encrypted" or "too_long".
        MissingExtraError: pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtraError("reading PDF", "text") from error
    pages: list[list[str]] = []
    num_characters = 0
    with _LOCK:
        try:
            document = pypdfium2.PdfDocument(media)
        except pypdfium2.PdfiumError as error:
            raise Unfit("encrypted" if "password" in str(error).lower() else "damaged") from error
        try:
            for number in range(min(len(document), _MOST_PAGES)):
                page = document[number]
                textpage = page.get_textpage()
                text = _CUT_WORD.sub("", textpage.get_text_bounded(errors="replace"))
                textpage.close()
                page.close()
                pages.append(_LEADERS.sub(" … ", text).splitlines())
                num_characters += len(text)
                if num_characters > max_characters:
                    raise Unfit("too_long")
        except pypdfium2.PdfiumError as error:
            raise Unfit("damaged") from error
        finally:
            document.close()
    return "\n\n".join("\n".join(lines) for lines in _without_headers(pages))


def _without_headers(pages: list[list[str]]) -> list[list[str]]:
    """Pages without the first and last lines that most of them share but for numbers."""
    if len(pages) < _LEAST_PAGES:
        return pages
    for place in (0, -1):
        common = Counter(_NUMBERS.sub("#", lines[place].strip()) for lines in pages if lines)
        headers = {line for line, count in common.items() if count >= max(_SHARE * len(pages), 2)}
        for lines in pages:
            if lines and _NUMBERS.sub("#", lines[place].strip()) in headers:
                del lines[place]
    return pages
