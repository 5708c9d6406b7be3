"""Colours that are told by numbers: CICP of PNG, AVIF and HEIC, PNG's gAMA and cHRM."""

import struct
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from math import exp

import pytest
from PIL import Image, ImageCms

from chalicelib.imaging import spaces
from chalicelib.imaging.colour import to_srgb
from chalicelib.imaging.profiles import hdr_space, of_space
from chalicelib.imaging.spaces import Space
from chalicelib.spec import ThumbnailSpec
from tests.pictures import chunk, encode, png
from tests.samples import containers, pictures, profiles
from tests.samples.colour import SRGB_TO_XYZ, Triple, from_linear, inverse, multiply, product, to_linear
from tests.test_imaging_formats import assert_all, at, decoded, near, swapped_profile

P3, BT2020, BT709, BT601 = 12, 9, 1, 6
SRGB, LINEAR, PQ, HLG, GAMMA_22, GAMMA_28 = 13, 8, 16, 18, 4, 5
WHITE = (255, 255, 255)
SAMPLE = (200, 60, 90)


def stored(colour: Triple, primaries: int, transfer: int) -> Triple:
    """An sRGB colour of 0 to 255 in another space, 0 to 1; PQ and HLG have a graphic's white as white."""
    space = spaces.of_cicp(primaries, transfer)
    assert space is not None
    light = tuple(to_linear(value / 255) for value in colour)
    matrix = product(inverse(profiles.rgb_to_xyz(space.primaries, space.white)), SRGB_TO_XYZ)
    mixed = multiply(matrix, (light[0], light[1], light[2]))
    red, green, blue = (CURVES[transfer](max(0, value)) for value in mixed)
    return red, green, blue


