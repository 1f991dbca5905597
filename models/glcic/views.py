"""Which part of the picture the network sees for a group of holes, and at which scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Literal

from models.glcic.align import FRAME, FacePose, FindFaces
from models.glcic.face_view import TurnedView, view_face
from models.glcic.geometry import Box, Crop, Mask, Pixels, View, bounding_box, group_holes, thickness
from models.glcic.network import MARGIN, STRIDE

Strategy = Literal["auto", "crop", "resize", "original"]
"""See `choose_look`; the names are IOPaint's."""

CROP_MARGIN = 128
"""Context on each side of a hole with strategy `crop`."""

CROP_LIMIT = 512
"""A crop of strategy `crop` is reduced to this where its longer side is larger."""

AGAIN = 2
"""How often at most a face is drawn again: as long as it is found to stand elsewhere than was thought."""

# Strategy `auto`: lengths as shares of the frame, the side of the pictures that the network was trained at. The
# figures are those at which portraits came out best, by eye and by error in the hole.
_SMALL, _LARGE = 0.2, 0.5  # how thick a hole should look: one among many things, one that hides most of a face
_SMALL_BELOW, _LARGE_ABOVE = 0.12, 0.2  # which of the two a hole is, by its thickness as a share of the picture's side
_MIDDLE = 0.6  # height in the frame of a hole's middle: trained on faces, whose features lie a little below the middle
_CONTEXT = 0.2  # least that is seen on each side of a hole
_COMPACT = 2.5  # times its thickness: a hole that is longer is a stroke
_STROKE, _PIECES = 4.0, 5  # how much longer than thick a hole is that is looked for faces piece by piece
_SURE = 0.99  # score of a face that a hole crosses
_SCRATCH = 0.075  # a thinner hole in a face hides no part of it: its own scale shows more
_MOST = 4  # frames to a side of the canvas


@dataclass(frozen=True)
class Look:
    """A view for the network, and whether it looks at the mirror image, too: the mean of both has fewer flaws."""

    view: View
    twice: bool = False
    elsewhere: bool = False
    """Whether no face is there, and a network that learned other things completes it."""
    groups: tuple[Box, ...] = ()
    """The boxes of the groups of holes that it fills, where those can be several: other groups can lie among them."""
    after: bool = False
    """Whether what earlier looks drew counts as known: it fills again a part of what they filled."""

    @property
    def runs(self) -> int:
        """Most runs of the network over the view's canvas."""
        return 1 + self.twice + (AGAIN if isinstance(self.view, TurnedView) else 0)


def plan_looks(
    image: Pixels,
    mask: Mask,
    strategy: Strategy,
    frame: int,
    find_faces: FindFaces | None = None,
    frame_elsewhere: int | None = None,
) -> list[tuple[Box, Look]]:
    """Boxes that hold all of the holes, each with what the network gets to see to fill it; as `choose_look`.

    With strategy auto and `find_faces`, a hole that is within a face, and no scratch, is seen in the face's canonical
    frame; those in the same face share a box. Of one that reaches beyond a face, as a strap or a line of text does, the
    part in the face is filled again once all is filled. Where another network completes what is no face,
    `frame_elsewhere` is the side that it was trained at.
    """
    boxes = group_holes(mask)
    if find_faces is None or (strategy != "auto" and frame_elsewhere is None):
        return [(box, choose_look(mask, box, strategy, frame)) for box in boxes]
    plan: list[tuple[Box, Look]] = []
    crossed: list[tuple[Box, Look]] = []
    waiting = list(zip(boxes, find_faces(image, mask, boxes), strict=True))
    while waiting:
        box, pose = waiting.pop(0)
        view = _in_face(mask, box, pose, frame) if strategy == "auto" else None
        if strategy == "auto" and view is None:
            pieces = _pieces(mask, box, pose)
            poses = [pose, *(find_faces(image, mask, pieces) if pieces else [])]
            parts = _faces_crossed(mask, box, poses, frame)
        else:
            parts = []
        crossed += parts
        if frame_elsewhere is not None and (pose is None or parts):
            plan.append((box, replace(choose_look(mask, box, strategy, frame_elsewhere), elsewhere=True)))
            continue
        groups, apart = [box], []
        for other, other_pose in waiting:
            if view is not None and _in_face(mask, other, pose, frame) == view:
                groups.append(other)
            else:
                apart.append((other, other_pose))
        waiting = apart
        look = Look(view, twice=True, groups=tuple(groups)) if view else choose_look(mask, box, strategy, frame)
        plan.append((reduce(Box.united, groups), look))
    return plan + crossed


