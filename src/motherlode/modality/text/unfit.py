"""How the readers of one document say that it is no text we can use."""

from __future__ import annotations


class Unfit(Exception):  # noqa: N818 - a document is unfit; nothing is in error
    """A document must be dropped; the message is the reason, one of `options.REASONS`."""

    @property
    def reason(self) -> str:
        """The reason, one word."""
        return str(self.args[0])
