"""The network in service, and a stand-in for it that costs nothing."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from models.catalog import SHIPPED, Catalog
from models.engine import CompletionEngine, prepare_process
from models.glcic.align import FindFaces
from models.glcic.enlarge import Enlarge
from models.glcic.network import CompletionNetwork
from models.loading import load


class FakeEngine:
    """Draws from all that it is shown, the hole's pixels too, so that a pixel that should not be shown is noticed."""

    def __init__(self, batch_limit: int = 1, image_size: int = 32) -> None:
        self.batch_limit = batch_limit
        self.image_size = image_size
        self.find_faces: FindFaces | None = None
        self.enlarge: Enlarge | None = None
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        assert image.shape[1:] == (3, *mask.shape[2:])
        assert mask.shape[1] == 1
        assert image.dtype == mask.dtype == torch.float32
        assert image.isfinite().all()
        assert all(side % 4 == 0 for side in image.shape[2:])
        self.shapes.append(tuple(image.shape))
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        return (0.5 * image.flip(3) + 0.3 * image.roll(5, 2) + 0.2 * mask * mean).clamp(0, 1)


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def flushed() -> Iterator[None]:
    """As in a process that computes: without denormals; and on one thread, since what tests compute is small."""
    threads = torch.get_num_threads()
    prepare_process(threads=1)
    yield
    torch.set_flush_denormal(False)  # other tests draw any float, which hypothesis refuses without denormals
    torch.set_num_threads(threads)


@pytest.fixture
def engine(shipped_engine: CompletionEngine, flushed: None) -> CompletionEngine:  # noqa: ARG001 - for its effect
    """The completion network that ships, on the CPU, as it runs in service."""
    return shipped_engine


@pytest.fixture
def exact_engine(shipped_network: CompletionNetwork, flushed: None) -> CompletionEngine:  # noqa: ARG001 - as above
    """The same in float32: for comparisons of pixels."""
    return CompletionEngine(shipped_network, torch.device("cpu"), precision=torch.float32)


@pytest.fixture(scope="session")
def shipped_network() -> CompletionNetwork:
    catalog = Catalog(shipped=SHIPPED)
    network = load(catalog, catalog.get("glcic-celeba"), torch.device("cpu"))
    assert isinstance(network, CompletionNetwork)
    return network


@pytest.fixture(scope="session")
def shipped_engine(shipped_network: CompletionNetwork) -> CompletionEngine:
    return CompletionEngine(shipped_network, torch.device("cpu"))
