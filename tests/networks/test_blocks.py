import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from motherlode.errors import RecipeError
from motherlode.networks.blocks import (
    LabelledNoise,
    ProjectionHead,
    batch_statistics,
    convolution,
    crop,
    evaluating,
    pad,
    plan_sizes,
    plan_strides,
    seeded,
    truncated_normal,
)
from motherlode.randomness import torch_generator


@pytest.mark.parametrize(
    ("shape", "start", "num_stages"),
    [
        ((1, 32, 32), (4, 4), 3),
        ((1, 28, 28), (7, 7), 2),
        ((3, 48, 48), (6, 6), 3),
        ((3, 100, 100), (7, 7), 4),
        ((3, 256, 256), (4, 4), 6),
        ((3, 16, 40), (4, 10), 2),
        ((2, 1000), (8,), 7),
        ((1, 16, 16, 16), (4, 4, 4), 2),
    ],
)
def test_sizes_follow_the_rule(shape: tuple[int, ...], start: tuple[int, ...], num_stages: int) -> None:
    assert plan_sizes(shape) == (start, num_stages)
    assert all(cells * 2**num_stages >= side for cells, side in zip(start, shape[1:]))


@pytest.mark.parametrize(
    ("shape", "start", "strides"),
    [
        ((1, 28, 28), (7, 7), [(2, 2)] * 2),
        ((3, 16, 40), (4, 10), [(2, 2)] * 2),
        ((1, 16, 16, 16), (4, 4, 4), [(2, 2, 2)] * 2),
        ((1, 8, 32, 32), (4, 4, 4), [(1, 2, 2), (1, 2, 2), (2, 2, 2)]),
        ((3, 16, 48, 100), (4, 6, 7), [(1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]),
    ],
)
def test_each_side_of_a_clip_doubles_as_often_as_it_can(
    shape: tuple[int, ...], start: tuple[int, ...], strides: list[tuple[int, ...]]
) -> None:
    assert plan_strides(shape) == (start, strides)


def test_a_side_too_short_is_refused() -> None:
    with pytest.raises(RecipeError, match="sides of 8 or more"):
        plan_sizes((1, 4, 32))


def test_pad_undoes_crop_where_it_fits() -> None:
    samples = torch.randn(2, 3, 10, 13)
    assert pad(samples, (16, 16)).shape == (2, 3, 16, 16)
    assert torch.equal(crop(pad(samples, (16, 16)), (10, 13)), samples)
    assert pad(samples, (10, 13)) is samples


def test_seeded_building_depends_on_the_seed_alone_and_leaves_the_ambient_generator() -> None:
    before = torch.get_rng_state()
    made = []
    for seed in (3, 3, 4):
        torch.manual_seed(int(torch.randint(1000, ())))
        with seeded(seed, "generator"):
            made.append(nn.Linear(5, 5).weight.detach().clone())
    torch.set_rng_state(before)
    with seeded(3, "generator"):
        nn.Linear(5, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_evaluating_restores_every_module_to_its_own_mode() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    network[0].eval()
    with evaluating(network) as inside:
        assert not inside.training
        assert not inside[1].training
    assert network.training
    assert [module.training for module in network] == [False, True]


def test_batch_statistics_compute_training_and_leave_no_trace() -> None:
    network = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3)).eval()
    samples = torch.randn(64, 3) * 5 + 2
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with batch_statistics(network):
        out = network(samples)
    assert torch.allclose(out.mean(0), torch.zeros(3), atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("limit", [0.5, 2.0])
def test_truncated_normal_has_the_truncated_distribution(limit: float) -> None:
    draws = truncated_normal((100, 100), limit, torch_generator(0, "truncated")).flatten()
    assert draws.abs().max() <= limit
    assert stats.kstest(draws.numpy(), stats.truncnorm(-limit, limit).cdf).pvalue > 1e-3


def test_the_projection_head_is_its_formula_in_float32() -> None:
    head = ProjectionHead(4, 6, 3)
    features, labels = torch.randn(5, 4, 2, 3), torch.tensor([0, 1, 2, 1, 0])
    assert head.embedding is not None
    flat = features.permute(0, 2, 3, 1).reshape(5, -1)
    expected = flat @ head.linear.weight[0] + head.linear.bias
    expected = expected + (head.embedding(labels) * features.mean((2, 3))).sum(1)
    assert torch.allclose(head(features, labels), expected, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(features.bfloat16(), labels).dtype == torch.float32
    with pytest.raises(RecipeError, match="labels"):
        head(features)


def test_noise_carries_its_label() -> None:
    labelled = LabelledNoise(10, 3)
    noise = torch.randn(2, 10)
    joined: Tensor = labelled(noise, torch.tensor([2, 0]))
    assert joined.shape == (2, labelled.num_out)
    assert torch.equal(joined[:, :10], noise)
    assert LabelledNoise(10, 0)(noise, None) is noise
    with pytest.raises(RecipeError, match="must be given labels"):
        labelled(noise, None)
    assert labelled.embedding is not None
    assert torch.equal(joined[0, 10:], labelled.embedding.weight[2])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_gradients_of_flat_volumes_are_right_in_bf16(depth: int) -> None:
    """Memory that held NaN before must not come back as a gradient: see `_Convolution3d`."""
    rng = torch.Generator().manual_seed(0)
    samples = torch.randn(8, 32, depth, 8, 8, generator=rng)
    layer = convolution(3, 32, 32, 3, padding=1)
    layer(samples).square().sum().backward()
    right = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    rubbish = [torch.full((size,), float("nan")) for size in (1 << 16, 1 << 18, 1 << 20)]
    del rubbish
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(samples)
    made.float().square().sum().backward()
    for parameter, expected in zip(layer.parameters(), right):
        assert torch.linalg.vector_norm(parameter.grad - expected) < 0.05 * torch.linalg.vector_norm(expected)
