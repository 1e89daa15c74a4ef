"""Longest matches of a few texts in a huge one, without an index of the huge one.

The few are made into a suffix automaton (Blumer et al. 1985), through which the huge text streams once: after each of
its tokens the automaton is in the state of the longest suffix that occurs in the few, and remembers the longest length
seen in each state. Handed down the suffix links, that says for every place of the few how long a stretch ending there
occurs anywhere in the huge text: exact, for every length, in one pass.

A suffix array of the huge text would need five bytes or more for each of its tokens; here memory is about 250 bytes for
each token of the few, and the huge one is read where it lies. A core streams 2.4 million tokens a second.

Shape legend: S states, E transitions, H slots of the hash table, T tokens of the few, joined; L tokens of a piece.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import compiled

# Columns of the table of states.
LENGTH, LINK, EDGE, BEST, ORIGIN = range(5)
# Columns of the list of transitions: on which token, and the next transition of the same state.
TOKEN, NEXT = range(2)
# Columns of the hash table: state and token in one number, and where they lead.
KEY, TARGET = range(2)


def tables(num_tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Room for the automaton of so many tokens: states (S, 5), transitions (E, 2), hash table (H, 2)."""
    num_states, num_edges = 2 * num_tokens + 2, 3 * num_tokens + 4
    num_slots = 1 << int(np.ceil(np.log2(num_edges * 1.5)))
    return (
        np.full((num_states, 5), -1, np.int64),
        np.full((num_edges, 2), -1, np.int32),
        np.full((num_slots, 2), -1, np.int64),
    )


@compiled
def _slot(slots: NDArray[np.int64], state: int, token: int) -> int:
    """Where a transition lies, or the empty slot where it would."""
    key = (state << 32) | token
    mask = len(slots) - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    place: Any = np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(mask))
    while slots[place, KEY] != -1 and slots[place, KEY] != key:
        place = (place + 1) & mask
    return int(place)


@compiled
def _connect(
    states: NDArray[np.int64],
    edges: NDArray[np.int32],
    slots: NDArray[np.int64],
    num_edges: int,
    state: int,
    token: int,
    target: int,
) -> int:
    """Add a transition; how many there are then."""
    place = _slot(slots, state, token)
    slots[place, KEY], slots[place, TARGET] = (state << 32) | token, target
    edges[num_edges, TOKEN], edges[num_edges, NEXT] = token, states[state, EDGE]
    states[state, EDGE] = num_edges
    return num_edges + 1


@compiled
def build(
    tokens_T: NDArray[np.int32],
    states: NDArray[np.int64],
    edges: NDArray[np.int32],
    slots: NDArray[np.int64],
    prefix_T: NDArray[np.int32],
) -> int:
    """Fill the tables with the automaton of `tokens_T`; how many states it has.

    Args:
        tokens_T: non-negative; texts are kept apart by tokens that occur nowhere else.
        states, edges, slots: from `tables`.
        prefix_T: filled with the state of each prefix.
    """
    states[0, LENGTH] = 0
    num_states, num_edges, last = 1, 0, 0
    for step in range(len(tokens_T)):
        token: Any = np.int64(tokens_T[step])
        fresh = num_states
        num_states += 1
        states[fresh, LENGTH] = states[last, LENGTH] + 1
        state = last
        while state != -1 and slots[_slot(slots, state, token), KEY] == -1:
            num_edges = _connect(states, edges, slots, num_edges, state, token, fresh)
            state = states[state, LINK]
        if state == -1:
            states[fresh, LINK] = 0
        else:
            reached = slots[_slot(slots, state, token), TARGET]
            if states[state, LENGTH] + 1 == states[reached, LENGTH]:
                states[fresh, LINK] = reached
            else:
                clone = num_states
                num_states += 1
                states[clone, LENGTH] = states[state, LENGTH] + 1
                states[clone, LINK] = states[reached, LINK]
                edge: Any = states[reached, EDGE]
                while edge != -1:
                    copied: Any = np.int64(edges[edge, TOKEN])
                    target = slots[_slot(slots, reached, copied), TARGET]
                    num_edges = _connect(states, edges, slots, num_edges, clone, copied, target)
                    edge = np.int64(edges[edge, NEXT])
                while state != -1:
                    place = _slot(slots, state, token)
                    if slots[place, KEY] == -1 or slots[place, TARGET] != reached:
                        break
                    slots[place, TARGET] = clone
                    state = states[state, LINK]
                states[reached, LINK] = states[fresh, LINK] = clone
        prefix_T[step] = last = fresh
    return num_states


@compiled
def stream(
    piece_L: Any,
    offset: int,
    boundary: int,
    state: int,
    length: int,
    states: NDArray[np.int64],
    slots: NDArray[np.int64],
) -> tuple[int, int]:
    """Let a piece of the huge text through; returns state and length to go on with.

    Args:
        piece_L: integers.
        offset: place of its first token in the whole.
        boundary: the token over which no match runs, e.g. bos; -1 for none.
        state, length: where the piece before ended; 0, 0 at first.
        states: BEST and ORIGIN of each state are updated: the longest match, and where in the whole it ends.
        slots: of the automaton.
    """
    for step in range(len(piece_L)):
        token: Any = np.int64(piece_L[step])
        if token == boundary:
            state, length = 0, 0
            continue
        place = _slot(slots, state, token)
        while slots[place, KEY] == -1 and state != 0:
            state = states[state, LINK]
            length = states[state, LENGTH]
            place = _slot(slots, state, token)
        if slots[place, KEY] == -1:
            length = 0
            continue
        state = slots[place, TARGET]
        length += 1
        if length > states[state, BEST]:
            states[state, BEST] = length
            states[state, ORIGIN] = offset + step
    return state, length


@compiled
def settle(order_S: NDArray[np.int64], states: NDArray[np.int64]) -> None:
    """Hand matches to suffixes (longest states first), then what a state lacks from its suffix (shortest first).

    Args:
        order_S: states by rising length, the root first.
        states: BEST and ORIGIN of every state become those of the longest match of any of its strings or suffixes.
    """
    for place in range(len(order_S) - 1, 0, -1):
        state = order_S[place]
        link = states[state, LINK]
        if states[state, BEST] > 0 and link > 0 and states[link, BEST] < states[link, LENGTH]:
            states[link, BEST] = states[link, LENGTH]
            states[link, ORIGIN] = states[state, ORIGIN]
    states[0, BEST] = 0
    for place in range(1, len(order_S)):
        state = order_S[place]
        if states[state, BEST] <= 0:
            link = states[state, LINK]
            states[state, BEST], states[state, ORIGIN] = states[link, BEST], states[link, ORIGIN]