def pq(light: float) -> float:
    power = (light * 203 / 10000) ** (1305 / 8192)
    return float(((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def hlg(light: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        scene = (
            middle**2 / 3 if middle <= 0.5 else (exp((middle - 0.55991073) / 0.17883277) + 0.28466892) / 12
        )
        low, high = (middle, high) if scene < light * 0.26496 else (low, middle)
    return low


CURVES: dict[int, Callable[[float], float]] = {
    SRGB: from_linear,
    LINEAR: lambda light: light,
    PQ: pq,
    HLG: hlg,
    GAMMA_22: lambda light: light ** (1 / 2.2),
    GAMMA_28: lambda light: light ** (1 / 2.8),
}


def png_of(colour: Triple, bits: int, before: bytes, *, narrow: bool = False, **options: bool) -> bytes:
    most = (1 << bits) - 1
    if narrow:
        colour = tuple((16 + 219 * value) * (1 << bits - 8) / most for value in colour)  # type: ignore[assignment]
    samples = [round(value * most) for value in colour]
    return png((24, 16), bits, 2, lambda x, y: samples, before_data=before, **options)


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, matrix, full)))


def gama(value: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", value))


def chrm(primaries: spaces.Primaries, white: spaces.Chromaticity = spaces.D65) -> bytes:
    return chunk(
        b"cHRM", struct.pack(">8I", *(round(value * 100_000) for xy in (white, *primaries) for value in xy))
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("transfer", CURVES)
@pytest.mark.parametrize("primaries", [BT709, P3, BT2020])
def test_png_by_cicp(primaries: int, transfer: int, narrow: bool, bits: int, interlaced: bool) -> None:
    before = cicp(primaries, transfer, 0, not narrow)
    content = png_of(stored(SAMPLE, primaries, transfer), bits, before, narrow=narrow, interlaced=interlaced)
    assert_all(decoded(content, ThumbnailSpec(20, 10)), SAMPLE, 6)


@pytest.mark.parametrize("transfer", [SRGB, PQ, HLG, GAMMA_22])
@pytest.mark.parametrize("primaries", [BT709, P3, BT2020])
@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_heif_by_cicp(kind: str, primaries: int, transfer: int) -> None:
    colour = tuple(round(255 * value) for value in stored(SAMPLE, primaries, transfer))
    image = Image.new("RGB", (240, 160), (colour[0], colour[1], colour[2]))
    tile = containers.coded(pictures.encode(image, kind))
    content = containers.heif([tile], image.size, colours=[containers.nclx(primaries, transfer)])
    assert_all(decoded(content), SAMPLE, 8)


def through(matrix: tuple[float, float, float], colour: Triple) -> Triple:
    """Luma, and the differences of blue and red to it, by luma's weights of red, green and blue."""
    luma = sum(weight * value for weight, value in zip(matrix, colour, strict=True))
    return luma, (colour[2] - luma) / (2 - 2 * matrix[2]), (colour[0] - luma) / (2 - 2 * matrix[0])


def back(matrix: tuple[float, float, float], differences: Triple) -> Triple:
    luma, blue_difference, red_difference = differences
    red = luma + red_difference * (2 - 2 * matrix[0])
    blue = luma + blue_difference * (2 - 2 * matrix[2])
    return red, (luma - matrix[0] * red - matrix[2] * blue) / matrix[1], blue


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("transfer", [SRGB, PQ, HLG])
@pytest.mark.parametrize("sample", [SAMPLE, (30, 40, 220), (250, 250, 240), (20, 20, 25)])
def test_avif_in_bt2020_of_narrow_range(
    sample: tuple[int, int, int], transfer: int, full: bool, alpha: bool
) -> None:
    """Pillow writes BT.601's luma and chroma; those of BT.2020 are BT.601's of another colour."""
    meant = stored(sample, BT2020, transfer)
    other = back((0.299, 0.587, 0.114), through((0.2627, 0.678, 0.0593), meant))
    assert min(other) >= 0
    assert max(other) <= 1
    colour = tuple(round(255 * value) for value in other)
    image = Image.new("RGBA" if alpha else "RGB", (240, 160), (*colour, 255) if alpha else colour)
    content = encode(image, "AVIF", quality=100, subsampling="4:4:4", range="full" if full else "limited")
    at_nclx = content.index(b"nclx") + 4
    content = content[:at_nclx] + struct.pack(">3H", BT2020, transfer, 9) + content[at_nclx + 6 :]
    assert_all(decoded(content), sample, 7)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_a_profile_goes_before_the_numbers_of_heif(kind: str, order: int) -> None:
    image = Image.new("RGB", (240, 160), (30, 180, 60))
    colours = [containers.nclx(BT2020, PQ), b"prof" + swapped_profile()][::order]
    tile = containers.coded(pictures.encode(image, kind))
    assert_all(decoded(containers.heif([tile], image.size, colours=colours)), (180, 30, 60), 8)


@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_numbers_count_where_a_profile_is_broken(kind: str) -> None:
    colour = [round(255 * value) for value in stored(SAMPLE, P3, SRGB)]
    image = Image.new("RGB", (240, 160), (colour[0], colour[1], colour[2]))
    tile = containers.coded(pictures.encode(image, kind))
    content = containers.heif([tile], image.size, colours=[b"prof" + bytes(200), containers.nclx(P3, SRGB)])
    assert_all(decoded(content), SAMPLE, 8)


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


SRGB_CHUNK = chunk(b"sRGB", b"\0")
LINEAR_GAMA = gama(100_000)
SWAPPED, PLAIN = (SAMPLE[1], SAMPLE[0], SAMPLE[2]), SAMPLE
LIGHTER = tuple(round(255 * from_linear(value / 255)) for value in SAMPLE)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([SRGB_CHUNK, LINEAR_GAMA], PLAIN),
        ([LINEAR_GAMA, SRGB_CHUNK], PLAIN),
        ([LINEAR_GAMA, iccp(swapped_profile())], SWAPPED),
        ([SRGB_CHUNK, iccp(swapped_profile())], SWAPPED),
        ([iccp(swapped_profile()), cicp(BT709, SRGB), LINEAR_GAMA], PLAIN),
        ([iccp(swapped_profile()), cicp(BT709, LINEAR)], LIGHTER),
        ([cicp(2, 2), LINEAR_GAMA], LIGHTER),
        ([cicp(BT2020, PQ, matrix=9), LINEAR_GAMA], LIGHTER),
        ([cicp(200, SRGB), SRGB_CHUNK], PLAIN),
        ([cicp(BT2020, 77), LINEAR_GAMA], LIGHTER),
        ([chunk(b"cICP", b"\x09\x10\0"), LINEAR_GAMA], LIGHTER),
        ([iccp(b"broken"), LINEAR_GAMA], LIGHTER),
        ([LINEAR_GAMA, gama(45455)], LIGHTER),
        ([gama(45455), LINEAR_GAMA], PLAIN),
        ([gama(0)], PLAIN),
        ([gama(1)], PLAIN),
        ([gama(0xFFFFFFFF)], PLAIN),
        ([chunk(b"gAMA", b"\0\1")], PLAIN),
        ([chrm(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)))], PLAIN),
        ([gama(45455), chrm(((0.1, 0.1), (0.1, 0.1), (0.1, 0.1)))], PLAIN),
        ([gama(45455), chrm(((0.64, 0.33), (0.3, 0.0), (0.15, 0.06)))], PLAIN),
        ([gama(45455), chrm(((0.64, 0.33), (0.3, 0.6), (0.15, 0.06)), (0.9, 0.05))], PLAIN),
    ],
)
def test_which_of_pngs_chunks_counts(before: Sequence[bytes], expected: tuple[int, int, int]) -> None:
    content = png_of((SAMPLE[0] / 255, SAMPLE[1] / 255, SAMPLE[2] / 255), 8, b"".join(before))
    assert_all(decoded(content, ThumbnailSpec(20, 10)), expected, 4)


