"""The page at `/`: one HTML document with its style and script inside, and the headers that go with it.

It sends requests to this service, to S3 and, where people sign in, to the issuer of their tokens; it runs no
script and shows no style but its own.
"""

import base64
import hashlib
import html
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chalicelib.settings import Auth

_HERE = Path(__file__).parent
_STYLE = "page.css"
# One script, written in parts; the last one starts it.
_SCRIPTS = (
    "page_requests.js",
    "page_access.js",
    "page_placeholder.js",
    "page_cards.js",
    "page_uploads.js",
    "page_list.js",
)
_COGNITO = re.compile(r"cognito-idp\.(?P<region>[a-z0-9-]+)\.amazonaws\.com")


@dataclass(frozen=True, slots=True)
class Page:
    """What is sent: `html`, and the `headers` that go with it."""

    html: str
    headers: dict[str, str]


def make_page(  # noqa: PLR0913 - all that a deployment's page knows
    *,
    max_upload: int,
    max_original: int,
    expires_after_download: bool,
    form_url: str,
    pictures_url: str,
    auth: Auth | None = None,
) -> Page:
    """Put the page together for a deployment.

    Args:
        max_upload: the largest picture in a request, in bytes; a larger one goes by a presigned upload.
        max_original: the largest picture, in bytes.
        expires_after_download: whether pictures expire after a download, so that it has to be asked for.
        form_url: where presigned uploads send pictures.
        pictures_url: what the URLs of thumbnails begin with, up to a slash.
        auth: whose tokens are asked for; with a client id, people can sign in at the issuer.

    """
    document = _read("page.html")
    signs_in = auth if auth is not None and auth.client_id else None
    # Which API the token is for, where an issuer gives tokens for several; only one can be asked for.
    audiences = sorted(signs_in.audiences - {signs_in.client_id}) if signs_in else []
    for name, value in {
        "MAX_UPLOAD_BYTES": str(max_upload),
        "MAX_ORIGINAL_BYTES": str(max_original),
        "EXPIRES_AFTER_DOWNLOAD": "yes" if expires_after_download else "",
        "FORM_URL": form_url,
        "ISSUER": signs_in.issuer if signs_in else "",
        "CLIENT_ID": (signs_in.client_id or "") if signs_in else "",
        "AUDIENCE": audiences[0] if len(audiences) == 1 else "",
    }.items():
        document = document.replace(f"@{name}@", html.escape(value))
    style, script = _read(_STYLE), "".join(map(_read, _SCRIPTS))
    document = document.replace("@STYLE@", style).replace("@SCRIPT@", script)
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        # Of S3, the one URL that presigned uploads name: neither another bucket nor another server.
        "connect-src": " ".join(
            ["'self'", form_url, *(_issuer_sources(signs_in.issuer) if signs_in else [])]
        ),
        # Thumbnails come from S3 by presigned URLs; what the API sends is shown from memory.
        "img-src": "blob:" if expires_after_download else f"blob: {pictures_url}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return Page(
        document,
        {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
            "Referrer-Policy": "no-referrer",
            # A new deployment's page may say other limits: browsers ask each time whether theirs still holds.
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(document.encode()).hexdigest()[:32]}"',
        },
    )


def _read(name: str) -> str:
    """A part of the page without indentation and lines of comment: a tenth less is sent."""
    text = (_HERE / name).read_text(encoding="utf-8")
    return re.sub(r"^ *(?://.*\n|/\*.*\*/\n)?", "", text, flags=re.MULTILINE)


def _issuer_sources(issuer: str) -> list[str]:
    """Where the page may ask for the issuer's description and for tokens, as sources of a policy.

    Cognito describes a user pool at one host and gives its tokens at a domain of the pool.
    """
    address = urlsplit(issuer)
    sources = [f"{address.scheme}://{address.netloc}"]
    if found := _COGNITO.fullmatch(address.netloc):
        sources.append(f"https://*.auth.{found['region']}.amazoncognito.com")
    return sources


def _hash(content: str) -> str:
    """The source (CSP Level 3, hash-source) that allows the inline script or style with this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
