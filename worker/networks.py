"""The networks in a worker's memory, by `NAME@VERSION`."""

import logging
from collections import OrderedDict
from threading import Lock
from typing import Final

import numpy as np
import torch
from torch import nn

from models.catalog import Catalog
from models.dcgan.network import Generator as Dcgan
from models.engine import CompletionEngine, choose_device, open_engine, prepare_process
from models.glcic.complete import complete
from models.loading import WeightsError, load
from models.vanilla_gan.network import Generator as VanillaGan

_KEPT: Final = 8
_WARM_UP_SIDE: Final = 32  # every kernel has run once then; a larger picture would only take longer

_log = logging.getLogger(__name__)


class Networks:
    """Loads on first use and keeps the eight used last."""

    def __init__(self, catalog: Catalog, device: str = "auto", threads: int | None = None) -> None:
        prepare_process(threads)
        self.device = choose_device(device)
        self._catalog = catalog
        self._networks: OrderedDict[str, CompletionEngine | nn.Module] = OrderedDict()
        self._lock = Lock()

    def engine(self, reference: str) -> CompletionEngine:
        """A completion network. Raises UnknownModelError, WeightsError."""
        found = self._get(reference)
        if not isinstance(found, CompletionEngine):
            raise WeightsError(f"{reference} does not complete pictures.")
        return found

    def generator(self, reference: str) -> Dcgan | VanillaGan:
        """A network that draws. Raises UnknownModelError, WeightsError."""
        found = self._get(reference)
        if not isinstance(found, Dcgan | VanillaGan):
            raise WeightsError(f"{reference} does not draw pictures.")
        return found

    def preload(self) -> None:
        """Load the active version of every model, and run the completion networks once, so that no request waits."""
        for name in self._catalog.names():
            try:
                engine = self._get(self._catalog.get(name).reference)
            except WeightsError as error:
                _log.warning("Not in service: %s", error)
                continue
            if isinstance(engine, CompletionEngine):
                hole = np.zeros((_WARM_UP_SIDE, _WARM_UP_SIDE), bool)
                hole[12:20, 12:20] = True
                complete(np.zeros((*hole.shape, 3), np.uint8), hole, engine)
                if engine.enlarge is not None:  # there was no face to enlarge
                    engine.enlarge(np.zeros((*hole.shape, 3), np.float32), hole, 0.25)

    def loaded(self) -> list[str]:
        """`NAME@VERSION` of what is in memory."""
        return list(self._networks)  # without the lock: to load takes seconds, and the heartbeat asks

    def memory_bytes(self) -> int:
        """What this process holds of the GPU's memory; 0 on a CPU."""
        return torch.cuda.memory_reserved(self.device) if self.device.type == "cuda" else 0

    def _get(self, reference: str) -> CompletionEngine | nn.Module:
        with self._lock:
            if reference not in self._networks:
                card = self._catalog.get(reference)
                open_network = open_engine if card.family == "glcic" else load
                self._networks[reference] = open_network(self._catalog, card, self.device)
            self._networks.move_to_end(reference)
            while len(self._networks) > _KEPT:
                self._networks.popitem(last=False)
            return self._networks[reference]