def test_colours_behind_the_image_data_count_for_nothing() -> None:
    content = png_of((SAMPLE[0] / 255, SAMPLE[1] / 255, SAMPLE[2] / 255), 8, b"")
    end = content.index(b"IEND") - 4
    content = content[:end] + LINEAR_GAMA + cicp(BT2020, PQ) + content[end:]
    assert_all(decoded(content, ThumbnailSpec(20, 10)), PLAIN, 4)


GREYS = [0, 5, 20, 128, 200, 255]
SHALLOW = [(8, 0), (8, 4), (8, 2), (8, 6), (16, 0), (16, 4), (16, 2), (16, 6)]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("bits", "colour_type"), SHALLOW)
@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.6])
def test_gama_of_every_kind_of_png(gamma: float, bits: int, colour_type: int, interlaced: bool) -> None:
    """Greys from dark to white, half of them transparent where there is alpha."""
    most = (1 << bits) - 1
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    alpha = channels in {2, 4}

    def sample(x: int, y: int) -> list[int]:
        grey = round(most * to_linear(GREYS[x // 4] / 255) ** gamma)
        return [grey] * (channels - alpha) + [most if y < 12 else 0] * alpha

    content = png(
        (24, 24), bits, colour_type, sample, before_data=gama(round(gamma * 100_000)), interlaced=interlaced
    )
    found = decoded(content, ThumbnailSpec(24, 24))
    # 8 bits of light have few levels for the darks.
    tolerance = 8 if bits == 8 or (interlaced and colour_type == 4) else 4
    for index, grey in enumerate(GREYS):
        pixel = at(found, (index + 0.5) / 6, 0.2)
        assert near(pixel, (grey,) * 3, tolerance), (index, pixel)
        if alpha:
            assert near(at(found, (index + 0.5) / 6, 0.8), WHITE)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_gama_of_palettes(bits: int, transparent: bool) -> None:
    linear = [round(255 * to_linear(value / 255)) for value in (*SAMPLE, *WHITE)]
    before = LINEAR_GAMA + chunk(b"PLTE", bytes(linear)) + (chunk(b"tRNS", b"\xff\0") if transparent else b"")
    content = png((24, 16), bits, 3, lambda x, y: [x // 12], before_data=before)
    found = decoded(content, ThumbnailSpec(24, 16, background=(10, 20, 30)))
    assert near(at(found, 0.2, 0.5), SAMPLE, 4)
    assert near(at(found, 0.8, 0.5), (10, 20, 30) if transparent else WHITE, 4)


def test_the_transparent_colour_is_compared_before_gama() -> None:
    key = chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    rows = ([0x1234, 0x5678, 0x9ABC], [0x1234, 0x5678, 0x9ABD])
    content = png((24, 16), 16, 2, lambda x, y: rows[x // 12], before_data=LINEAR_GAMA + key)
    found = decoded(content, ThumbnailSpec(24, 16))
    assert near(at(found, 0.2, 0.5), WHITE)
    expected = [round(255 * from_linear(value / 65535)) for value in rows[1]]
    assert near(at(found, 0.8, 0.5), tuple(expected), 4)


@pytest.mark.parametrize("gamma", [100_000, 55_556, 45_455])
@pytest.mark.parametrize("code", [P3, BT2020, 5, BT601])
def test_chromaticities_of_png(code: int, gamma: int) -> None:
    space = spaces.of_cicp(code, SRGB)
    assert space is not None
    matrix = product(inverse(profiles.rgb_to_xyz(space.primaries)), SRGB_TO_XYZ)
    red, green, blue = multiply(matrix, tuple(to_linear(value / 255) for value in SAMPLE))  # type: ignore[arg-type]
    curve = from_linear if gamma == 45_455 else lambda light: light ** (gamma / 100_000)
    content = png_of((curve(red), curve(green), curve(blue)), 16, gama(gamma) + chrm(space.primaries))
    assert_all(decoded(content, ThumbnailSpec(20, 10)), SAMPLE, 5)


def test_grey_has_the_curve_of_its_numbers() -> None:
    grey = round(65535 * pq(to_linear(120 / 255)))
    content = png((24, 16), 16, 0, lambda x, y: [grey], before_data=cicp(BT2020, PQ))
    assert_all(decoded(content, ThumbnailSpec(20, 10)), (120, 120, 120), 4)


def with_cicp(*numbers: int, tag: bytes = b"cicp") -> bytes:
    """An sRGB profile whose description gives way to a further tag."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entry = profile.index(b"desc", 128)
    profile[entry : entry + 12] = tag + struct.pack(">2I", len(profile), 12)
    return bytes(profile) + b"cicp" + bytes(4) + bytes(numbers)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_a_profile_that_names_pq_or_hlg(transfer: int) -> None:
    content = png_of(stored(SAMPLE, BT2020, transfer), 16, iccp(with_cicp(BT2020, transfer, 0, 1)))
    assert_all(decoded(content, ThumbnailSpec(20, 10)), SAMPLE, 4)


@pytest.mark.parametrize(
    "profile",
    [
        with_cicp(BT2020, SRGB, 0, 1),
        with_cicp(BT2020, PQ),
        with_cicp(99, PQ, 0, 1),
        with_cicp(BT2020, PQ, 0, 1, tag=b"cipc"),
    ],
)
def test_a_profile_that_names_nothing_of_use_counts_itself(profile: bytes) -> None:
    assert hdr_space(profile) is None
    assert hdr_space(profile[:140]) is None
    content = png_of((SAMPLE[0] / 255, SAMPLE[1] / 255, SAMPLE[2] / 255), 8, iccp(profile))
    assert_all(decoded(content, ThumbnailSpec(20, 10)), SAMPLE, 4)


def test_no_profile_stands_for_hdr() -> None:
    space = spaces.of_cicp(BT2020, PQ)
    assert space is not None
    with pytest.raises(ValueError, match="tone mapping"):
        of_space(space)


def shown(image: Image.Image, profile: bytes | None, space: Space | None = None) -> Image.Image:
    colours, alpha = to_srgb(image, profile, space)
    ground = Image.new("RGB", image.size, WHITE)
    ground.paste(colours, mask=alpha)
    return ground


def test_profiles_of_spaces_agree_with_those_of_the_scorecard() -> None:
    """Made from the same numbers by other code."""
    image = Image.linear_gradient("L").resize((64, 64))
    image = Image.merge("RGB", (image, image.rotate(90), image.rotate(180)))
    for space, curve in (
        (spaces.ADOBE_RGB, profiles.gamma_curve(spaces.ADOBE_RGB.transfer)),  # type: ignore[arg-type]
        (spaces.of_cicp(P3, SRGB), profiles.tone_curve(to_linear)),
        (spaces.of_cicp(BT2020, LINEAR), profiles.gamma_curve(1)),
    ):
        assert space is not None
        made = shown(image, None, space)
        meant = shown(image, profiles.rgb_profile("meant", space.primaries, curve))
        differences = [abs(one - other) for one, other in zip(made.tobytes(), meant.tobytes(), strict=True)]
        assert max(differences) <= 2


@pytest.mark.parametrize("number", range(256))
def test_every_code_point_is_a_space_or_none(number: int) -> None:
    for primaries, transfer in ((number, SRGB), (BT709, number)):
        space = spaces.of_cicp(primaries, transfer)
        if space is not None and space.transfer not in {spaces.PQ, spaces.HLG}:
            ImageCms.ImageCmsProfile(BytesIO(of_space(space)))
