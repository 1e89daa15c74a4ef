"""A small Fashion-MNIST classifier, the judge of the Inception Score: trained once, then kept beside the raw data.

    python bench/classifier.py [--epochs 12]

The weights behind the figures in LAB.md are of this network, 93.2 % right on the test images. The ceiling is what the
test images get and is printed with every table, because an unsure classifier lowers it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fashion import images, labels
from motherlode.measures.inception import inception_score
from motherlode.modality.image import MODALITY

WEIGHTS = Path("datasets/raw/fashion-classifier.safetensors")
_BATCH = 128


class Classifier(nn.Module):
    """uint8 (N, 1, 32, 32) to logits (N, 10): five 3x3 convolutions with batch norm, two poolings, a mean."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for num_in, num_out, pool in (
            (1, 32, False),
            (32, 32, True),
            (32, 64, False),
            (64, 64, True),
            (64, 128, False),
        ):
            layers += [nn.Conv2d(num_in, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if pool else []
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(128, 10))

    def forward(self, pictures: Tensor) -> Tensor:
        """Classify."""
        logits: Tensor = self.head(self.layers(MODALITY.normalise(pictures)).mean((2, 3)))
        return logits


@torch.inference_mode()
def logits(classifier: Classifier, pictures: Tensor) -> Tensor:
    """Of uint8 pictures (N, 1, 32, 32)."""
    return torch.cat([classifier(part) for part in pictures.split(500)])


def train(pictures: Tensor, answers: Tensor, epochs: int) -> Classifier:
    """Train from scratch on uint8 (N, 1, 32, 32), with mirrored pictures as the only augmentation."""
    torch.manual_seed(0)
    classifier = Classifier().to(memory_format=torch.channels_last)
    steps = epochs * (len(pictures) // _BATCH)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=5e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(pictures), (_BATCH,))
        mirrored = torch.rand(_BATCH, 1, 1, 1) < 0.5
        batch = torch.where(mirrored, pictures[rows].flip(3), pictures[rows])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = cross_entropy(classifier(batch).float(), answers[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return classifier.eval()


def save(classifier: Classifier, path: Path) -> None:
    """Keep the weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in classifier.state_dict().items()}, path)


def load(path: Path = WEIGHTS) -> Classifier:
    """The trained classifier.

    Raises:
        SystemExit: it has not been trained.
    """
    if not path.exists():
        raise SystemExit("run `python bench/classifier.py` first")
    classifier = Classifier()
    classifier.load_state_dict(load_file(path))
    return classifier.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    asked = parser.parse_args()
    if not WEIGHTS.exists():
        save(train(images("train", 32), labels("train"), asked.epochs), WEIGHTS)
    answers = logits(load(), images("t10k", 32))
    right = (answers.argmax(1) == labels("t10k")).float().mean()
    print(f"right on the test images: {right:.2%}; Inception Score of the test images: {inception_score(answers):.2f}")


if __name__ == "__main__":
    main()
