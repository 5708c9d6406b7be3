"""An issuer of tokens as OpenID Connect has it: description, sign-in without questions, tokens.

It checks what a real one does: the client, where it leads back to, and the proof of the code (RFC 7636).
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlencode, urlsplit


class Issuer:
    """Listens on a free port; a context manager. It gives `token` to the client `client_id`."""

    def __init__(self, token: str, client_id: str) -> None:
        self.asked: list[dict[str, str]] = []
        """What sign-ins asked for."""
        self.refuses = False
        """Whether people say no."""
        codes: dict[str, dict[str, str]] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                if address.path == "/.well-known/openid-configuration":
                    self._answer(
                        200,
                        {
                            "issuer": issuer.url,
                            "authorization_endpoint": f"{issuer.url}/authorize",
                            "token_endpoint": f"{issuer.url}/token",
                        },
                    )
                    return
                asked = {name: values[0] for name, values in parse_qs(address.query).items()}
                issuer.asked.append(asked)
                code = f"code-{len(codes)}"
                codes[code] = asked
                said = {"error": "access_denied"} if issuer.refuses else {"code": code, "iss": issuer.url}
                self.send_response(302)
                self.send_header(
                    "Location", f"{asked['redirect_uri']}?{urlencode(said | {'state': asked['state']})}"
                )
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                given = {name: values[0] for name, values in parse_qs(body).items()}
                asked = codes.pop(given["code"], {})
                digest = hashlib.sha256(given["code_verifier"].encode()).digest()
                good = (
                    given["grant_type"] == "authorization_code"
                    and given["client_id"] == asked.get("client_id") == client_id
                    and given["redirect_uri"] == asked["redirect_uri"]
                    and asked["code_challenge_method"] == "S256"
                    and base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
                )
                self._answer(
                    200 if good else 400, {"access_token": token} if good else {"error": "invalid_grant"}
                )

            def _answer(self, status: int, content: dict[str, str]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
