"""Drawing from both generators: what a seed promises."""

import numpy as np
import pytest
import torch
from torch import nn

from models.dcgan.network import Generator as DcganGenerator
from models.dcgan.sample import draw as draw_faces
from models.sampling import Pixels, draw_latents, slerp, to_pixels
from models.vanilla_gan.network import Generator as VanillaGanGenerator
from models.vanilla_gan.sample import draw as draw_digits


@pytest.fixture(scope="module", params=["dcgan", "vanilla-gan"])
def family(request: pytest.FixtureRequest) -> tuple[nn.Module, object]:
    torch.manual_seed(0)
    if request.param == "dcgan":
        return DcganGenerator(16).eval(), draw_faces
    return VanillaGanGenerator().eval(), draw_digits


def test_pictures_are_uint8_of_the_familys_shape() -> None:
    """(n, 64, 64, 3) for faces and (n, 28, 28, 1) for digits."""
    faces = draw_faces(DcganGenerator(4).eval(), 3, seed=1)
    digits = draw_digits(VanillaGanGenerator().eval(), 2, seed=1)
    assert (faces.shape, faces.dtype) == ((3, 64, 64, 3), np.uint8)
    assert (digits.shape, digits.dtype) == ((2, 28, 28, 1), np.uint8)


def test_picture_i_of_a_seed_is_the_same_however_many_are_asked_for(family) -> None:  # type: ignore[no-untyped-def]
    """Drawing more, or drawing again, changes no byte of those drawn before."""
    network, draw = family
    many: Pixels = draw(network, 64, 7)
    for n in (1, 5, 8, 9, 33):
        assert np.array_equal(draw(network, n, 7), many[:n]), n


def test_another_seed_is_another_picture(family) -> None:  # type: ignore[no-untyped-def]
    """All 63 bits of a seed count."""
    network, draw = family
    seeds = (0, 1, 2**32, 2**32 + 1, 2**63 - 1)
    drawn = {draw(network, 1, seed).tobytes() for seed in seeds}
    assert len(drawn) == len(seeds)


def test_a_walk_leads_from_one_seeds_first_picture_to_the_others(family) -> None:  # type: ignore[no-untyped-def]
    """Its ends are what the two seeds draw; a walk of one is its beginning; there and back are the same places."""
    network, draw = family
    walk: Pixels = draw(network, 6, 3, 4)
    assert np.array_equal(walk[:1], draw(network, 1, 3))
    assert np.array_equal(walk[-1:], draw(network, 1, 4))
    assert np.array_equal(draw(network, 1, 3, 4), walk[:1])
    back: Pixels = draw(network, 6, 4, 3)
    assert np.abs(back[::-1].astype(int) - walk).max() <= 1


def test_the_way_is_a_great_circle() -> None:
    """Halfway between two latents of one length lies a latent of that length, at half the angle."""
    rng = np.random.default_rng(0)
    start, end = (vector / np.linalg.norm(vector) for vector in rng.standard_normal((2, 100)).astype(np.float32))
    middle = slerp(start, end, 0.5)
    assert np.linalg.norm(middle) == pytest.approx(1, abs=1e-5)
    assert middle @ start == pytest.approx(middle @ end, abs=1e-5)
    assert np.arccos(middle @ start) * 2 == pytest.approx(np.arccos(start @ end), abs=1e-3)
    assert np.allclose(slerp(start, start, 0.3), start)


def test_latents_are_normal() -> None:
    """Mean 0, deviation 1."""
    latents = draw_latents(1000, 5, 100)
    assert latents.dtype == np.float32
    assert latents.mean() == pytest.approx(0, abs=0.01)
    assert latents.std() == pytest.approx(1, abs=0.01)


def test_minus_one_is_black_and_one_is_white() -> None:
    """[-1, 1] maps to 0..255, rounded; what lies beyond is cut off."""
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5)
    assert to_pixels(values).flatten().tolist() == [0, 0, 128, 255, 255]
