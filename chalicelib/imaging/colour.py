"""From whatever colours a picture has to sRGB, at thumbnail size: there it costs little."""

from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from threading import Lock

from PIL import Image, ImageCms

from chalicelib.imaging import profiles, tone_mapping
from chalicelib.imaging.spaces import BT709, D65, HLG, PQ, SRGB, Levels, Space

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
"""By Pillow's mode: the colour space that a fitting profile names in its header (ICC.1:2022, 7.2.6)."""
_16_BIT = 257
"""65535 / 255"""
_FULL_RANGE = [min(255, max(0, round((level - 16) * 255 / 219))) for level in range(256)]
"""Levels of narrow range, from 16 to 235, to those of 0 to 255 (ITU-T H.273, 8.3)."""
_LUMA, _CHROMA = 255 / 219, 255 / 224
_MOST_KEPT = 16
_transforms: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform] = OrderedDict()
"""By a profile's SHA-256 and Pillow's mode, the one that was used last at the end; under `_lock`."""
_lock = Lock()
_BT2020_LUMA = (0.2627, 0.6780, 0.0593)
_FULL_RANGE_BT2020 = tuple(
    number
    for row in range(3)
    for number in (
        *((_LUMA - _CHROMA) * weight + _CHROMA * (row == index) for index, weight in enumerate(_BT2020_LUMA)),
        -16 * _LUMA,
    )
)
"""What RGB lacks whose luma and chroma were taken to be of full range: luma is stretched by 255/219 from 16
on, and each colour's difference to it by 255/224. The weights are those of ITU-R BT.2020-2, table 4."""


def to_srgb(
    image: Image.Image, profile: bytes | None, space: Space | None = None
) -> tuple[Image.Image, Image.Image | None]:
    """Convert to sRGB.

    Args:
        image: of a mode that `shrink` returns.
        profile: the embedded ICC profile; ignored when it is broken or of another colour space.
        space: what RGB and grey samples mean where no profile can be used; None is sRGB.

    Returns:
        An RGB picture, and its alpha of mode L; None if all of it is opaque.

    """
    alpha = None
    if image.mode in {"RGBa", "La"}:
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
        alpha = image.getchannel("A")
        image = image.convert({"RGBA": "RGB", "LA": "L"}[image.mode])
    elif image.mode in {"I", "F"}:
        image = _to_8_bits(image)
    if profile and (told := profiles.hdr_space(profile)):
        # The profile names the colours; where black and white are is the business of the file's levels.
        profile, space = None, replace(told, levels=space.levels) if space else told
    return _by_profile(image, profile) or _by_space(image, space, alpha) or _plain(image), alpha


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey samples to 8 bits: 16-bit ones by 1/257, floating ones from their least to their most."""
    if image.mode == "I":
        return image.point(lambda sample: sample * (1 / _16_BIT) + 0.5).convert("L")
    low, high = image.getextrema()
    if not isinstance(low, float) or not isinstance(high, float) or not low < high:
        return image.convert("L")
    scale = 255 / (high - low)
    return image.point(lambda sample: sample * scale + (0.5 - low * scale)).convert("L")


def _by_profile(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    for mode in dict.fromkeys((image.mode, "RGB")):  # a grey picture may come with an RGB profile
        transform = _transform(profile, mode) if profile else None
        if transform is not None and image.mode in {mode, "L"}:
            return transform.apply(image if image.mode == mode else image.convert(mode))
    return None


def _by_space(image: Image.Image, space: Space | None, alpha: Image.Image | None) -> Image.Image | None:
    if space is None or image.mode not in {"RGB", "L"}:
        return None
    image = image.convert("RGB")
    if space.levels is Levels.NARROW:
        image = image.point(_FULL_RANGE * 3)
    elif space.levels is Levels.NARROW_BT2020:
        image = image.convert("RGB", _FULL_RANGE_BT2020)
    if space.transfer in {PQ, HLG}:
        return tone_mapping.to_srgb(image, space, alpha)
    if space.transfer == SRGB and (space.primaries, space.white) == (BT709, D65):
        return image
    return _by_profile(image, profiles.of_space(replace(space, levels=Levels.FULL)))


def _plain(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        return _lab_transform().apply(image)
    return image.convert("RGB")


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what converts from a profile to sRGB; None when it is broken or of another colour space.

    Kept, as building costs 2 ms (RGB) to 23 ms (CMYK) and cameras share a few profiles: by digest, as the
    profiles themselves may take megabytes. Broken ones are not kept, and so drive out none of the others.
    """
    key = sha256(profile).digest(), mode
    with _lock:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key]
    built = _built(profile, mode)
    if built is not None:
        with _lock:
            _transforms[key] = built
            while len(_transforms) > _MOST_KEPT:
                _transforms.popitem(last=False)
    return built


def _built(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profiles.for_conversion(profile)))
        if source.profile.xcolor_space != _SPACES.get(mode):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
