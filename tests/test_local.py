"""`make run` as a program: how it starts, what it says, and that nothing of it stays behind."""

import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from PIL import Image

from chalicelib import naming
from tests.conftest import picture
from tests.service import ROOT, Service, eventually, is_alive, processes_of

pytestmark = pytest.mark.slow


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/api/v1/system/pulse", timeout=60).ok
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_all_that_it_started(with_signal: int) -> None:
    with Service() as service:
        # The runner, the servers, valkey, the worker and the API.
        eventually(lambda: len(processes_of(service.process.pid)) >= 5, 60)
        started = processes_of(service.process.pid)
        assert "in memory" in service.output
        assert f"curl -F image=@docs/photo.jpg {service.url}/api/v1/thumbnail" in service.output
        assert service.stop(with_signal) == 0
    eventually(lambda: not any(map(is_alive, started)), 60, lambda: str(list(filter(is_alive, started))))
    assert not answers(service.url)
    assert "Traceback" not in service.output


def test_nothing_survives_when_it_is_killed() -> None:
    with Service() as service:
        started = processes_of(service.process.pid)
        service.stop(signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, started)), 60, lambda: str(list(filter(is_alive, started))))


@pytest.mark.parametrize("name", ["local.servers", "valkey-server"])
def test_it_ends_with_one_sentence_when_an_embedded_server_dies(name: str) -> None:
    with Service() as service:
        started = processes_of(service.process.pid)
        (victim,) = [one for one in started if name in " ".join(one.cmdline())]
        victim.kill()
        assert service.process.wait(180) == 1
        service.says("an embedded server has died, and all pictures with it; start again.")
    assert "Traceback" not in service.output
    eventually(lambda: not any(map(is_alive, started)), 60, lambda: str(list(filter(is_alive, started))))


def test_pictures_can_be_put_into_the_bucket_as_it_says(tmp_path: Path) -> None:
    with Service() as service:
        (command,) = re.findall(r"  (AWS_.*boto3.*)", service.output)
        command = command.replace(".venv/bin/python", sys.executable)
        subprocess.run(["bash", "-euc", command], cwd=ROOT, check=True, timeout=30)
        record = service.wait_for_end(naming.record_id("originals/by-hand.jpg"))
        assert (record["filename"], record["ready"]) == ("by-hand.jpg", True)


@pytest.mark.parametrize("function", ["reconcile", "rebuild"])
def test_maintenance_reaches_a_running_service(function: str) -> None:
    command = [sys.executable, "-m", "deploy.maintain", function]
    with Service() as service:
        service.wait_for_end(service.upload(picture())["id"])
        port = str(urlsplit(service.url).port)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "REDIS_"))}
        maintain = functools.partial(
            subprocess.run,
            command,
            cwd=ROOT,
            env=env | {"PORT": port},
            capture_output=True,
            text=True,
            check=False,
        )
        done = maintain()
        assert (done.returncode, "originals seen" in done.stdout) == (0, True), done.stderr
    gone = maintain()
    assert gone.returncode == 1


def test_pages_of_other_sites_can_neither_read_nor_delete() -> None:
    with Service() as service:
        endpoint = re.search(r"is at (http\S+);", service.output)
        assert endpoint
        for origin in ("https://evil.example", "null"):
            reply = service("GET", headers={"Origin": origin})
            assert "Access-Control-Allow-Origin" not in reply.headers
            assert requests.get(endpoint[1], headers={"Origin": origin}, timeout=60).status_code == 403
        assert requests.get(endpoint[1], headers={"Host": "rebound.example"}, timeout=60).status_code == 403
        assert requests.get(service.url, headers={"Host": "rebound.example"}, timeout=60).status_code == 421
        reply = service("GET", headers={"Origin": service.url})
        assert reply.headers["Access-Control-Allow-Origin"] == service.url
        assert requests.get(endpoint[1], headers={"Origin": service.url}, timeout=60).status_code == 200
    with Service({"ALLOWED_ORIGINS": "https://ours.example"}) as service:
        reply = service("GET", headers={"Origin": "https://ours.example"})
        assert reply.headers["Access-Control-Allow-Origin"] == "https://ours.example"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_it_serves_on_an_ipv6_address() -> None:
    with Service({"HOST": "::1"}) as service:
        assert service.url.startswith("http://[::1]:")
        assert service("GET").json() == []


def test_no_control_character_reaches_the_terminal() -> None:
    with Service() as service:
        service.upload(picture(), "\x1b[2J\x9b0m.jpg")
        service("GET", "/%1b%5b2J")
        requests.request("X", f"{service.url}/api/v1/%1b[2J", timeout=60)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", service.output)


