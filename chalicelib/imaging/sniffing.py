"""Which image format is this, by its first bytes: the allowlist of the service."""

from chalicelib.errors import UnsupportedFormat

ACCEPTED = "JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF or HEIC"
UNKNOWN = "unknown"
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF")
"""Every name that `sniff` gives."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
)
# ISO 23008-12 (HEIF) and AV1 Image File Format: brands of files whose pictures are AV1 or HEVC.
_AV1 = {b"avif", b"avis"}
_HEVC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
# Brands that say only that it is a picture or a sequence: the header tells what codes it.
_ANY = {b"mif1", b"mif2", b"msf1"}
_BRANDS_END = 256  # bytes; a real ftyp box lists a dozen brands


def format_of(content: bytes) -> str:
    """Name the image format as `sniff` does; `UNKNOWN` where that raises."""
    try:
        return sniff(content)
    except UnsupportedFormat:
        return UNKNOWN


def sniff(content: bytes) -> str:
    """Name the image format, as Pillow spells it ("HEIF" is HEIC and its kin).

    Raises:
        UnsupportedFormat: the bytes start like none of the accepted formats.

    """
    for signature, name in _SIGNATURES:
        if content.startswith(signature):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp":
        end = min(int.from_bytes(content[:4], "big"), _BRANDS_END)
        major, *others = (content[start : start + 4] for start in (8, *range(16, end - 3, 4)))
        # The major brand decides: an AVIF or HEIC file may list the other as compatible.
        for brands in ({major}, set(others)):
            if brands & _AV1:
                return "AVIF"
            if brands & _HEVC:
                return "HEIF"
        if {major, *others} & _ANY:
            return "HEIF"
    raise UnsupportedFormat(f"This is not an image that can be used; send {ACCEPTED}.")
