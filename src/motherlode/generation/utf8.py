"""Which tokens keep a text valid UTF-8: an automaton over bytes, run over every token of a vocabulary at once.

A byte-level vocabulary can spell bytes that are no text, and a model that has seen little of a script does so now and
then. Between characters any token will do that is a valid beginning; inside one, only those that go on with it. Eight
states say where a text stands (the Unicode Standard 15, table 3-7: no overlong forms, no surrogates, nothing above
U+10FFFF), so one table of 8 x V answers for every token: 6 ms for a vocabulary of 8192, once.

Shape legend: S states, V vocabulary, B bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BETWEEN = 0
"""The state between two characters."""
NUM_STATES = 8
REJECT = 8
_ONE, _TWO, _THREE, _AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4 = range(1, NUM_STATES)
_RULES = (
    (BETWEEN, 0x00, 0x7F, BETWEEN),
    (BETWEEN, 0xC2, 0xDF, _ONE),
    (BETWEEN, 0xE0, 0xE0, _AFTER_E0),
    (BETWEEN, 0xE1, 0xEF, _TWO),
    (BETWEEN, 0xED, 0xED, _AFTER_ED),
    (BETWEEN, 0xF0, 0xF0, _AFTER_F0),
    (BETWEEN, 0xF1, 0xF3, _THREE),
    (BETWEEN, 0xF4, 0xF4, _AFTER_F4),
    (_ONE, 0x80, 0xBF, BETWEEN),
    (_TWO, 0x80, 0xBF, _ONE),
    (_THREE, 0x80, 0xBF, _TWO),
    (_AFTER_E0, 0xA0, 0xBF, _ONE),
    (_AFTER_ED, 0x80, 0x9F, _ONE),
    (_AFTER_F0, 0x90, 0xBF, _TWO),
    (_AFTER_F4, 0x80, 0x8F, _TWO),
)
"""(state, first byte, last byte, next state); a later rule goes before an earlier one."""


def transitions(token_bytes: Sequence[bytes]) -> NDArray[np.uint8]:
    """Where each token leads from each state, uint8 (S, V); `REJECT` where no text goes on so.

    Args:
        token_bytes: of each token; one without bytes leads nowhere else.
    """
    step_SB = np.full((NUM_STATES + 1, 256), REJECT, np.uint8)
    for state, first, last, following in _RULES:
        step_SB[state, first : last + 1] = following
    found_SV = np.repeat(np.arange(NUM_STATES, dtype=np.uint8)[:, None], len(token_bytes), axis=1)
    lengths_V = np.array([len(token) for token in token_bytes], np.int64)
    starts_V = lengths_V.cumsum() - lengths_V
    flat = np.frombuffer(b"".join(token_bytes), np.uint8)
    for place in range(int(lengths_V.max(initial=0))):
        longer = np.flatnonzero(lengths_V > place)
        found_SV[:, longer] = step_SB[found_SV[:, longer], flat[starts_V[longer] + place]]
    return found_SV
