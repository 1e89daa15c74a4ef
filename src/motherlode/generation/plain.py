"""Any causal language model of transformers as a decoder, through its own forward.

The model's layers keep their keys and values in a cache whose slots hold texts of different lengths; a mask says what
each text may see. It works for whatever architecture and device the model works on, and pays for it with that
forward's overhead: on a CPU about three times `lean`'s time at batch 1. Prompts go through one at a time, which keeps
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


class Plain:
    """A decoder of `decoding.Decoder`'s form; see the module.

    Args:
        network: a causal language model of transformers; it is not changed.
        window: tokens of a text at most.
        dtype: of products: torch.bfloat16 computes under autocast.
        num_slots: texts in the cache at a time.
    """

    def __init__(self, network: Any, window: int, dtype: torch.dtype, num_slots: int) -> None:
        self._network = network
        self._dtype = dtype
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
        network, device = self._network, self._network.device
        places_BQ = torch.from_numpy(self._lengths_S[slots][:, None] + np.arange(tokens_BQ.shape[1]))
        num_places = int(places_BQ.max()) + 1
        mask_BQT = torch.arange(num_places) <= places_BQ[:, :, None]
        self._cache.aim(torch.tensor(slots, device=device), places_BQ.to(device), num_places)
        was_training = network.training
        network.eval()
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            found = network(
                input_ids=torch.from_numpy(tokens_BQ).to(device),
                attention_mask=mask_BQT[:, None].to(device),
                position_ids=places_BQ.to(device),
                cache=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        network.train(was_training)
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
        self._shape = num, window
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def aim(self, slots_B: Tensor, places_BQ: Tensor, num_places: int) -> None:
        """Say where the next tokens belong, and how many places of their slots are then in use."""
        self._slots_B, self._places_BQ, self._num_places = slots_B, places_BQ, num_places

    def update(self, keys_BGQD: Tensor, values_BGQD: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keep keys and values of new tokens; all that their texts have, (B, G, T, D) each."""
        if layer not in self._kept:
            self._kept[layer] = self._room(keys_BGQD), self._room(values_BGQD)
        for kept_STGD, new_BGQD in zip(self._kept[layer], (keys_BGQD, values_BGQD)):
            kept_STGD[self._slots_B[:, None], self._places_BQ] = new_BGQD.transpose(1, 2)
        keys, values = (kept[self._slots_B, : self._num_places].transpose(1, 2) for kept in self._kept[layer])
        return keys, values

    def _room(self, like_BGQD: Tensor) -> Tensor:
        """An empty (S, T, G, D)."""
        return like_BGQD.new_zeros(*self._shape, like_BGQD.shape[1], like_BGQD.shape[3])

    def get_seq_length(self, layer: int = 0) -> int:
        """Places in use; the model is told positions and masks, and needs it for neither."""
        return self._num_places
