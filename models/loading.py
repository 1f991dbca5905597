"""From a card to a network that is ready to run: verify, build, load strictly, evaluate."""

import hashlib
from collections.abc import Callable

import safetensors.torch
import torch
from torch import nn

from models.catalog import Card, Catalog, Kind
from models.dcgan.network import Generator as DcganGenerator
from models.glcic.align import AlignmentNetwork
from models.glcic.enlarge import EnlargingNetwork
from models.glcic.network import CompletionNetwork
from models.vanilla_gan.network import Generator as VanillaGanGenerator


class WeightsError(RuntimeError):
    """A file of weights is missing, damaged, or does not fit its network."""


BUILDERS: dict[Kind, Callable[..., nn.Module]] = {
    "glcic": CompletionNetwork,
    "face-align": AlignmentNetwork,
    "face-enlarge": EnlargingNetwork,
    "dcgan": DcganGenerator,
    "vanilla-gan": VanillaGanGenerator,
}
"""How the served network of each family is made; `Card.options` are its keyword arguments."""


def load(catalog: Catalog, card: Card, device: torch.device) -> nn.Module:
    """The network of `card` in float32 and in eval mode on `device`. Raises WeightsError."""
    path = catalog.weights_path(card)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"The weights of {card.reference} cannot be read: {error}.") from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise WeightsError(f"{path} is not the file that the card of {card.reference} describes (SHA-256 differs).")
    network = BUILDERS[card.family](**card.options)
    try:
        fill(network, content)
    except WeightsError as error:
        raise WeightsError(f"{path} does not fit {card.family}: {error}.") from error
    return network.eval().requires_grad_(False).to(device)


def fill(network: nn.Module, content: bytes) -> None:
    """Give `network` the weights in the bytes of a safetensors file, in float32. Raises WeightsError that says why."""
    try:
        state = {name: tensor.float() for name, tensor in safetensors.torch.load(content).items()}
        expected = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
        if state.keys() != expected:
            raise WeightsError(f"differs in {sorted(state.keys() ^ expected)[:4]}")
        network.load_state_dict(state, strict=False)  # the one key left out counts training batches
    except (RuntimeError, ValueError, safetensors.SafetensorError) as error:
        raise WeightsError(str(error)) from error
