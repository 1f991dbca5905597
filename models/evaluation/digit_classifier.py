"""A small network that reads digits, to judge those that the vanilla GAN draws.

Its weights lie beside this file (as half floats, read as data only). They were
made, in some minutes on one core, by

    python -m models.evaluation.digit_classifier --data PATH-TO-MNIST

which trains, measures the test accuracy and refuses to keep a network below 99 %;
the one that lies here has 99.37 %. It has seen digits alone and may be sure of
what is none, so a report shows the pictures beside its figures.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.catalog import write_atomically
from models.engine import prepare_process
from models.training.data import open_digits

WEIGHTS = Path(__file__).with_name("digit_classifier.safetensors")
SURE = 0.9
"""Probability of the likeliest digit from which on a sample counts as readable."""


class Block(nn.Sequential):
    """Convolution 3x3 -> batch norm -> ReLU."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )


class DigitClassifier(nn.Module):
    """Digits in, ten logits out. 70,330 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(Block(1, 16), Block(16, 32, 2), Block(32, 32), Block(32, 64, 2), Block(64, 64))
        self.drop = nn.Dropout(0.3)
        self.logits = nn.Linear(64, 10)

    def forward(self, digits: Tensor) -> Tensor:
        """digits: (B, 1, 28, 28) in [-1, 1]. Returns (B, 10) logits."""
        out: Tensor = self.logits(self.drop(self.embed(digits)))
        return out

    def embed(self, digits: Tensor) -> Tensor:
        """(B, 64): what the last layer reads; also the features of the Frechet distance between digits."""
        x: Tensor = self.features(digits)  # (B, 1, 28, 28) -> 16x28x28 -> 32x14x14 -> 64x7x7
        return x.mean(dim=(2, 3))


@dataclass(frozen=True)
class Judgement:
    """What the classifier makes of pictures."""

    sure: float
    """Share of pictures whose likeliest digit has a probability of at least `SURE`."""
    shares: tuple[float, ...]
    """Share of the pictures that each digit, 0 to 9, has."""
    features: npt.NDArray[np.float32]
    """(N, 64), for a Frechet distance."""

    def figures(self) -> dict[str, float]:
        """For a card."""
        return {
            "sure_share": self.sure,
            "rarest_digit_share": min(self.shares),
            "commonest_digit_share": max(self.shares),
        }


def load_classifier(device: torch.device) -> DigitClassifier:
    """The shipped classifier in eval mode."""
    classifier = DigitClassifier()
    state = {name: value.float() for name, value in safetensors.torch.load_file(WEIGHTS).items()}
    classifier.load_state_dict(state, strict=False)  # batch norm's count of batches is not kept
    return classifier.eval().requires_grad_(False).to(device)


@torch.inference_mode()
def judge(classifier: DigitClassifier, digits: npt.NDArray[np.uint8], device: torch.device) -> Judgement:
    """digits: (N, 28, 28) or (N, 28, 28, 1) uint8."""
    probabilities, features = [], []
    for part in np.array_split(digits.reshape(-1, 28, 28), max(1, len(digits) // 500)):
        embedded = classifier.embed(_to_tensor(part).to(device))
        features.append(embedded.cpu().numpy())
        probabilities.append(classifier.logits(embedded).softmax(dim=1).cpu().numpy())
    likely = np.concatenate(probabilities)
    counts = np.bincount(likely.argmax(axis=1), minlength=10)
    return Judgement(
        sure=float((likely.max(axis=1) >= SURE).mean()),
        shares=tuple(float(count) / len(likely) for count in counts),
        features=np.concatenate(features),
    )


def train(digits: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], epochs: int, seed: int = 0) -> DigitClassifier:
    """A classifier trained on digits that are shifted by up to two pixels."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    classifier = DigitClassifier().train()
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=3e-3, weight_decay=1e-2)
    batches = len(digits) // 128
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=epochs * batches)
    for epoch in range(epochs):
        for rows in np.array_split(rng.permutation(len(digits))[: batches * 128], batches):
            batch = np.roll(digits[rows], rng.integers(-2, 3, 2), axis=(1, 2))
            loss = F.cross_entropy(
                classifier(_to_tensor(batch)), torch.from_numpy(labels[rows]).long(), label_smoothing=0.02
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}  loss {loss.item():.3f}", flush=True)
    return classifier.eval()


@torch.inference_mode()
def accuracy(classifier: DigitClassifier, digits: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> float:
    """Share of digits read as their label says."""
    right = [
        (classifier(_to_tensor(part)).argmax(dim=1).numpy() == said).sum()
        for part, said in zip(np.array_split(digits, 20), np.array_split(labels, 20), strict=True)
    ]
    return float(sum(right)) / len(digits)


def main() -> None:
    """Train, measure, keep."""
    parser = argparse.ArgumentParser(description="Train the classifier that judges the vanilla GAN's digits.")
    parser.add_argument("--data", type=Path, required=True, help="MNIST as torchvision lays it out")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    prepare_process(options.threads)
    classifier = train(*open_digits(options.data, "train"), epochs=options.epochs)
    state = {name: value for name, value in classifier.state_dict().items() if not name.endswith("batches_tracked")}
    halved = {name: value.half() if value.dim() > 1 else value for name, value in state.items()}
    classifier.load_state_dict({name: value.float() for name, value in halved.items()}, strict=False)
    found = accuracy(classifier, *open_digits(options.data, "test"))
    print(f"test accuracy {found:.2%}")
    if found < 0.99:
        raise SystemExit("Below 99 %: not kept. Train for more epochs.")
    write_atomically(WEIGHTS, safetensors.torch.save(halved))


def _to_tensor(digits: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(digits.astype(np.float32)).unsqueeze(1).div(127.5).sub(1)


if __name__ == "__main__":
    main()
