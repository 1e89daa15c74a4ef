import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from motherlode.networks.quantise import (
    Codebook,
    ScalarQuantiser,
    VectorQuantiser,
    kmeans,
    nearest,
    perplexity,
    rotated,
)
from motherlode.randomness import torch_generator


def points(num: int, numbers: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(num, numbers, generator=torch_generator(seed, "points"))


def test_kmeans_is_as_tight_as_scikit_learns() -> None:
    some = torch.cat([points(100, seed=seed) * 0.2 + 3 * points(1, seed=100 + seed) for seed in range(5)])
    centres = kmeans(some, 20, torch_generator(0, "k"), rounds=50)
    ours = float((some - centres[nearest(some, centres)]).square().sum())
    theirs = KMeans(20, init="random", n_init=1, max_iter=50, random_state=0).fit(some.numpy()).inertia_
    assert ours < 1.2 * theirs
    assert len(kmeans(some[:5], 8, torch_generator(0, "k"))) == 8


def test_the_nearest_code_is_the_nearest_by_distance() -> None:
    assert torch.equal(nearest(points(200), points(30, seed=1)), torch.cdist(points(200), points(30, seed=1)).argmin(1))


class TestCodebook:
    def test_a_code_is_the_moving_average_of_what_chose_it(self) -> None:
        book = Codebook(8, 4, decay=0.9, revive=0.0)
        uses, sums = book.uses.clone().double(), book.sums.clone().double()
        for step in range(5):
            some = points(64, seed=step)
            codes = book(some)
            book.learn(some, codes, torch.ones(64, dtype=torch.bool), torch_generator(0, "x"))
            chosen = torch.nn.functional.one_hot(codes, 8).double()
            uses = 0.9 * uses + 0.1 * chosen.sum(0)
            sums = 0.9 * sums + 0.1 * chosen.t() @ some.double()
        used = uses > 0.5
        assert torch.allclose(book.vectors[used].double(), (sums / uses[:, None])[used], atol=1e-3)

    def test_dead_codes_are_moved_to_vectors_of_the_batch_and_others_are_not(self) -> None:
        books = [Codebook(16, 4, decay=0.5, revive=0.1) for _ in range(2)]
        some = points(64)
        for book in books:
            book.vectors[8:] = 100.0
            book.sums.copy_(book.vectors * book.uses[:, None])
        books[1].load_state_dict(books[0].state_dict())
        for step in range(12):
            for book in books:
                book.learn(some, book(some), torch.ones(64, dtype=torch.bool), torch_generator(0, "move", step))
        assert float(books[0].vectors.abs().max()) < 10
        assert len(books[0](some).unique()) > 8
        assert torch.equal(books[0].vectors, books[1].vectors)

    def test_it_starts_from_clusters(self) -> None:
        book = Codebook(5, 4, decay=0.99, revive=0.03)
        clusters = torch.cat([points(50, seed=seed) * 0.01 + 5 * points(1, seed=50 + seed) for seed in range(5)])
        book.start(clusters, torch_generator(0, "start"))
        before = float((clusters - book.vectors[book(clusters)]).square().mean())
        assert before < 0.3 * float(clusters.var(0).mean())
        assert float(book.uses.sum()) == pytest.approx(250)


class TestVectorQuantiser:
    def test_what_is_decoded_is_what_the_codes_say(self) -> None:
        quantiser = VectorQuantiser(16, 4, 3)
        made = quantiser(points(2 * 5 * 3).view(2, 4, 15)[:, :, :15].view(2, 4, 5, 3))
        assert made.codes.shape == (2, 5, 3, 3)
        assert torch.allclose(quantiser.vectors_of(made.codes), made.vectors, atol=1e-5)

    def test_each_quantiser_leaves_less(self) -> None:
        quantiser = VectorQuantiser(32, 4, 4)
        some = points(2000)
        quantiser.start(some, torch_generator(0, "s"))
        errors = [
            float((quantiser(some.t()[None], torch.tensor([num])).vectors[0].t() - some).square().mean())
            for num in (1, 2, 3, 4)
        ]
        assert errors[0] > errors[1] > errors[2] > errors[3]

    def test_dropped_quantisers_neither_add_nor_learn(self) -> None:
        quantiser = VectorQuantiser(8, 4, 2, revive=0.0)
        features = points(6).view(2, 3, 4).movedim(2, 1)
        made = quantiser(features, torch.tensor([1, 2]))
        first = quantiser.vectors_of(made.codes[..., :1].expand(-1, -1, 2).clone())
        only = quantiser.books[0].get_buffer("vectors")[made.codes[0, :, 0]].t()
        assert torch.allclose(made.vectors[0], only, atol=1e-5)
        assert first.shape == (2, 4, 3)
        counted = [lesson[2].tolist() for lesson in made.lessons]
        assert counted == [[True] * 6, [False] * 3 + [True] * 3]

    def test_gradients_pass_straight_and_the_commitment_pulls(self) -> None:
        quantiser = VectorQuantiser(8, 4)
        features = points(6).t()[None].clone().requires_grad_()
        made = quantiser(features)
        (gradient,) = torch.autograd.grad((made.vectors * 3).sum(), features, retain_graph=True)
        assert torch.allclose(gradient, torch.full_like(features, 3.0))
        (pull,) = torch.autograd.grad(made.commitment, features)
        assert torch.allclose(pull, 2 * (features - quantiser.vectors_of(made.codes)) / features.numel(), atol=1e-6)

    def test_the_rotation_turns_points_into_codes_and_gradients_with_them(self) -> None:
        some, codes = points(7).requires_grad_(), points(7, seed=1)
        made = rotated(some, codes)
        assert torch.allclose(made, codes, atol=1e-5)
        for row in range(7):
            matrix = torch.stack(
                [torch.autograd.grad(made[row, axis], some, retain_graph=True)[0][row] for axis in range(4)]
            )
            scale = codes[row].norm() / some[row].detach().norm()
            assert torch.allclose(matrix.t() @ matrix, scale**2 * torch.eye(4), atol=1e-4)  # a rotation, scaled
            assert torch.linalg.det(matrix / scale).item() == pytest.approx(1, abs=1e-4)


class TestScalarQuantiser:
    @pytest.mark.parametrize("levels", [(8, 6, 5), (8, 5, 5, 5), (2, 3)])
    def test_every_code_is_reached_and_comes_back(self, levels: tuple[int, ...]) -> None:
        quantiser = ScalarQuantiser(levels)
        (size,) = quantiser.sizes
        every = torch.arange(size)[:, None]
        vectors = quantiser.vectors_of(every)
        assert len(vectors.unique(dim=0)) == size
        assert float(vectors.abs().max()) <= 1
        made = quantiser(1.2 * points(40_000, len(levels)))
        assert len(made.codes.unique()) == size
        assert torch.allclose(quantiser.vectors_of(made.codes), made.vectors, atol=1e-5)

    def test_it_is_the_papers_formula(self) -> None:
        """Appendix A: f(z) = tanh(z + tan⁻¹…) half-width, shifted by ½ for even L; each value within its level."""
        quantiser = ScalarQuantiser((5, 4))
        made = quantiser(torch.tensor([[-9.0, -9.0], [0.0, 0.0], [9.0, 9.0]]))
        assert made.vectors.tolist() == [[-1.0, -1.0], [0.0, 0.0], [1.0, 0.5]]
        features = torch.zeros(1, 2, requires_grad=True)
        (gradient,) = torch.autograd.grad(quantiser(features).vectors.sum(), features)
        assert bool((gradient > 0).all())


def test_perplexity() -> None:
    assert perplexity(torch.arange(64), 64) == pytest.approx(64)
    assert perplexity(torch.zeros(9, dtype=torch.int64), 64) == pytest.approx(1)


def test_two_ranks_hold_one_codebook_and_learn_it_from_both(tmp_path: Path) -> None:
    """Without moved codes, which come from rank 0's points, sums over ranks are those of one rank with all points."""
    program = Path(__file__).with_name("quantise_rank.py")
    workers = [
        subprocess.Popen([sys.executable, str(program), str(rank), str(tmp_path / "meet")], env=os.environ)
        for rank in (0, 1)
    ]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    first, second = (torch.load(tmp_path / f"meet-{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    uses = first["books.0.uses"]
    # 64 points start it, 64 are added at each step: both ranks' count, in all 64 a step.
    assert float(uses.sum()) == pytest.approx(64, rel=0.05)
