import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from motherlode.errors import RecipeError
from motherlode.networks.blocks import seeded
from motherlode.networks.conv import DcganCritic, DcganGenerator
from motherlode.networks.mlp import MlpCritic, MlpGenerator
from motherlode.networks.resnet import Residual, ResnetCritic, ResnetGenerator, double, halve

PAIRS = [(MlpGenerator, MlpCritic), (DcganGenerator, DcganCritic), (ResnetGenerator, ResnetCritic)]
SHAPES = [
    (1, 16, 16),
    (1, 28, 28),
    (3, 48, 32),
    (4, 36, 52),
    (2, 64),
    (1, 100),
    (1, 8, 8, 8),
    (2, 16, 8, 12),
    (1, 8, 32, 36),
]


@pytest.mark.parametrize("pair", PAIRS, ids=["mlp", "dcgan", "resnet"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("num_labels", [0, 3])
def test_any_shape_of_one_two_or_three_dims(
    pair: tuple[type[nn.Module], type[nn.Module]], shape: tuple[int, ...], num_labels: int
) -> None:
    generator = pair[0](shape, num_noise=7, width=8, num_labels=num_labels)
    critic = pair[1](shape, width=8, num_labels=num_labels)
    labels = torch.arange(2) if num_labels else None
    made = generator(torch.randn(2, 7), labels)
    assert made.shape == (2, *shape)
    assert critic(made, labels).shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("side", [64, 100, 200, 256])
def test_large_pictures(side: int) -> None:
    for generator, critic in PAIRS[1:]:
        made = generator((3, side, side), width=4)(torch.randn(1, 100))
        assert made.shape == (1, 3, side, side)
        assert critic((3, side, side), width=4)(made).shape == (1,)


@pytest.mark.parametrize("network", [DcganGenerator, ResnetCritic])
def test_shapes_no_convolution_can_make_are_refused(network: type[nn.Module]) -> None:
    for shape in ((1, 4, 4), (5,), (1, 8, 8, 8, 8)):
        with pytest.raises(RecipeError, match="mlp"):
            network(shape)


def test_the_mlp_pair_is_the_classic_one() -> None:
    sizes = [tuple(parameter.shape) for parameter in MlpGenerator((1, 28, 28)).parameters() if parameter.ndim == 2]
    assert sizes == [(256, 100), (256, 256), (784, 256)]
    sizes = [tuple(parameter.shape) for parameter in MlpCritic((1, 28, 28)).parameters() if parameter.ndim == 2]
    assert sizes == [(256, 784), (128, 256), (1, 128)]


def test_the_dcgan_is_the_papers_function() -> None:
    """Against torch's own layers with the same weights, in training mode."""
    generator, critic = DcganGenerator((1, 32, 32), width=8), DcganCritic((1, 32, 32), width=8)
    paper = nn.Sequential(
        nn.ConvTranspose2d(100, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    judge = nn.Sequential(
        nn.Conv2d(1, 8, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
        nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 1, 4, 1, 0, bias=False), nn.Flatten(0),
    )  # fmt: skip
    with torch.no_grad():
        for theirs, ours in zip(
            [*paper.parameters(), *judge.parameters()], [*generator.parameters(), *critic.parameters()]
        ):
            if ours.shape == theirs.shape:
                theirs.copy_(ours)
            elif len(ours) == 1:
                theirs.copy_(ours.view(1, 4, 4, 32).permute(0, 3, 1, 2))
            else:
                theirs.copy_(ours.view(4, 4, 32, 100).permute(3, 2, 0, 1))
    noise = torch.randn(5, 100)
    made = generator(noise)
    assert torch.allclose(made, paper(noise[:, :, None, None]), atol=1e-5)
    assert torch.allclose(critic(made), judge(made), atol=1e-4)


def test_weights_are_a_function_of_the_seed() -> None:
    for network in (MlpGenerator, DcganGenerator, ResnetGenerator):
        made: list[nn.Module] = []
        for seed in (1, 1, 2):
            with seeded(seed, "generator"):
                made.append(network((1, 16, 16), width=4))
        states = [torch.cat([p.flatten() for p in module.parameters()]) for module in made]
        assert torch.equal(states[0], states[1])
        assert not torch.equal(states[0], states[2])


def test_a_residual_block_starts_as_the_identity_and_learns() -> None:
    block = Residual(2, 16, 4, num_blocks=4)
    samples = torch.randn(2, 16, 6, 6)
    assert torch.equal(block(samples), samples)
    block(samples).square().sum().backward()
    assert float(block.project.get_parameter("weight").grad.norm()) > 0  # type: ignore[union-attr]


def test_the_resnets_signal_neither_grows_nor_fades() -> None:
    made = ResnetGenerator((3, 64, 64), width=8)(torch.randn(64, 100))
    assert 0.2 < made.std().item() < 3
    judged: Tensor = ResnetCritic((3, 64, 64), width=8)(torch.randn(64, 3, 64, 64))
    assert 0.02 < judged.std().item() < 5


@pytest.mark.parametrize(("dims", "mode"), [(1, "linear"), (2, "bilinear"), (3, "trilinear")])
def test_resampling_is_linear_in_every_dim(dims: int, mode: str) -> None:
    samples = torch.randn(2, 3, *[6] * dims)
    half = functional.interpolate(samples, scale_factor=0.5, mode=mode, align_corners=False)
    assert torch.allclose(halve(samples), half, atol=1e-6)
    ramp = torch.arange(6.0).expand(1, 1, *[6] * dims)
    inner = double(ramp).flatten()[1:11]
    assert torch.allclose(inner.diff(), torch.full((9,), 0.5))
