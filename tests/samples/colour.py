"""Colour arithmetic of the scorecard: sRGB, linear light, CIE XYZ and Lab, and the CIEDE2000 difference.

sRGB after IEC 61966-2-1, Lab after CIE 15, CIEDE2000 after Sharma, Wu and Dalal, "The CIEDE2000
Color-Difference Formula: Implementation Notes, Supplementary Test Data, and Mathematical Observations"
(2005).
"""

from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt

Triple = tuple[float, float, float]
Matrix = tuple[Triple, Triple, Triple]

D65: Triple = (0.95047, 1.0, 1.08883)
"""White of sRGB, CIE XYZ."""

SRGB_TO_XYZ: Matrix = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB to CIE XYZ under D65."""


def multiply(matrix: Matrix, vector: Triple) -> Triple:
    """Matrix times column vector."""
    x, y, z = (row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2] for row in matrix)
    return x, y, z


def product(left: Matrix, right: Matrix) -> Matrix:
    """Matrix times matrix."""
    x, y, z = (multiply(left, column) for column in zip(*right, strict=True))
    return (x[0], y[0], z[0]), (x[1], y[1], z[1]), (x[2], y[2], z[2])


def inverse(matrix: Matrix) -> Matrix:
    """The inverse of a regular matrix, by cofactors."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / determinant, (c * h - b * i) / determinant, (b * f - c * e) / determinant),
        ((f * g - d * i) / determinant, (a * i - c * g) / determinant, (c * d - a * f) / determinant),
        ((d * h - e * g) / determinant, (b * g - a * h) / determinant, (a * e - b * d) / determinant),
    )


def to_linear(value: float) -> float:
    """Decode one sRGB value of 0 to 1 to linear light."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def from_linear(value: float) -> float:
    """Encode linear light of 0 to 1 as an sRGB value."""
    return value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def srgb_to_xyz(colour: Triple) -> Triple:
    """CIE XYZ under D65 of an sRGB colour of 0 to 255."""
    red, green, blue = (to_linear(value / 255) for value in colour)
    return multiply(SRGB_TO_XYZ, (red, green, blue))


def xyz_to_lab(xyz: Triple, white: Triple) -> Triple:
    """CIE Lab of a colour, relative to a white."""

    def root(ratio: float) -> float:
        return ratio ** (1 / 3) if ratio > 216 / 24389 else (24389 / 27 * ratio + 16) / 116

    x, y, z = (root(value / reference) for value, reference in zip(xyz, white, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def srgb_to_lab(colour: Triple) -> Triple:
    """CIE Lab under D65 of an sRGB colour of 0 to 255."""
    return xyz_to_lab(srgb_to_xyz(colour), D65)


def difference(one: Triple, other: Triple) -> float:
    """CIEDE2000 between two sRGB colours of 0 to 255; 1 is about what an eye just notices."""
    return ciede2000(srgb_to_lab(one), srgb_to_lab(other))


def ciede2000(one: Triple, other: Triple) -> float:
    """CIEDE2000 between two CIE Lab colours, with the parametric factors at 1."""
    mean_chroma = (hypot(one[1], one[2]) + hypot(other[1], other[2])) / 2
    stretch = 1 + 0.5 * (1 - sqrt(mean_chroma**7 / (mean_chroma**7 + 25**7)))
    chroma_1, hue_1 = _polar(one[1] * stretch, one[2])
    chroma_2, hue_2 = _polar(other[1] * stretch, other[2])
    grey = chroma_1 * chroma_2 == 0

    turn = 0.0 if grey else (hue_2 - hue_1 + 180) % 360 - 180
    if not grey and hue_2 - hue_1 == 180:
        turn = 180.0
    lightness_step = other[0] - one[0]
    chroma_step = chroma_2 - chroma_1
    hue_step = 2 * sqrt(chroma_1 * chroma_2) * sin(radians(turn / 2))

    lightness = (one[0] + other[0]) / 2
    chroma = (chroma_1 + chroma_2) / 2
    hue = _mean_hue(hue_1, hue_2, grey=grey)
    weight = (
        1
        - 0.17 * cos(radians(hue - 30))
        + 0.24 * cos(radians(2 * hue))
        + 0.32 * cos(radians(3 * hue + 6))
        - 0.20 * cos(radians(4 * hue - 63))
    )
    lightness_scale = 1 + 0.015 * (lightness - 50) ** 2 / sqrt(20 + (lightness - 50) ** 2)
    chroma_scale = 1 + 0.045 * chroma
    hue_scale = 1 + 0.015 * chroma * weight
    rotation = -2 * sqrt(chroma**7 / (chroma**7 + 25**7)) * sin(radians(60 * exp(-(((hue - 275) / 25) ** 2))))
    in_lightness = lightness_step / lightness_scale
    in_chroma = chroma_step / chroma_scale
    in_hue = hue_step / hue_scale
    return sqrt(in_lightness**2 + in_chroma**2 + in_hue**2 + rotation * in_chroma * in_hue)


def _polar(a: float, b: float) -> tuple[float, float]:
    return hypot(a, b), degrees(atan2(b, a)) % 360


def _mean_hue(one: float, other: float, *, grey: bool) -> float:
    if grey:
        return one + other
    if abs(one - other) <= 180:
        return (one + other) / 2
    return (one + other + 360) / 2 if one + other < 360 else (one + other - 360) / 2
