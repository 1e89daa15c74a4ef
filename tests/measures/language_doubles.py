"""Language models whose likelihoods are known, and documents to score with them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from motherlode.randomness import numpy_generator, torch_generator

BOS, MASK = 0, 1


class Texts:
    """Documents of tokens; each token stands for three bytes, which no measure needs to know."""

    def __init__(self, documents: list[np.ndarray]) -> None:
        self.documents = [np.concatenate([[BOS], document]).astype(np.int64) for document in documents]
        self.num_bytes_N = np.array([3 * len(document) for document in documents], np.int64)

    def __len__(self) -> int:
        return len(self.documents)

    def document(self, number: int) -> np.ndarray:
        return self.documents[number]


def draw(num: int, vocabulary: int, seed: int = 0, longest: int = 60, shortest: int = 1) -> Texts:
    """Documents of unequal length from tokens 2 to vocabulary − 1."""
    rng = numpy_generator(seed, "test documents")
    return Texts([rng.integers(2, vocabulary, rng.integers(shortest, longest + 1)) for _ in range(num)])


class Uniform:
    """Every token is as likely as any other."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.num_targets = 0

    def token_nats(self, tokens: Tensor) -> Tensor:
        self.num_targets += tokens[:, 1:].numel()
        return torch.full((len(tokens), tokens.shape[1] - 1), math.log(self.vocabulary))

    def masked_nats(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full(inputs.shape, math.log(self.vocabulary)), targets == 2


class Recurrent:
    """A small network that remembers all of its document and nothing before: likelihoods depend on all the context."""

    def __init__(self, vocabulary: int, seed: int = 0) -> None:
        rng = torch_generator(seed, "test network")
        self.embed = torch.randn(vocabulary, 16, generator=rng)
        self.mix = 0.95 * torch.linalg.qr(torch.randn(16, 16, generator=rng))[0]
        self.head = torch.randn(16, vocabulary, generator=rng)

    def token_nats(self, tokens: Tensor) -> Tensor:
        hidden_BD = torch.zeros(len(tokens), 16)
        nats = []
        for step in range(tokens.shape[1] - 1):
            begins_B1 = (tokens[:, step] == BOS)[:, None]
            hidden_BD = torch.where(begins_B1, torch.zeros_like(hidden_BD), hidden_BD @ self.mix)
            hidden_BD = torch.tanh(hidden_BD + self.embed[tokens[:, step]])
            log_p_BV = torch.log_softmax(hidden_BD @ self.head, -1)
            nats.append(-log_p_BV.gather(1, tokens[:, step + 1 : step + 2]))
        return torch.cat(nats, 1)


class Urn:
    """Pólya's urn: exact conditionals p(x | visible) = (1 + its count) / (V + visible), in any order and any place."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def nats(self, document: np.ndarray) -> float:
        """−ln p of a document, its bos left out, by the chain rule in order."""
        counts, total = np.zeros(self.vocabulary), 0.0
        for place, token in enumerate(document[1:]):
            total -= math.log((1 + counts[token]) / (self.vocabulary - 2 + place))
            counts[token] += 1
        return total

    def masked_nats(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        nats, hits = torch.zeros(inputs.shape), torch.zeros(inputs.shape, dtype=torch.bool)
        for row in range(len(inputs)):
            owner = (inputs[row] == BOS).cumsum(0)
            for number in owner.unique():
                here = owner == number
                visible = inputs[row][here & (inputs[row] != BOS) & (inputs[row] != MASK)]
                chance = 1.0 + torch.bincount(visible, minlength=self.vocabulary).float()
                chance[:2] = 0
                log_p = torch.log(chance / chance.sum())
                nats[row, here] = -log_p[targets[row, here].clamp(min=2)]
                hits[row, here] = targets[row, here] == int(chance.argmax())
        return nats, hits


class Mute:
    """Predicts nothing."""

    def token_nats(self, tokens: Tensor) -> None:
        return None

    def masked_nats(self, inputs: Tensor, targets: Tensor) -> None:
        return None
