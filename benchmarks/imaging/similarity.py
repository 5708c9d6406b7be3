"""SSIM to a full-resolution reference, and that reference.

SSIM after Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
Similarity" (2004): luma, an 11 x 11 Gaussian window of 1.5 pixels, K1 = 0.01, K2 = 0.03.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from chalicelib.spec import ThumbnailSpec

pillow_heif.register_heif_opener()

Plane = NDArray[np.float64]

_RADIUS, _SIGMA = 5, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def reference(path: Path, spec: ThumbnailSpec) -> Image.Image:
    """The thumbnail without shortcuts: decoded whole, one LANCZOS resize of the exact crop, then sRGB."""
    with Image.open(path) as image:
        profile = image.info.get("icc_profile")
        whole = image.convert("RGBA") if image.mode in {"P", "PA", "LA"} else image
        whole.load()
    small = ImageOps.fit(whole, (spec.width, spec.height), Image.Resampling.LANCZOS)
    if profile:
        converted = ImageCms.profileToProfile(
            small,
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
        assert converted is not None  # noqa: S101 - only None when converting in place
        small = converted
    if small.mode == "RGBA":
        ground = Image.new("RGBA", small.size, (*spec.background, 255))
        small = Image.alpha_composite(ground, small)
    return small.convert("RGB")


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Structural similarity of two pictures of one size, at least 11 pixels to a side; 1 is the same."""
    x, y = (np.asarray(image.convert("L"), dtype=np.float64) for image in (one, other))
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x = _blurred(x * x) - mean_x**2
    variance_y = _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    denominator = (mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)
    return float(np.mean(numerator / denominator))


def _blurred(plane: Plane) -> Plane:
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    window /= window.sum()
    for axis in (0, 1):
        view = np.lib.stride_tricks.sliding_window_view(plane, window.size, axis)
        plane = view @ window
    return plane
