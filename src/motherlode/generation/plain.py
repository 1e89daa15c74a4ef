"""Any causal language model of transformers as a decoder, through its own forward.

The model's layers keep their keys and values in a cache whose slots hold texts of different lengths; a mask says what
each text may see. It works for whatever architecture and device the model works on, and pays for it with that
forward's overhead: on a CPU two to three times `lean`'s time. Prompts go through one at a time, which keeps
padding out and makes them independent of each other; steps go through together, and a text in another batch may differ
where two tokens are as good as equally likely.

Shape legend: B texts, Q tokens of this step, T places of a slot, G heads of keys, D features of a head, S slots,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motherlode.networks.blocks import evaluating


class Plain:
    """A decoder of `decoding.Decoder`'s form; see the module.

    Args:
        network: a causal language model of transformers; it is not changed.
        window: tokens of a text at most.
        num_slots: texts in the cache at a time.
    """

    def __init__(self, network: Any, window: int, num_slots: int) -> None:
        self._network = network
        self._lengths_S = np.zeros(num_slots, np.int64)
        self._cache = _Slots(num_slots, window)

    @torch.inference_mode()
    def feed(self, slots: Sequence[int], tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Append tokens to the texts in `slots`; logits (R, V) of what follows each. See `decoding.Decoder`."""
        if all(len(more) == 1 for more in tokens):
            return self._forward(list(slots), np.stack(tokens))
        return np.concatenate([self._forward([slot], more[None]) for slot, more in zip(slots, tokens)])

    def clear(self, slot: int) -> None:
        """Forget the text in a slot."""
        self._lengths_S[slot] = 0

    def _forward(self, slots: list[int], tokens_BQ: NDArray[np.int64]) -> NDArray[np.float32]:
        device = self._network.device
        places_BQ = torch.from_numpy(self._lengths_S[slots][:, None] + np.arange(tokens_BQ.shape[1]))
        num_places = int(places_BQ.max()) + 1
        mask_BQT = torch.arange(num_places) <= places_BQ[:, :, None]
        self._cache.aim(torch.tensor(slots, device=device), places_BQ.to(device), num_places)
        with evaluating(self._network) as network:
            found = network(
                input_ids=torch.from_numpy(tokens_BQ).to(device),
                attention_mask=mask_BQT[:, None].to(device),
                position_ids=places_BQ.to(device),
                cache=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self._lengths_S[slots] += tokens_BQ.shape[1]
        logits: NDArray[np.float32] = found.logits[:, -1].float().cpu().numpy()
        return logits


class _Slots:
    """What a model's layers ask of a cache, with a slot for each text.

    Args:
        num: of slots.
        window: places of a slot.
    """

    is_compileable = False

    def __init__(self, num: int, window: int) -> None:
        self._num, self._window = num, window
        self._kept: dict[tuple[int, int], Tensor] = {}

    def aim(self, slots_B: Tensor, places_BQ: Tensor, num_places: int) -> None:
        """Say where the next tokens belong, and how many places of their slots are then in use."""
        self._slots_B, self._places_BQ, self._num_places = slots_B, places_BQ, num_places

    def update(self, keys_BGQD: Tensor, values_BGQD: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keep keys and values of new tokens; all that their texts have, (B, G, T, D) each."""
        pair = []
        for kind, new_BGQD in enumerate((keys_BGQD, values_BGQD)):
            kept_STGD = self._room(self._kept.get((layer, kind)), new_BGQD)
            kept_STGD[self._slots_B[:, None], self._places_BQ] = new_BGQD.transpose(1, 2)
            self._kept[layer, kind] = kept_STGD
            pair.append(kept_STGD[self._slots_B, : self._num_places].transpose(1, 2))
        return pair[0], pair[1]

    def _room(self, kept_STGD: Tensor | None, like_BGQD: Tensor) -> Tensor:
        """What is kept, with room for the places in use: half as much again where it must grow."""
        old = 0 if kept_STGD is None else kept_STGD.shape[1]
        if kept_STGD is not None and self._num_places <= old:
            return kept_STGD
        num = min(max(self._num_places, old * 3 // 2, 64), max(self._window, self._num_places))
        grown_STGD = like_BGQD.new_zeros(self._num, num, like_BGQD.shape[1], like_BGQD.shape[3])
        if kept_STGD is not None:
            grown_STGD[:, :old] = kept_STGD
        return grown_STGD

    def get_seq_length(self, layer: int = 0) -> int:
        """Places in use; the model is told positions and masks, and needs it for neither."""
        return self._num_places
