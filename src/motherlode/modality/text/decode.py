"""Any file or cell to its text as UTF-8: what it is shows in its first bytes, never in its name.

Most documents are UTF-8 text already and never come here: `needs_reading` tells which do, from the survey and the first
byte, for all of a batch at once.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.text import encoding, epub, kernels, normal, pdf, webpage
from motherlode.modality.text.options import Clean
from motherlode.modality.text.unfit import Unfit

_STARTS = np.zeros(256, np.bool_)
_STARTS[list(b"%P<-+ \t\r\n\v\f\xef\xfe\xff")] = True
"""First bytes of PDF, ZIP, markup, front matter, byte order marks, or nothing yet."""
_MOST_CONTROLS = 0.02
"""Share of control characters above which bytes are no text."""


def needs_reading(
    buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64], found_NF: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Documents that are not plainly UTF-8 text.

    Args:
        buffer, offsets_N: raw bytes.
        found_NF: their survey.
    """
    num_bytes_N = np.diff(offsets_N)
    odd_N = (found_NF[:, kernels.INVALID] > 0) | (found_NF[:, kernels.NULS] > 0)
    odd_N |= found_NF[:, kernels.CONTROLS] > _MOST_CONTROLS * num_bytes_N
    if len(buffer):
        first_N = buffer[np.minimum(offsets_N[:-1], len(buffer) - 1)]
        odd_N |= (num_bytes_N > 0) & _STARTS[first_N]
    return odd_N


def read(media: bytes, found_F: NDArray[np.int64], options: Clean, notes: Counter[str]) -> bytes:
    """The text of one file as UTF-8, the very object received where it is that already.

    Args:
        media: a file, or the UTF-8 of a cell.
        found_F: its survey.
        options: limits, and what of pages and front matter is kept.
        notes: counts how it was read: pdf, epub, html, decoded_<encoding>, front_matter.

    Raises:
        Unfit: with one of `options.REASONS`.
    """
    if media.startswith(pdf.MAGIC):
        notes["pdf"] += 1
        return pdf.extract(media, options.max_characters).encode("utf-8", "replace")
    if media.startswith(epub.MAGIC):
        if not epub.is_book(media):
            raise Unfit("binary")
        notes["epub"] += 1
        return epub.extract(media).encode("utf-8", "replace")
    if found_F[kernels.CONTROLS] > _MOST_CONTROLS * len(media) and not encoding.has_mark(media):
        raise Unfit("binary")
    text = media
    if found_F[kernels.INVALID] or found_F[kernels.NULS] or encoding.has_mark(media):
        decoded, name = encoding.decode(
            media,
            num_wide=int(found_F[kernels.WIDE]),
            num_invalid=int(found_F[kernels.INVALID]),
            declared=webpage.declared_encoding(media) if webpage.is_page(media) else "",
        )
        if name != "utf-8":
            notes[f"decoded_{name}"] += 1
        elif found_F[kernels.INVALID]:
            notes["lost_bytes"] += 1
        text = decoded.encode("utf-8", "replace")
    if webpage.is_page(text):
        page, found_main = webpage.extract(text.decode(), only_main=options.html == "main")
        notes["html"] += 1
        notes["html_without_main_part"] += options.html == "main" and not found_main
        return page.encode("utf-8", "replace")
    if options.front_matter == "strip":
        body = normal.without_front_matter(text)
        notes["front_matter"] += body is not text
        return body
    return text
