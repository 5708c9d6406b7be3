"""The page at `/`: one HTML file, and the headers that let it do what it is for and nothing else.

It asks nobody but this service and S3, and runs no script and shows no style but its own.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, slots=True)
class Page:
    """What is sent: `html`, and the `headers` that go with it."""

    html: str
    headers: dict[str, str]


def make_page(*, max_upload: int, max_original: int, ends_by_download: bool, form_url: str) -> Page:
    """Read the page, and tell it of the deployment.

    Args:
        max_upload: the largest picture in a request, in bytes; a larger one goes by a ticket.
        max_original: the largest picture, in bytes.
        ends_by_download: whether a download starts a picture's end, so that it has to be asked for.
        form_url: where tickets send pictures.

    """
    # What indents and what explains is for those who read the file: a tenth less is sent.
    html = re.sub(r"^ *(?://.*\n)?", "", _FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name, value in {
        "MAX_UPLOAD_BYTES": str(max_upload),
        "MAX_ORIGINAL_BYTES": str(max_original),
        "ENDS_BY_DOWNLOAD": "yes" if ends_by_download else "",
    }.items():
        html = html.replace(f"@{name}@", value)
    policy = {
        "default-src": "'none'",
        "script-src": _hashes("script", html),
        "style-src": _hashes("style", html),
        # Of S3, the one URL that tickets name: neither another bucket nor another server.
        "connect-src": f"'self' {form_url}",
        # Thumbnails are fetched, with the token where there are owners, and shown from memory.
        "img-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return Page(
        html,
        {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
            "Referrer-Policy": "no-referrer",
            # A new deployment's page may say other limits: browsers ask each time whether theirs still holds.
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"',
        },
    )


def _hashes(element: str, html: str) -> str:
    """Sources (CSP Level 3, hash-source) of all elements of that name in the page."""
    contents = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(content.encode()).digest()) for content in contents]
    return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
