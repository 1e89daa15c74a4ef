"""Importing this module loads what every worker needs: the language model and the compiled kernels.

The server from which workers are forked imports it once, and they share the memory: about 1.2 s of work and 150 MB that
each would otherwise spend on its own.
"""

from __future__ import annotations

from contextlib import suppress

from motherlode.errors import MissingExtraError
from motherlode.modality.text.examine import examine
from motherlode.modality.text.options import Clean

_PASSAGE = b"A few words, so that every compiled pass over a document is loaded before the first of them comes."

# What is not installed is said by the worker that needs it: nobody hears the server.
with suppress(MissingExtraError):
    examine([_PASSAGE], Clean())
with suppress(ImportError):
    import ftfy  # noqa: F401 - mends mojibake, which few documents have and most sources
