"""Where kornia-rs is installed, it undoes PNG's filters, and every sample stays what Pillow makes of it."""

import importlib
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.errors import UndecodablePicture
from chalicelib.imaging import make_thumbnail
from chalicelib.imaging.decoders import png as decoder
from chalicelib.imaging.decoders import unfilter
from chalicelib.imaging.geometry import plans
from chalicelib.imaging.headers import png as header
from chalicelib.spec import ThumbnailSpec
from tests.inside import png_decoder, small_bands, use_png_decoder
from tests.pictures import chunk, png
from tests.service import ROOT

KORNIA = "kornia-rs==0.2.0"
KINDS = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (1, 3), (4, 3), (8, 3), (8, 4), (16, 4), (8, 6)]
SIZE = (37, 29)
SPEC = ThumbnailSpec(*SIZE)
PAETH = 4

Decode = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kornia-rs is installed, apart from the environment, which has to be Lambda's way."""
    target = tmp_path_factory.mktemp("kornia")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*install, "--only-binary", ":all:", "--target", str(target), KORNIA],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"{KORNIA} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return target


@pytest.fixture(scope="module")
def decode(folder: Path) -> Decode:
    sys.path.insert(0, str(folder))
    try:
        found: Decode = importlib.import_module("kornia_rs.io").decode_image_png_u8
    finally:
        sys.path.remove(str(folder))
    return found


def filtered(
    bit_depth: int, colour_type: int, seed: int, *, filters: tuple[int, ...] = (0, 1, 2, 3, 4)
) -> bytes:
    """A PNG of noise whose rows have filters of all kinds: any bytes are valid ones."""
    palette = chunk(b"PLTE", random.Random(0).randbytes(3 << bit_depth)) if colour_type == 3 else b""
    content = png(SIZE, bit_depth, colour_type, lambda _x, _y: [0] * 4, before_data=palette)
    (start, end), *_ = header.read(content).data
    row = header.read(content).row_bytes
    chance = random.Random(seed)
    rows = [bytes([chance.choice(filters)]) + chance.randbytes(row) for _ in range(SIZE[1])]
    data = chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return content[: start - 8] + data + content[end + 4 :]


def shrunk(content: bytes) -> bytes:
    [small] = decoder.by_bands(header.read(content), content, plans(*SIZE, 1, [SPEC]))
    return small.tobytes()


@pytest.mark.parametrize(("bit_depth", "colour_type"), [kind for kind in KINDS if kind[0] < 8])
def test_the_bits_that_fill_up_a_row_count_for_the_row_below(
    bit_depth: int, colour_type: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_bands(monkeypatch, 4 * SIZE[0])
    content = filtered(bit_depth, colour_type, 1)
    [whole] = decoder.whole(header.read(content), content, plans(*SIZE, 1, [SPEC]))
    assert shrunk(content) == whole.tobytes()


def test_here_pillow_undoes_them_as_on_lambda() -> None:
    assert png_decoder() is None, "kornia-rs is installed here, so that Lambda's way is not tested"


@pytest.mark.slow
def test_it_is_used_where_it_is_importable(folder: Path) -> None:
    program = "from tests.inside import png_decoder; print(png_decoder().__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "decode_image_png_u8"


@pytest.mark.slow
@pytest.mark.parametrize("filters", [(0, 1, 2, 3, 4), (PAETH,)], ids=["all filters", "Paeth"])
@pytest.mark.parametrize(("bit_depth", "colour_type"), KINDS)
def test_both_give_the_same_samples(
    decode: Decode,
    monkeypatch: pytest.MonkeyPatch,
    bit_depth: int,
    colour_type: int,
    filters: tuple[int, ...],
) -> None:
    # Small bands, so that rows have to be filtered over their borders.
    small_bands(monkeypatch, 4 * SIZE[0])
    calls = []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return decode(*arguments)

    for seed in range(5):
        content = filtered(bit_depth, colour_type, seed, filters=filters)
        use_png_decoder(monkeypatch, None)
        by_pillow = shrunk(content)
        use_png_decoder(monkeypatch, counted)
        assert shrunk(content) == by_pillow
    # Pixels of two bytes are none of kornia-rs's modes.
    assert bool(calls) is ((bit_depth, colour_type) not in {(16, 0), (8, 4)})


@pytest.mark.slow
def test_a_large_band_is_left_to_pillow(decode: Decode, monkeypatch: pytest.MonkeyPatch) -> None:
    content = filtered(8, 2, 1)
    by_pillow = shrunk(content)
    monkeypatch.setattr(unfilter, "_MOST_BYTES", 100)
    use_png_decoder(monkeypatch, lambda *_: pytest.fail("it is too large for this"))
    assert shrunk(content) == by_pillow


@pytest.mark.slow
def test_what_pillow_refuses_is_refused(decode: Decode, monkeypatch: pytest.MonkeyPatch) -> None:
    use_png_decoder(monkeypatch, decode)
    with pytest.raises(UndecodablePicture):
        make_thumbnail(filtered(8, 2, 1, filters=(5,)), SPEC, max_pixels=10**6)