def _pieces(mask: Mask, box: Box, pose: FacePose | None) -> list[Box]:
    """Of a stroke, pieces that can lie in another face each than the one that was found for all of it; none of a
    compact hole."""
    longer = max(box.height, box.width)
    if longer < _STROKE * thickness(mask[box.slices]):
        return []
    cuts = [longer * number // _PIECES for number in range(_PIECES + 1)]
    pieces = []
    for start, end in pairwise(cuts):
        piece = (
            Box(box.top, box.left + start, box.bottom, box.left + end)
            if box.width >= box.height
            else Box(box.top + start, box.left, box.top + end, box.right)
        )
        inner = bounding_box(mask[piece.slices])
        if inner is not None:
            pieces.append(inner.shifted(piece.top, piece.left))
    known = None if pose is None else _within_frame(pose, mask.shape)
    return [piece for piece in pieces if known is None or piece.common(known) is None]


def _faces_crossed(mask: Mask, box: Box, poses: Sequence[FacePose | None], frame: int) -> list[tuple[Box, Look]]:
    """The parts of the hole in `box` that lie in faces, each with how it is filled again."""
    seen: list[FacePose] = []
    parts = []
    for pose in sorted(filter(None, poses), key=lambda pose: -pose.score):
        if pose.score < _SURE or any(pose.away_from(other) < FRAME for other in seen):
            continue
        seen.append(pose)
        part = box.common(_within_frame(pose, mask.shape))
        inner = bounding_box(mask[part.slices]) if part is not None else None
        if part is None or inner is None:
            continue
        part = inner.shifted(part.top, part.left)
        view = _in_face(mask, part, pose, frame)
        if view is not None:
            parts.append((part, Look(view, twice=True, groups=(part,), after=True)))
    return parts


def _within_frame(pose: FacePose, size: tuple[int, int]) -> Box:
    """The largest box of a picture of (height, width) `size` that lies in a face's frame and has its middle."""
    middle = pose.turn * (FRAME / 2) * (1 + 1j) + pose.shift
    reach = abs(pose.turn) ** 2 * FRAME / 2 / (abs(pose.turn.real) + abs(pose.turn.imag)) - 1
    top, left = (math.ceil(value - reach) for value in (middle.imag, middle.real))
    bottom, right = (math.floor(value + reach) for value in (middle.imag, middle.real))
    return Box(max(0, top), max(0, left), min(size[0], bottom), min(size[1], right))


def _in_face(mask: Mask, box: Box, pose: FacePose | None, frame: int) -> TurnedView | None:
    """The face's frame as a view, when it is the best one for the hole in `box`."""
    if pose is None or thickness(mask[box.slices]) < _SCRATCH * FRAME * abs(pose.turn):
        return None
    return view_face(pose, box, frame, mask)


def choose_look(mask: Mask, box: Box, strategy: Strategy, frame: int) -> Look:
    """What the network gets to see to fill the holes in `box`; it was trained at pictures of side `frame`.

    auto: a crop at the scale at which the network was trained, with its
    context. crop: a crop at the picture's own scale, reduced only where it is
    larger than the network can take. resize: the whole picture, reduced to the
    frame. original: the picture at its own scale; only the part within the
    network's receptive field is computed, which gives the same pixels as all of it.
    """
    height, width = mask.shape
    if strategy == "resize":
        return Look(_scaled(Box(0, 0, height, width), min(1.0, frame / max(height, width))))
    if strategy == "original":
        return Look(_at_own_scale(box, MARGIN, mask))
    if strategy == "crop":
        around = box.grown(CROP_MARGIN, (height, width))
        longer = max(around.height, around.width)
        return Look(
            _at_own_scale(box, CROP_MARGIN, mask) if longer <= CROP_LIMIT else _scaled(around, CROP_LIMIT / longer)
        )
    return _auto(mask, box, frame)


def _auto(mask: Mask, box: Box, frame: int) -> Look:
    thick, extent, longer = thickness(mask[box.slices]), max(box.height, box.width), max(mask.shape)
    large = min(1.0, max(0.0, (thick / longer - _SMALL_BELOW) / (_LARGE_ABOVE - _SMALL_BELOW)))
    scale = (_SMALL + (_LARGE - _SMALL) * large) * frame / thick
    # A long hole is seen as a whole, but not larger than the network can take; nothing is enlarged.
    scale = min(1.0, max(scale, frame / longer), (_MOST - 2 * _CONTEXT) * frame / extent)
    if extent < _COMPACT * thick:
        scale = min(scale, (1 - 2 * _CONTEXT) * frame / extent)  # so that one frame shows it
    needed = math.ceil(extent * scale + 2 * _CONTEXT * frame - 1e-6)
    side = frame if needed <= frame else -(-needed // 32) * 32  # few shapes: runs can share a batch
    # In one frame a hole has context below wherever `_MIDDLE` puts it; a larger canvas is no longer than it must be.
    context = 0 if side == frame else _CONTEXT * frame / scale
    window = _window(box, round(side / scale), context, mask.shape)
    return Look(_scaled(window, scale), twice=side == frame)


def _window(box: Box, side: int, context: float, within: tuple[int, int]) -> Box:
    """A square of `side` with the middle of `box` where `_MIDDLE` says or, where `box` is so tall that it would have
    less than its `context` below, higher up; moved and then cut to lie in the picture."""
    top = max((box.top + box.bottom) / 2 - side * _MIDDLE, box.bottom + context - side)
    top, bottom = _span(top, side, within[0])
    left, right = _span((box.left + box.right - side) / 2, side, within[1])
    return Box(top, left, bottom, right)


def _span(start: float, side: int, limit: int) -> tuple[int, int]:
    first = min(max(0, int(start)), max(0, limit - side))
    return first, min(limit, first + side)


def _scaled(box: Box, scale: float) -> Crop:
    return Crop(box, (max(1, round(box.height * scale)), max(1, round(box.width * scale))))


def _at_own_scale(box: Box, margin: int, mask: Mask) -> Crop:
    """With the first row and column on the network's stride, as they are in the whole picture."""
    around = box.grown(margin, (mask.shape[0], mask.shape[1]))
    aligned = Box(
        around.top - around.top % STRIDE,
        around.left - around.left % STRIDE,
        min(mask.shape[0], around.bottom + -around.bottom % STRIDE),
        min(mask.shape[1], around.right + -around.right % STRIDE),
    )
    return Crop(aligned, (aligned.height, aligned.width))
