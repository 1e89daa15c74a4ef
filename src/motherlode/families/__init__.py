"""How a kind of model learns and samples. One file or folder a family; each defines `FAMILY`, a subclass of `Family`.

The loop in `training/loop.py` runs the turns of any family and knows none by name. A family owns its networks and its
losses; it owns no optimiser, no device placement, no precision, no files. That is the price of one loop for all: what
a family wants remembered over a restart must live in its `state_dict` (parameters and buffers).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from motherlode.modality import SampleSpec
from motherlode.networks.shapes import Bool
from motherlode.recipe import GenerateOptions, Strict


@dataclass(frozen=True)
class Batch:
    """One batch on the training device.

    Args:
        samples: float32 (B, *spec.shape), normalised by the modality; int64 token ids (B, T) where the spec has tokens.
        labels: int64 (B,), or None when the data has none.
        rows: int64 (B,), row numbers in the split, for attribution.
    """

    samples: Tensor
    labels: Tensor | None
    rows: Tensor


@dataclass(frozen=True)
class CodeSpace:
    """The codes an autoencoder with a codebook makes of a sample.

    Args:
        sizes: codes of each quantiser, Q of them.
        stride: values along each axis that one place stands for: (4, 4) for a picture, (160,) for sound.
        grid: places of a sample of `spec.shape` along each axis.
    """

    sizes: tuple[int, ...]
    stride: tuple[int, ...]
    grid: tuple[int, ...]


@dataclass(frozen=True)
class Turn:
    """One optimiser step: which parameters learn, from which loss.

    Args:
        name: names the optimiser and prefixes the metrics ("critic", "generator").
        module: whose parameters learn in this turn; all others are left without gradients.
        loss: (batch, generator of random numbers) → (scalar loss, further scalars to log).
        after: called once the optimiser has stepped (clip weights, update an average).
    """

    name: str
    module: nn.Module
    loss: Callable[[Batch, torch.Generator], tuple[Tensor, Mapping[str, Tensor]]]
    after: Callable[[], None] | None = None


@runtime_checkable
class Rule(Protocol):
    """What may stand where, for families that fill masks."""

    def allowed(self, tokens_BT: Tensor, places_BK: Tensor) -> Bool[Tensor, "batch places vocabulary"]:
        """Tokens that may be written at each place, one at least, given all others."""
        ...

    def fits(self, tokens_BT: Tensor, places_BK: Tensor) -> Bool[Tensor, "batch places"]:
        """Whether what stands at each place may stand there."""
        ...


class Family(nn.Module, ABC):
    """A kind of model. Its `state_dict` is its whole state."""

    Options: ClassVar[type[Strict]]
    measures: ClassVar[tuple[str, ...]] = ()
    """Measures taken by `evaluate` when the recipe names none."""
    fills: ClassVar[bool] = False
    """Whether `fill` can be asked for."""
    makes_tokens: ClassVar[bool] = False
    """Whether it learns sequences of tokens, and not arrays of values."""
    starter_for: ClassVar[tuple[str, ...]] = ()
    """Modalities for which `lode init` proposes this family."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """What a recipe of this family takes for `train` where it says nothing, e.g. {"optimizer": {"name": "muon"}}."""
    loss_name: ClassVar[str] = ""
    """What `heldout_loss` measures, e.g. "nats per token"; "" where a family has no such loss."""

    @classmethod
    @abstractmethod
    def build(cls, options: Any, spec: SampleSpec, seed: int) -> Family:
        """Make the networks for samples of this shape, initialised from `seed` alone.

        Raises:
            RecipeError: the networks cannot make this shape.
        """

    @classmethod
    def opened(cls, options: Any, checkpoint: Path) -> Any:  # noqa: ARG003
        """Options that build the network of a checkpoint: what training once began from may have moved since."""
        return options

    def begin(self, count: Callable[[], Tensor]) -> None:
        """Know how often each token stands in the training data; called once, before step 0, of token models alone.

        Args:
            count: gives int64 (V,), the same on every rank. It reads all tokens: ask only where they are wanted.
        """
        return

    def blocks(self) -> Mapping[str, tuple[int, int]]:
        """Weights made of several matrices, one for each head say: full parameter name → rows and columns of one.

        Optimisers that treat matrices as such treat these one by one.
        """
        return {}

    def shards(self) -> Sequence[nn.Module]:
        """Networks whose weights several ranks can share, inner ones first; the last holds all that learns and is
        called for the loss of its only turn. () where a family cannot be split."""
        return ()

    @abstractmethod
    def turns(self, step: int) -> Sequence[Turn]:
        """The optimiser steps of training step `step`, in order. Each draws a fresh batch."""

    @abstractmethod
    def sample(self, num: int, *, condition: Tensor | None = None, rng: torch.Generator, variant: str = "") -> Tensor:
        """Normalised samples (num, *shape), without gradients.

        Args:
            num: how many.
            condition: int64 (num,) labels, where the family was built with labels; int64 (num, P) tokens to go on from,
                where it makes tokens; None draws them.
            rng: where the randomness comes from.
            variant: which weights, one of `variants`; "" for the first.
        """

    def preview(self, num: int, shown: Callable[[], Batch], *, rng: torch.Generator) -> Tensor:
        """What a look shows of it, normalised (num, *shape): its samples, unless it has better to show.

        Args:
            num: how many pictures.
            shown: gives a batch of held-out samples, the same at every look.
            rng: equal generators give equal pictures.
        """
        return self.sample(num, rng=rng)

    def causal(self, variant: str = "") -> nn.Module | None:
        """The network that writes from left to right, with the interface of transformers' causal language models.

        None where the family has none.
        """
        return None

    def fill(
        self,
        tokens_BT: Tensor,
        options: GenerateOptions,
        *,
        rng: torch.Generator,
        variant: str = "",
        within_T2: Tensor | None = None,
        rule: Rule | None = None,
    ) -> Iterator[Tensor]:
        """Put a token in place of every mask; yields the tokens after each block of masks, from left to right.

        Args:
            tokens_BT: int64, T at most the window, `spec.tokens.mask` where a token is wanted.
            options: `temperature`, `block_tokens` and `steps` of it.
            rng: where the randomness comes from.
            variant: which weights; "" for the first.
            within_T2: int64, the first id that each place may take, and the one behind the last; None for any.
            rule: what may be written where, by what stands around it; None: anything.

        Yields:
            int64 (B, T); in the last no mask is left.
        """
        raise NotImplementedError(f"{type(self).__name__} does not fill masks")

    @property
    def variants(self) -> tuple[str, ...]:
        """Sets of weights that can be sampled, e.g. ("ema", "raw"); `evaluate` keeps the best on held-out data."""
        return ("raw",)

    @property
    def makes_samples(self) -> bool:
        """Whether `sample` can be asked for: a codec whose codes another model learns has nothing to draw from."""
        return True

    def reconstruct(self, samples: Tensor) -> Tensor | None:
        """Normalised samples (N, *shape) as they come back, without gradients; None where a family restores nothing."""
        return None

    def interpolate(self, first: Tensor, last: Tensor, num: int) -> Tensor | None:
        """What lies between samples, without gradients; None where a family cannot tell.

        Args:
            first: normalised (N, *shape).
            last: as many.
            num: samples of each row, both ends included.

        Returns:
            (N, num, *shape).
        """
        return None

    @property
    def num_noise(self) -> int:
        """Size Z of the noise that `sampler` takes; 0 where it takes none."""
        return 0

    @property
    def num_labels(self) -> int:
        """Size of the label set that `sample` and `sampler` can be asked for; 0 where they know no labels."""
        return 0

    def heldout_loss(self, batch: Batch, rng: torch.Generator) -> Tensor | None:
        """Mean loss on unseen samples, 0-d, without gradients; None where a family has no such loss.

        It chooses the best checkpoint and is what laws are fitted to: nats a predicted token for language models.

        Args:
            batch: of the held-out split.
            rng: whatever is random in it; equal generators give equal losses.
        """
        return None

    def token_nats(self, tokens: Tensor) -> Tensor | None:
        """−log p of each token given those of its document before it, in nats; None where none is predicted so.

        Args:
            tokens: int64 (B, T), T at most the window; documents begin with `bos` and do not see each other.

        Returns:
            float32 (B, T − 1), of every token but the first of a row; without gradients.
        """
        return None

    def masked_nats(
        self, inputs: Tensor, targets: Tensor, within_BT2: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """−log p of the targets where the inputs are the mask token, in nats, and whether each is the likeliest token.

        None where a family fills in no masks.

        Args:
            inputs: int64 (B, T), T at most the window; documents begin with `bos` and do not see each other.
            targets: int64 (B, T), what stood there.
            within_BT2: int64, the first id that each place may take, and the one behind the last; None for any.

        Returns:
            float32 and bool (B, T); where nothing is masked, they mean nothing. Without gradients.
        """
        return None

    @property
    def code_space(self) -> CodeSpace | None:
        """The codes it makes of samples; None where it makes none. A family that has them is a codec."""
        return None

    def codes(self, samples: Tensor) -> Tensor:
        """Codes of normalised samples (N, C, *size), any size that `code_space.stride` divides, without gradients.

        Returns:
            int64 (N, *places, Q), places = size / stride.
        """
        raise NotImplementedError(f"{type(self).__name__} makes no codes")

    def from_codes(self, codes: Tensor) -> Tensor:
        """Normalised samples float32 (N, C, *size) of codes int64 (N, *places, Q), without gradients."""
        raise NotImplementedError(f"{type(self).__name__} makes no codes")

    def files(self) -> Mapping[str, bytes]:
        """Further files of a checkpoint's folder by name, e.g. the `config.json` that others load the weights by."""
        return {}

    def inspect(self, step: int, train: Batch, heldout: Batch) -> dict[str, float]:
        """Diagnostics at a look: overfitting gap, saturation, diversity. May adapt the family's own buffers."""
        return {}

    def warnings(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        """What a person should be told, with a remedy, given the diagnostics so far (oldest first)."""
        return []

    @abstractmethod
    def sampler(self, variant: str = "") -> nn.Module:
        """The network that makes samples, for export: takes (noise (B, Z), labels (B,) if any) to samples."""

    def coders(self) -> Mapping[str, nn.Module]:
        """Frozen copies for export: "encoder", samples (B, *shape) to latents or codes (int64), and "decoder", those to
        samples; {} where a family encodes nothing."""
        return {}

    def backbone(self) -> nn.Module | None:
        """Its own network that turns samples (B, *shape) into features (B, F, *places), which other runs can begin
        from; None where there is none."""
        return None
