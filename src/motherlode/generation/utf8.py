"""Which tokens keep a text valid UTF-8: an automaton over bytes, run over every token of a vocabulary at once.

A byte-level vocabulary can spell bytes that are no text, and a model that has seen little of a script does so now and
then. Between characters any token will do that is a valid beginning; inside one, only those that go on with it. Eight
states say where a text stands (the Unicode Standard 15, table 3-7: no overlong forms, no surrogates, nothing above
U+10FFFF), so one table of 8 x V answers for every token: 6 ms for a vocabulary of 8192, once.

A text with masks in it may be in any of several states at a place: a set of them, eight bits of one byte. `Spelling`
follows the sets that lie before and behind each place, so that what is written between given characters, and at the
end, spells whole ones.

Shape legend: S states, F sets of states, V vocabulary, B bytes (in `Spelling`: rows), T tokens, K places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


class Spelling:
    """The rule of a model that fills masks (`families.bert.unmask.Rule`): masks become whole characters.

    Given tokens that are no text are passed over, as if a text began behind them; where a vocabulary cannot spell what
    is asked for, any token may stand.

    Args:
        token_bytes: of each token.
        mask: the token in whose place any other may be written.
    """

    def __init__(self, token_bytes: Sequence[bytes], mask: int) -> None:
        next_SV = transitions(token_bytes)
        reached_SV = np.where(next_SV == REJECT, 0, 1 << next_SV).astype(np.uint8)
        reached_SV[:, mask] = np.bitwise_or.reduce(np.delete(reached_SV, mask, axis=1), axis=1)
        sets = np.arange(1 << NUM_STATES, dtype=np.uint8)
        self._reached_FV = np.zeros((len(sets), len(token_bytes)), np.uint8)
        self._behind_FV = np.zeros_like(self._reached_FV)
        for state in range(NUM_STATES):
            has_F = sets >> state & 1 == 1
            self._reached_FV[has_F] |= reached_SV[state]
            self._behind_FV |= ((reached_SV[state] & sets[:, None]) != 0).astype(np.uint8) << state
        self._allowed: dict[tuple[int, int], Tensor] = {}

    def allowed(self, tokens_BT: Tensor, places_BK: Tensor) -> Tensor:
        """Tokens that may stand at each place whatever stands there, bool (B, K, V)."""
        before_BK, behind_BK = self._sides(tokens_BT, places_BK)
        rows = [self._between(*sides) for sides in zip(before_BK.ravel().tolist(), behind_BK.ravel().tolist())]
        return torch.stack(rows).view(*places_BK.shape, -1).to(tokens_BT.device)

    def fits(self, tokens_BT: Tensor, places_BK: Tensor) -> Tensor:
        """Whether what stands at each place may, bool (B, K)."""
        before_BK, behind_BK = self._sides(tokens_BT, places_BK)
        token_BK = tokens_BT.gather(1, places_BK).cpu().numpy()
        return torch.from_numpy((self._reached_FV[before_BK, token_BK] & behind_BK) != 0).to(tokens_BT.device)

    def _between(self, before: int, behind: int) -> Tensor:
        """Tokens that lead from one set of states into another."""
        if (before, behind) not in self._allowed:
            found_V = torch.from_numpy((self._reached_FV[before] & behind) != 0)
            self._allowed[before, behind] = found_V if bool(found_V.any()) else torch.ones_like(found_V)
        return self._allowed[before, behind]

    def _sides(self, tokens_BT: Tensor, places_BK: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """States in which what stands before each place may end, and from which what is behind can be read."""
        tokens_TB = tokens_BT.cpu().numpy().T
        sides = []
        for table_FV, order in ((self._reached_FV, 1), (self._behind_FV, -1)):
            side_TB = np.full(tokens_TB.shape, 1 << BETWEEN, np.uint8)
            for now, following in zip(range(len(tokens_TB))[::order], range(len(tokens_TB))[::order][1:]):
                side_TB[following] = table_FV[side_TB[now], tokens_TB[now]]
                side_TB[following][side_TB[following] == 0] = 1 << BETWEEN
            sides.append(np.take_along_axis(side_TB.T, places_BK.cpu().numpy(), 1))
        return sides[0], sides[1]
