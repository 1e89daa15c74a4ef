"""Codebooks between encoder and decoder: a vector a place becomes one of K codes, or several codes one after another.

A codebook does not learn by gradient: each code is the moving average of the vectors that chose it. It starts from
clusters of what the encoder makes, not from noise, and a code that hardly anything chooses is moved to a vector of the
batch. After 250 steps on Fashion-MNIST held-out pictures used 49 of 512 codes without either, 485 where dead codes were
moved, 512 after k-means (perplexity 16, 185, 351; `bench/autoencoder.py --codebooks`). All sums are over the ranks, so
that every rank holds the same codebook. Distances are taken in float32 whatever the encoder's precision.
van den Oord et al. 2017, "Neural Discrete Representation Learning"; Razavi et al. 2019 (averages); Zeghidour et al.
2021, "SoundStream" (residual quantisers, k-means, revival); Mentzer et al. 2023, arXiv 2309.15505 (finite scalars).

Shape legend: B batch, D numbers a place, N places of a batch, K codes, Q quantisers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from motherlode.networks.shapes import Bool, Float, Int

_ROUNDS = 10
_EPSILON = 1e-5


@dataclass(frozen=True)
class Quantised:
    """What became of the features of a batch.

    Args:
        vectors: (B, D, *places), what the decoder gets; gradients pass on to the features.
        codes: int64 (B, *places, Q).
        commitment: 0-d, mean squared distance of features to their codes: what keeps the encoder near them.
        lessons: what each codebook is to learn from: vectors (N, D), codes (N,) and which of them count (N,).
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor
    lessons: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()


class Codebook(nn.Module):
    """K vectors, each the moving average of what chose it.

    Args:
        num_codes: K.
        num_numbers: D.
        decay: of the averages, a step.
        revive: a code chosen less often than this share of the mean is moved.
    """

    vectors: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(self, num_codes: int, num_numbers: int, *, decay: float, revive: float) -> None:
        super().__init__()
        self.decay, self.revive = decay, revive
        self.register_buffer("vectors", torch.randn(num_codes, num_numbers))
        self.register_buffer("uses", torch.ones(num_codes))
        self.register_buffer("sums", self.vectors.clone())

    def forward(self, points_ND: Float[Tensor, "points numbers"]) -> Int[Tensor, " points"]:
        """The nearest code of each vector."""
        return nearest(points_ND, self.vectors)

    @torch.no_grad()
    def start(self, points_ND: Float[Tensor, "points numbers"], rng: torch.Generator) -> None:
        """Begin with the clusters of these vectors, of all ranks; `rng` must be the same on each."""
        points_ND = _gathered(points_ND)
        num_codes = len(self.vectors)
        self.vectors.copy_(kmeans(points_ND, num_codes, rng))
        self.uses.fill_(len(points_ND) / num_codes)
        self.sums.copy_(self.vectors * self.uses[:, None])

    @torch.no_grad()
    def learn(
        self,
        points_ND: Float[Tensor, "points numbers"],
        codes_N: Int[Tensor, " points"],
        counted_N: Bool[Tensor, " points"],
        rng: torch.Generator,
    ) -> None:
        """Follow the vectors that chose each code, and move codes that are hardly chosen.

        Args:
            points_ND: float32, of this rank.
            codes_N: what each chose.
            counted_N: which of them count.
            rng: chooses where moved codes go; the same on every rank.
        """
        weights_N = counted_N.to(points_ND.dtype)
        uses_K = torch.zeros_like(self.uses).index_add_(0, codes_N, weights_N)
        sums_KD = torch.zeros_like(self.sums).index_add_(0, codes_N, points_ND * weights_N[:, None])
        _sum_over_ranks(uses_K, sums_KD)
        self.uses.lerp_(uses_K, 1 - self.decay)
        self.sums.lerp_(sums_KD, 1 - self.decay)
        total, num_codes = self.uses.sum(), len(self.uses)
        smoothed_K = (self.uses + _EPSILON) / (total + num_codes * _EPSILON) * total
        self.vectors.copy_(self.sums / smoothed_K.clamp_min(1e-12)[:, None])
        if self.revive:
            self._move(points_ND, rng)

    def _move(self, points_ND: Tensor, rng: torch.Generator) -> None:
        """Dead codes become vectors of the batch (rank 0's), with a mean use, so that they have time to be chosen."""
        mean = self.uses.mean()
        dead_K = self.uses < self.revive * mean
        rows = torch.randint(len(points_ND), (len(self.uses),), generator=rng, device=rng.device).to(points_ND.device)
        homes_KD = points_ND[rows]
        _from_first_rank(homes_KD)
        self.vectors.copy_(torch.where(dead_K[:, None], homes_KD, self.vectors))
        self.uses.copy_(torch.where(dead_K, mean, self.uses))
        self.sums.copy_(torch.where(dead_K[:, None], homes_KD * mean, self.sums))

    @property
    def alive(self) -> float:
        """Share of codes that were chosen at least a tenth as often as the mean one of late."""
        return float((self.uses > 0.1 * self.uses.mean()).float().mean())


