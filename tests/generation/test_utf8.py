"""The oracle is Python's own strict decoder."""

from __future__ import annotations

import codecs
import random
from itertools import product

import numpy as np
import pytest
import torch

from motherlode.generation.utf8 import BETWEEN, NUM_STATES, REJECT, Spelling, transitions

ENDS = (0x80, 0x90, 0xA0, 0xBF)


def pending(data: bytes) -> bytes | None:
    """The bytes of an unfinished character at the end of `data`; None where it is no beginning of a text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data)
    except UnicodeDecodeError:
        return None
    rest = decoder.getstate()[0]
    # Python takes a surrogate's first two bytes and refuses the third; what cannot be finished is no beginning.
    return (
        rest
        if not rest or any(is_text(rest + bytes(more)) for n in (1, 2, 3) for more in product(ENDS, repeat=n))
        else None
    )


def is_text(data: bytes) -> bool:
    try:
        return bool(data.decode())
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("length", [1, 2])
def test_short_tokens_are_judged_as_python_does(length: int) -> None:
    tokens = (
        [bytes([a]) for a in range(256)] if length == 1 else [bytes([a, b]) for a in range(256) for b in range(256)]
    )
    found = transitions(tokens)[BETWEEN]
    for token, state in zip(tokens, found.tolist()):
        rest = pending(token)
        assert (state == REJECT) == (rest is None)
        assert (state == BETWEEN) == (rest == b"")


def test_tokens_cut_anywhere_lead_where_the_whole_leads() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        data = bytes(
            rng.choices([0x20, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xE6, 0xED, 0xF0, 0xF4, 0xF5], k=4)
        )
        text = "".join(rng.choices("a春é🙂\uffff\U0010ffff", k=3)).encode()
        data = rng.choice([data, text, text[:-1], text + data])
        cut = rng.randrange(len(data) + 1)
        first, second = transitions([data[:cut], data[cut:]]).T
        state = first[BETWEEN]
        reached = REJECT if state == REJECT else second[state]
        rest = pending(data)
        assert (reached == REJECT) == (rest is None)
        assert (reached == BETWEEN) == (rest == b"")


def test_a_token_without_bytes_leads_nowhere_else() -> None:
    assert np.array_equal(transitions([b"", b"a"])[:, 0], np.arange(NUM_STATES))
    assert transitions([]).shape == (NUM_STATES, 0)


def test_what_may_stand_between_masks_is_what_some_filling_of_them_spells() -> None:
    """Every row over a small vocabulary, against all its fillings."""
    token_bytes = [b"", b"a", b"\xe6", b"\x98", b"\xa5", b"\xe6\x98", b"\x98\xa5", b"\xc3"]
    mask = 0
    rule = Spelling(token_bytes, mask)
    for row in product((mask, 1, 2, 4, 6), repeat=3):
        fillings = [
            filled
            for filled in product(*(range(1, len(token_bytes)) if token == mask else [token] for token in row))
            if is_text(b"".join(token_bytes[token] for token in filled))
        ]
        if not fillings:
            continue
        places = [place for place, token in enumerate(row) if token == mask]
        if not places:
            continue
        tokens_BT, places_BK = torch.tensor([row]), torch.tensor([places])
        allowed_KV = rule.allowed(tokens_BT, places_BK)[0, :, 1:]
        for allowed_V, place in zip(allowed_KV, places):
            possible = {filled[place] for filled in fillings}
            assert {number + 1 for number in allowed_V.nonzero().flatten().tolist()} == possible
        for token in range(1, len(token_bytes)):
            tried_BT = tokens_BT.clone()
            tried_BT[0, places[0]] = token
            assert bool(rule.fits(tried_BT, places_BK)[0, 0]) == any(f[places[0]] == token for f in fillings)
