"""One small HEIC or AVIF of every kind of container: where fuzzing starts."""

from collections.abc import Callable
from functools import cache

from PIL import Image

from tests import heif_files
from tests.heif_files import Item, clap
from tests.pictures import chart
from tests.samples import containers, pictures
from tests.samples.containers import Coded, Track, Transform

SIZE = (64, 64)


@cache
def code(kind: str, mode: str = "RGB") -> Coded:
    """Encode the chart, small."""
    return containers.coded(pictures.encode(chart(*SIZE).convert(mode), kind))


def cropped(kind: str) -> bytes:
    """Cropped, turned and mirrored, with two statements of its colours."""
    transform = Transform(1, 0, (33, 1, 21, 1, 5, 2, -3, 1))
    colours = [containers.nclx(12, 13), b"prof" + bytes(200)]
    return containers.heif([code(kind)], SIZE, transform=transform, colours=colours)


def hdr(kind: str) -> bytes:
    """In PQ, with a brand that says nothing of the coding."""
    return containers.heif([code(kind)], SIZE, colours=[containers.nclx(9, 16)], brand=b"mif1")


def sequence(kind: str) -> bytes:
    """Two tracks, the second one alpha."""
    brand = {"HEIC": b"hevc", "AVIF": b"avis"}[kind]
    alpha = Track(code(kind, "L"), SIZE, (), heif_files.ALPHA[:-1])
    return containers.sequence([Track(code(kind), SIZE, (clap(40, 1, 30, 1, 0, 1, 0, 1),)), alpha], brand)


def view_of_tiles(kind: str) -> bytes:
    """A view of a grid whose tiles each have their alpha; boxes in their larger forms."""
    tile, alpha = code(kind), code(kind, "L")
    items = [heif_files.coded(tile, SIZE) for _ in range(2)]
    items += [
        heif_files.coded(alpha, SIZE, heif_files.full(b"auxC", heif_files.ALPHA), auxl=[number])
        for number in (1, 2)
    ]
    items.append(Item(b"grid", heif_files.grid(1, 2, 128, 64), [heif_files.ispe(128, 64)], {b"dimg": [1, 2]}))
    turned = [heif_files.ispe(64, 128), heif_files.box(b"irot", b"\3")]
    items.append(Item(b"iden", b"", turned, {b"dimg": [5]}))
    return heif_files.write(items, 6, wide=True)


def grey(kind: str) -> bytes:
    """Without colours."""
    image = Image.linear_gradient("L").resize(SIZE)
    return containers.heif([containers.coded(pictures.encode(image, kind))], SIZE)


KINDS: dict[str, Callable[[str], bytes]] = {
    "cropped": cropped,
    "in PQ": hdr,
    "a sequence": sequence,
    "a view of tiles": view_of_tiles,
    "grey": grey,
}