@pytest.mark.parametrize("variable", ["PORT", "S3_PORT"])
def test_a_taken_port_gets_one_sentence(variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        service = Service({variable: port})
        assert service.process.wait(180) == 1
        service.stop()
    assert service.output.count("\n") == 1
    assert port in service.output


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("THUMBNAIL_SIZE", "0x100"),
        ("THUMBNAIL_FIT", "stretch"),
        ("THUMBNAIL_CROP", "faces"),
        ("THUMBNAIL_QUALITY", "101"),
        ("MAX_UPLOAD_BYTES", "lots"),
        ("BUCKET", "Not_A_Bucket"),
        ("REDIS_URL", "localhost"),
        ("PORT", "http"),
    ],
)
def test_a_bad_setting_stops_the_start_with_its_name(variable: str, value: str) -> None:
    service = Service({variable: value})
    assert service.process.wait(180) == 1
    service.stop()
    assert service.output.count("\n") == 1
    assert variable in service.output


def test_an_unreachable_object_store_stops_the_start() -> None:
    service = Service({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert service.process.wait(180) == 1
    service.stop()
    assert "http://127.0.0.1:1" in service.output
    assert "Traceback" not in service.output


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name in ("app.py", "chalicelib", "local", "deploy", ".chalice"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return tmp_path


def change(path: Path) -> None:
    path.write_text(path.read_text().replace('{"alive": True}', '{"alive": True, "changed": True}'))


def has_changed(service: Service) -> bool:
    return "changed" in requests.get(f"{service.url}/api/v1/system/pulse", timeout=60).json()


def test_code_that_changes_during_the_start_is_picked_up(code: Path) -> None:
    service = Service(root=code)
    eventually(lambda: any("local.api" in one.cmdline() for one in processes_of(service.process.pid)), 60)
    change(code / "app.py")
    with service:
        service.says("Restarted")
        assert has_changed(service)


def test_changed_code_is_picked_up_and_data_stays(code: Path) -> None:
    with Service(root=code) as service:
        record = service.wait_for_end(service.upload(picture())["id"])
        path = code / "app.py"
        change(path)
        service.says("Restarted")
        assert has_changed(service)
        assert service("GET", f"/{record['id']}").json() == record

        path.write_text("def broken(")
        service.says("SyntaxError")
        path.write_text((ROOT / "app.py").read_text())

        def shows_the_record() -> bool:
            try:
                return bool(service("GET", f"/{record['id']}").json() == record)
            except requests.ConnectionError:
                return False  # it may be restarted once more, for the change that it has read already

        eventually(shows_the_record, 60, lambda: service.output)


@pytest.mark.parametrize("module", ["local.worker", "local.api"])
def test_a_process_that_dies_is_started_again_and_nothing_is_lost(module: str) -> None:
    with Service() as service:
        before = service.upload(picture())
        (victim,) = [one for one in processes_of(service.process.pid) if module in one.cmdline()]
        victim.kill()
        eventually(lambda: not is_alive(victim), 60)
        eventually(lambda: answers(service.url), 60, lambda: service.output)
        after = service.upload(picture())
        assert service.wait_for_end(before["id"], 90)["ready"]
        assert service.wait_for_end(after["id"])["ready"]


def test_other_servers_are_used_when_they_are_named(redis_url: str, s3_endpoint: str) -> None:
    s3 = boto3.client("s3")
    named = {"REDIS_URL": redis_url, "AWS_ENDPOINT_URL": s3_endpoint, "BUCKET": "named-pictures"}
    with Service(named) as first:
        record = first.wait_for_end(first.upload(picture())["id"])
        s3.upload_fileobj(BytesIO(picture()), "named-pictures", "originals/put straight+in.jpg")
        straight = first.wait_for_end(naming.record_id("originals/put straight+in.jpg"))
        assert (straight["filename"], straight["ready"]) == ("put straight+in.jpg", True)
        assert "in memory" not in first.output
    # They outlive the service, and so does what they hold.
    assert s3.head_object(Bucket="named-pictures", Key=f"uploads/{record['id']}")["ContentLength"]
    with Service(named) as second:
        assert second("GET", f"/{record['id']}").json() == record


@pytest.mark.parametrize(
    ("settings", "size", "colour"),
    [
        ({"THUMBNAIL_SIZE": "64x32", "THUMBNAIL_FIT": "contain"}, (32, 32), (255, 255, 255)),
        ({"THUMBNAIL_SIZE": "64x32", "THUMBNAIL_BACKGROUND": "#ff0000"}, (64, 32), (255, 0, 0)),
    ],
)
def test_settings_are_obeyed(
    settings: dict[str, str], size: tuple[int, int], colour: tuple[int, ...]
) -> None:
    out = BytesIO()
    Image.new("RGBA", (500, 500), (0, 0, 0, 0)).save(out, "PNG")
    with Service({"MAX_UPLOAD_BYTES": "20000"} | settings) as service:
        record = service.wait_for_end(service.upload(out.getvalue(), "clear.png")["id"])
        with Image.open(BytesIO(service("GET", f"/{record['id']}/download").content)) as image:
            assert image.size == size
            pixel = image.getpixel((5, 5))
            assert isinstance(pixel, tuple)
            assert all(abs(have - want) < 4 for have, want in zip(pixel, colour, strict=True))
        assert service("POST", files={"image": ("big.jpg", picture() + bytes(20_000))}).status_code == 413
