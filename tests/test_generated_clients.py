"""Clients that generators make of the served description compile strictly, and do all that the API does."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import picture
from tests.service import Service

pytestmark = pytest.mark.slow

NPM_PACKAGES = (
    "openapi-typescript@7.13.0",
    "openapi-fetch@0.17.0",
    "typescript@5.9.3",
    "@types/node@24.10.1",
)
LIFECYCLE = """
import createClient from "openapi-fetch";
import { readFileSync } from "node:fs";
import type { paths } from "./schema";

const [base, path] = process.argv.slice(2) as [string, string];
const api = createClient<paths>({ baseUrl: base });
const params = (record_id: string) => ({ params: { path: { record_id } } });

function check(holds: unknown, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

async function thumbnail(id: string): Promise<Blob> {
  for (let tries = 0; tries < 100; tries++) {
    const { data, response } = await api.GET("/api/v1/thumbnail/{record_id}/download", {
      ...params(id),
      parseAs: "blob",
    });
    // A Blob by its type, too: this does not compile where the description has it as text.
    const blob: Blob | undefined = data as Blob | undefined;
    if (response.ok && blob) return blob;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("no thumbnail");
}

async function main(): Promise<void> {
  const file = new File([readFileSync(path)], "photo.jpg");
  const sent = await api.POST("/api/v1/thumbnail", {
    body: { image: "" },
    bodySerializer: () => {
      const form = new FormData();
      form.append("image", file, file.name);
      return form;
    },
  });
  check(sent.data, JSON.stringify(sent.error));
  check((await thumbnail(sent.data.id)).size > 100, "the thumbnail is empty");
  const presigned = await api.POST("/api/v1/thumbnail/upload", { body: { filename: "large.jpg" } });
  check(presigned.data, JSON.stringify(presigned.error));
  const form = new FormData();
  for (const [name, value] of Object.entries(presigned.data.fields)) form.append(name, value);
  form.append("file", file);
  check((await fetch(presigned.data.url, { method: "POST", body: form })).ok, "the store refused");
  check((await thumbnail(presigned.data.id)).size > 100, "the thumbnail is empty");
  const listed = await api.GET("/api/v1/thumbnail", { params: { query: { limit: 10 } } });
  check(listed.data?.length === 2, "two records");
  for (const id of [sent.data.id, presigned.data.id]) {
    const removed = await api.DELETE("/api/v1/thumbnail/{record_id}", params(id));
    check(removed.data?.ready, "it was ready");
  }
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
"""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


@pytest.fixture(scope="module")
def description(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("description") / "openapi.json"
    path.write_bytes(requests.get(f"{service.url}/api/v1/openapi.json", timeout=60).content)
    return path


def run(command: list[str], folder: Path) -> str:
    """Run a tool, and return what it says; its last lines tell what went wrong."""
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_python_client(
    service: Service, description: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.json"
    # This generator knows one type of bytes.
    overrides = {"image/jpeg": "application/octet-stream"}
    config.write_text(json.dumps({"content_type_overrides": overrides}))
    made = ["openapi-python-client", "generate", "--meta", "none", "--fail-on-warning"]
    run(
        [*made, "--path", str(description), "--config", str(config), "--output-path", "made_client"], tmp_path
    )
    # Of the description's content nothing is left out; client.py is the generator's own and the same for all.
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\n[mypy-made_client.client]\nignore_errors = True\n"
    )
    run([sys.executable, "-m", "mypy", "made_client"], tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def module(name: str) -> Any:
        return importlib.import_module(f"made_client.{name}")

    def call(operation: str, **kwargs: Any) -> Any:
        return module(f"api.default.{operation}").sync_detailed(client=client, **kwargs)

    def thumbnail(record_id: Any) -> bytes:
        deadline = time.monotonic() + 60
        while (reply := call("get_thumbnail", record_id=record_id)).status_code != 200:
            assert time.monotonic() < deadline, reply
            time.sleep(0.1)
        content: bytes = reply.parsed.payload.read()
        return content

    with module("client").Client(base_url=service.url) as client:
        file = module("types").File(payload=BytesIO(picture()), file_name="photo.jpg")
        body = module("models.upload_picture_body").UploadPictureBody(image=file)
        sent = call("upload_picture", body=body)
        assert (sent.status_code, sent.parsed.filename, sent.parsed.ready) == (201, "photo.jpg", False)
        assert thumbnail(sent.parsed.id).startswith(b"\xff\xd8")
        order = module("models.presigned_upload_request").PresignedUploadRequest(filename="large.jpg")
        presigned = call("create_upload", body=order).parsed
        fields = presigned.fields.to_dict()
        posted = requests.post(presigned.url, data=fields, files={"file": picture()}, timeout=60)
        assert posted.ok
        assert thumbnail(presigned.id).startswith(b"\xff\xd8")
        assert {record.id for record in call("get_records").parsed} == {sent.parsed.id, presigned.id}
        for record_id in (sent.parsed.id, presigned.id):
            assert call("delete_record", record_id=record_id).parsed.ready is True
        assert call("get_record", record_id=presigned.id).parsed.error


def test_a_typescript_client(service: Service, description: Path, tmp_path: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip("the TypeScript client is made with npm, which is not here")
    quiet = ["--silent", "--no-audit", "--no-fund", "--no-package-lock"]
    fetched = subprocess.run(
        ["npm", "install", *quiet, *NPM_PACKAGES], cwd=tmp_path, capture_output=True, timeout=300, check=False
    )
    if fetched.returncode:
        pytest.skip("npm cannot install the generator of the TypeScript client: is there a network?")
    tools = tmp_path / "node_modules" / ".bin"
    run(
        [
            str(tools / "openapi-typescript"),
            str(description),
            "-o",
            "schema.ts",
            "--default-non-nullable",
            "false",
        ],
        tmp_path,
    )
    (tmp_path / "lifecycle.ts").write_text(LIFECYCLE)
    (tmp_path / "photo.jpg").write_bytes(picture())
    options = (
        "--strict --noUncheckedIndexedAccess --target es2022 --module commonjs --moduleResolution node10"
    )
    run([str(tools / "tsc"), *options.split(), "--skipLibCheck", "--types", "node", "lifecycle.ts"], tmp_path)
    assert run(["node", "lifecycle.js", service.url, "photo.jpg"], tmp_path) == "done\n"
