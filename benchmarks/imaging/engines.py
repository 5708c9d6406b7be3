"""What is compared, called in the process: each engine turns a picture's bytes into a JPEG thumbnail's bytes.

Every one is used the way its documentation recommends for a thumbnail: upright, sRGB, on white, quality 85.
sharp runs under Node and lives in `sharp_worker.mjs`.
"""

import asyncio
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from math import ceil
from typing import Any

from PIL import Image, ImageOps

from chalicelib.spec import Fit, NamedSize, ThumbnailSpec

Engine = Callable[[bytes, ThumbnailSpec], bytes]

MAX_PIXELS = 100_000_000


def service() -> Engine:
    """This service's function."""
    from chalicelib.imaging import make_thumbnail  # noqa: PLC0415 - not there where thumbor's Pillow is

    return lambda content, spec: make_thumbnail(content, spec, max_pixels=MAX_PIXELS).content


SIZES = (
    NamedSize("small", ThumbnailSpec(200, 200)),
    NamedSize("card", ThumbnailSpec(400, 300)),
    NamedSize("large", ThumbnailSpec(1024, 1024, Fit.CONTAIN)),
)
"""What `together` and `apart` make beside the default thumbnail."""


def together() -> Engine:
    """This service's function, with further sizes of the same picture."""
    from chalicelib.imaging import make_thumbnail  # noqa: PLC0415 - not there where thumbor's Pillow is

    return lambda content, spec: make_thumbnail(content, spec, max_pixels=MAX_PIXELS, sizes=SIZES).content


def apart() -> Engine:
    """The same sizes, each decoded for itself."""
    one = service()

    def run(content: bytes, spec: ThumbnailSpec) -> bytes:
        for size in SIZES:
            one(content, size.spec)
        return one(content, spec)

    return run


def largest() -> Engine:
    """The largest of these sizes alone."""
    one = service()
    return lambda content, _: one(content, SIZES[-1].spec)


def unencoded() -> Engine:
    """This service's picture before it becomes a JPEG, as a PNG: for its similarity alone, never timed."""
    from chalicelib.imaging import headers, render  # noqa: PLC0415 - not there where thumbor's Pillow is

    def run(content: bytes, spec: ThumbnailSpec) -> bytes:
        source_format, header = headers.read(content)
        out = BytesIO()
        render.render(source_format, header, content, [spec]).images[0].save(out, "PNG")
        return out.getvalue()

    return run


def plain() -> Engine:
    """What most people write with Pillow: open, turn, fit, save."""
    _register_heif()

    def run(content: bytes, spec: ThumbnailSpec) -> bytes:
        with Image.open(BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        fit = ImageOps.fit if spec.fit is Fit.COVER else ImageOps.contain
        out = BytesIO()
        fit(upright, (spec.width, spec.height), Image.Resampling.LANCZOS).save(
            out, "JPEG", quality=spec.quality
        )
        return out.getvalue()

    return run


def pyvips() -> Engine:
    """The libvips library through its Python binding."""
    vips: Any = import_module("pyvips")
    vips.cache_set_max(0)

    def run(content: bytes, spec: ThumbnailSpec) -> bytes:
        image = vips.Image.thumbnail_buffer(
            content,
            spec.width,
            height=spec.height,
            size="down",
            crop="centre" if spec.fit is Fit.COVER else "none",
            output_profile="srgb",
        )
        if image.hasalpha():
            image = image.flatten(background=list(spec.background))
        return bytes(image.jpegsave_buffer(Q=spec.quality, keep="none"))

    return run


def thumbor() -> Engine:
    """The Pillow engine, transformer and filters of thumbor, as its HTTP handler drives them.

    The filters are those that a URL would carry for this service's thumbnails.
    """
    config: Any = import_module("thumbor.config").Config(RESPECT_ORIENTATION=True, ALLOW_ANIMATED_GIFS=False)
    contexts: Any = import_module("thumbor.context")
    filters: Any = import_module("thumbor.filters")
    transformer: Any = import_module("thumbor.transformer").Transformer
    importer: Any = import_module("thumbor.importer").Importer(config)
    importer.import_modules()

    async def transform(content: bytes, spec: ThumbnailSpec) -> bytes:
        context = contexts.Context(config=config, importer=importer)
        context.request = contexts.RequestParameters(
            width=spec.width,
            height=spec.height,
            fit_in=spec.fit is Fit.CONTAIN,
            filters="no_upscale():background_color(white)",
        )
        engine = context.request.engine = context.modules.engine
        runner = context.filters_factory.create_instances(context, context.request.filters)
        engine.load(content, None)
        await runner.apply_filters(filters.PHASE_AFTER_LOAD)
        await transformer(context).transform()
        await runner.apply_filters(filters.PHASE_POST_TRANSFORM)
        return bytes(engine.read(".jpg", spec.quality))

    return lambda content, spec: asyncio.run(transform(content, spec))


def floor() -> Engine:
    """The decoder alone, at the cheapest scale that still covers the box; the result is thrown away.

    JPEG: libjpeg-turbo at a fraction of eighths. WebP: libwebp scaling while it decodes. PNG: inflating
    alone. AVIF, HEIC and GIF have no cheaper scale than the whole.
    """
    from chalicelib.imaging import headers  # noqa: PLC0415 - not there where thumbor's Pillow is
    from chalicelib.imaging.decoders import libwebp  # noqa: PLC0415 - not there where thumbor's Pillow is

    pi_heif: Any = import_module("pi_heif")
    isal_zlib: Any = import_module("isal.isal_zlib")

    def run(content: bytes, spec: ThumbnailSpec) -> bytes:
        if content[4:8] == b"ftyp" and content[8:12] not in {b"avif", b"avis"}:
            _ = pi_heif.open_heif(content).data
        elif content[:4] == b"RIFF":
            _, header = headers.read(content)
            scale = max(spec.width / header.width, spec.height / header.height)
            least = (ceil(header.width * scale), ceil(header.height * scale))
            libwebp.decode(content, (header.width, header.height), least, alpha=False)
        elif content[:4] == b"\x89PNG":
            isal_zlib.decompress(_png_data(content))
        else:
            with Image.open(BytesIO(content)) as image:
                image.draft(None, (spec.width, spec.height))
                image.load()
        return b""

    return run


def _png_data(content: bytes) -> bytes:
    at, parts = 8, []
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] == b"IDAT":
            parts.append(content[at + 8 : at + 8 + size])
        at += 12 + size
    return b"".join(parts)


def _register_heif() -> None:
    import_module("pi_heif").register_heif_opener()


ENGINES: dict[str, Callable[[], Engine]] = {
    "service": service,
    "together": together,
    "apart": apart,
    "largest": largest,
    "unencoded": unencoded,
    "plain": plain,
    "pyvips": pyvips,
    "thumbor": thumbor,
    "floor": floor,
}
"""By the name that `benchmarks.imaging.worker` is started with."""