class VectorQuantiser(nn.Module):
    """One codebook, or several, each of which quantises what the ones before it left over (residual VQ).

    Args:
        num_codes: of each codebook.
        num_numbers: D.
        num_quantisers: Q.
        decay: see `Codebook`.
        revive: see `Codebook`.
        estimator: how gradients pass: "straight" (as if nothing had happened) or "rotation" (turned and scaled as the
            feature was; Fifty et al. 2024, arXiv 2410.06424, equation 3).
    """

    def __init__(
        self,
        num_codes: int,
        num_numbers: int,
        num_quantisers: int = 1,
        *,
        decay: float = 0.99,
        revive: float = 0.03,
        estimator: Literal["straight", "rotation"] = "straight",
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.sizes = (num_codes,) * num_quantisers
        self.num_numbers = num_numbers
        self.books = nn.ModuleList(
            [Codebook(num_codes, num_numbers, decay=decay, revive=revive) for _ in range(num_quantisers)]
        )

    def forward(
        self, features: Float[Tensor, "batch numbers *places"], num_active_B: Int[Tensor, " batch"] | None = None
    ) -> Quantised:
        """Quantise.

        Args:
            features: (B, D, *places).
            num_active_B: how many quantisers count for each sample; None: all.
        """
        with torch.autocast(features.device.type, enabled=False):
            cells = features.float().movedim(1, -1)
            points_ND = cells.reshape(-1, self.num_numbers)
            left_ND, made_ND = points_ND, torch.zeros_like(points_ND)
            commitment = points_ND.new_zeros(())
            codes, lessons = [], []
            num_places = len(points_ND) // max(len(features), 1)
            for number, book in enumerate(self.books):
                codes_N = book(left_ND)
                chosen_ND = book.get_buffer("vectors")[codes_N]
                counted_N = torch.ones_like(codes_N, dtype=torch.bool)
                if num_active_B is not None:
                    counted_N = (num_active_B > number).repeat_interleave(num_places)
                away_N = (left_ND - chosen_ND).square().mean(1) * counted_N
                commitment = commitment + away_N.sum() / counted_N.sum().clamp_min(1)
                made_ND = made_ND + chosen_ND * counted_N[:, None]
                codes.append(codes_N)
                lessons.append((left_ND.detach(), codes_N, counted_N))
                left_ND = left_ND - chosen_ND
            passed_ND = self._estimate(points_ND, made_ND)
            vectors = passed_ND.view_as(cells).movedim(-1, 1)
            codes_BPQ = torch.stack(codes, -1).view(*cells.shape[:-1], len(codes))
        return Quantised(vectors, codes_BPQ, commitment, tuple(lessons))

    def _estimate(self, points_ND: Tensor, made_ND: Tensor) -> Tensor:
        if self.estimator == "straight":
            return points_ND + (made_ND - points_ND).detach()
        return rotated(points_ND, made_ND)

    def codes_of(self, features: Float[Tensor, "batch numbers *places"]) -> Int[Tensor, "batch *places quantisers"]:
        """The codes alone, by all quantisers."""
        cells = features.float().movedim(1, -1)
        left_ND = cells.flatten(0, -2)
        codes = []
        for book in self.books:
            codes.append(book(left_ND))
            left_ND = left_ND - book.get_buffer("vectors")[codes[-1]]
        return torch.stack(codes, -1).view(*cells.shape[:-1], len(codes))

    def vectors_of(self, codes: Int[Tensor, "batch *places quantisers"]) -> Float[Tensor, "batch numbers *places"]:
        """What the decoder gets for these codes."""
        parts = [book.get_buffer("vectors")[codes[..., number]] for number, book in enumerate(self.books)]
        return torch.stack(parts).sum(0).movedim(-1, 1)

    @torch.no_grad()
    def start(self, points_ND: Float[Tensor, "points numbers"], rng: torch.Generator) -> None:
        """Begin every codebook with the clusters of what the ones before it leave over."""
        for book in self.books:
            book.start(points_ND, rng)  # type: ignore[operator]
            points_ND = points_ND - book.get_buffer("vectors")[book(points_ND)]

    @property
    def alive(self) -> float:
        """See `Codebook.alive`; mean over the quantisers."""
        return sum(book.alive for book in self.books) / len(self.books)  # type: ignore[misc]

    def learn(self, lessons: Sequence[tuple[Tensor, Tensor, Tensor]], rng: torch.Generator) -> None:
        """Have each codebook follow its lesson."""
        for book, (points_ND, codes_N, counted_N) in zip(self.books, lessons, strict=True):
            book.learn(points_ND, codes_N, counted_N, rng)  # type: ignore[operator]


class ScalarQuantiser(nn.Module):
    """Every number of a place rounded to one of L levels; the code is the product of them all. Nothing to collapse.

    Mentzer et al. 2023, "Finite Scalar Quantization", section 3.

    Args:
        levels: L of each number, 2 or more.
    """

    steps: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.sizes = (math.prod(levels),)
        self.num_numbers = len(self.levels)
        steps = [math.prod(self.levels[:number]) for number in range(len(self.levels))]
        self.register_buffer("steps", torch.tensor(steps), persistent=False)
        self.register_buffer("scale", torch.tensor([level // 2 for level in self.levels]), persistent=False)
        self.register_buffer("counts", torch.tensor(self.levels), persistent=False)

    def forward(
        self, features: Float[Tensor, "batch numbers *places"], num_active_B: Int[Tensor, " batch"] | None = None
    ) -> Quantised:
        """Quantise; there is no commitment and nothing to learn."""
        with torch.autocast(features.device.type, enabled=False):
            cells = features.float().movedim(1, -1)
            bounded = self._bounded(cells)
            rounded = bounded + (bounded.round() - bounded).detach()
            scale = self.get_buffer("scale")
            codes = ((rounded.detach().round().long() + scale) * self.steps).sum(-1, keepdim=True)
        return Quantised((rounded / scale).movedim(-1, 1), codes, features.new_zeros((), dtype=torch.float32))

    def codes_of(self, features: Float[Tensor, "batch numbers *places"]) -> Int[Tensor, "batch *places one"]:
        """The codes alone."""
        codes: Tensor = self(features).codes
        return codes

    def _bounded(self, cells: Tensor) -> Tensor:
        """Into (−L/2, L/2) by tanh, shifted by a half where L is even so that it rounds to L values."""
        levels = self.get_buffer("counts").to(cells)
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.get_buffer("counts") % 2 == 0, 0.5, 0.0).to(cells)
        return torch.tanh(cells + torch.atanh(offset / half)) * half - offset

    def vectors_of(self, codes: Int[Tensor, "batch *places one"]) -> Float[Tensor, "batch numbers *places"]:
        """What the decoder gets for these codes."""
        scale = self.get_buffer("scale")
        whole = codes // self.steps % self.get_buffer("counts") - scale
        return (whole / scale).movedim(-1, 1)


def rotated(points_ND: Tensor, made_ND: Tensor) -> Tensor:
    """`made_ND`, with a gradient that is turned and scaled as points are turned and scaled into it.

    q̃ = λ R e with λ = ‖q‖ / ‖e‖ and R = I − 2 r rᵀ + 2 q̂ êᵀ, r = (ê + q̂) / ‖ê + q̂‖, all but e held constant.
    """
    length_N1 = points_ND.detach().norm(dim=1, keepdim=True).clamp_min(1e-6)
    made_length_N1 = made_ND.norm(dim=1, keepdim=True).clamp_min(1e-6)
    from_ND, to_ND = points_ND.detach() / length_N1, made_ND / made_length_N1
    middle_ND = nn.functional.normalize(from_ND + to_ND, dim=1)
    turned = (
        points_ND
        - 2 * (points_ND * middle_ND).sum(1, keepdim=True) * middle_ND
        + 2 * (points_ND * from_ND).sum(1, keepdim=True) * to_ND
    )
    scaled_ND: Tensor = turned * (made_length_N1 / length_N1)
    return scaled_ND


def kmeans(
    points_ND: Float[Tensor, "points numbers"], num: int, rng: torch.Generator, rounds: int = _ROUNDS
) -> Float[Tensor, "centres numbers"]:
    """Centres (num, D) of clusters: Lloyd's algorithm from random points; a centre that loses all points stays.

    Args:
        points_ND: float32; where there are fewer than `num`, some centres begin at one point, a little apart.
        num: of centres.
        rng: chooses where they begin.
        rounds: of assigning and averaging.
    """
    order = torch.randperm(len(points_ND), generator=rng, device=rng.device).to(points_ND.device)
    centres_KD = points_ND[order[torch.arange(num, device=order.device) % len(order)]].clone()
    if num > len(points_ND):
        apart = torch.randn(centres_KD.shape, generator=rng, device=rng.device).to(points_ND)
        centres_KD = centres_KD + 1e-2 * points_ND.std() * apart
    for _ in range(rounds):
        nearest_N = nearest(points_ND, centres_KD)
        sums_KD = torch.zeros_like(centres_KD).index_add_(0, nearest_N, points_ND)
        counts_K1 = torch.bincount(nearest_N, minlength=num)[:, None]
        centres_KD = torch.where(counts_K1 > 0, sums_KD / counts_K1.clamp_min(1), centres_KD)
    return centres_KD


def nearest(
    points_ND: Float[Tensor, "points numbers"], centres_KD: Float[Tensor, "centres numbers"]
) -> Int[Tensor, " points"]:
    """Which centre each point is nearest to: the argmin of ½|c|² − x·c, in float32."""
    with torch.autocast(points_ND.device.type, enabled=False):
        products_NK = points_ND.detach().float() @ centres_KD.float().t()
        return (0.5 * centres_KD.float().square().sum(1) - products_NK).argmin(1)


def perplexity(codes: Tensor, num_codes: int) -> float:
    """exp of the entropy of how often codes occur: how many codes that are used alike would be as varied."""
    shares_K = torch.bincount(codes.flatten(), minlength=num_codes).double() / max(codes.numel(), 1)
    return float(torch.special.entr(shares_K).sum().exp())


def _ranks() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _sum_over_ranks(*tensors: Tensor) -> None:
    if _ranks() > 1:
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)


def _from_first_rank(tensor: Tensor) -> None:
    if _ranks() > 1:
        torch.distributed.broadcast(tensor, 0)


def _gathered(tensor: Tensor) -> Tensor:
    """Rows of all ranks, in their order; each holds equally many."""
    if _ranks() == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(_ranks())]
    torch.distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
