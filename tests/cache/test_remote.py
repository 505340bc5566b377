"""Stores behind URLs: the figures of the folder, or an error that names the URL, the key and the cause."""

import gzip
import json
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import obstore
import pytest
from click.testing import CliRunner, Result
from conftest import content, fails, refused
from pages import report
from servers import Handler, WebServer, answers, breaks_off, certify, closes, first, hangs, web_server
from stores import fill, make_schema

from logitpipe.cache import IncompleteError, IntegrityError, open_dataset, open_store
from logitpipe.cache.errors import UnreachableError
from logitpipe.cache.files import remote
from logitpipe.cache.files.causes import cause_of
from logitpipe.cache.reading.verify import check_image, check_metadata, stray_files
from logitpipe.cli import cli
from logitpipe.console.advice import DAMAGED_ADVICE
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.protocols import PROTOCOLS

pytestmark = pytest.mark.usefixtures("impatient")
ADVICE = "run the same `pipe infer` again to finish it, or take what is there with --allow-incomplete"


def call(command: str, *words: object) -> Result:
    return CliRunner().invoke(cli, [command, *map(str, words)])


@pytest.fixture(params=["pixel", "mask"])
def folder(request, tmp_path) -> Path:
    return fill(tmp_path / "enet.zarr", make_schema(request.param))


@pytest.fixture
def web(tmp_path) -> Iterator[WebServer]:
    """Give a server of what lies in the test's folder."""
    with web_server(tmp_path) as server:
        yield server


def upload(folder: Path, url: str) -> str:
    objects = remote.Bucket(url).objects
    for key, data in content(folder).items():
        objects.put(key, data)
    return url


@pytest.fixture(params=["s3", "http", "s3 zip", "http zip"])
def url(request, folder, web, tmp_path) -> str:
    """Give the URL of the store in each place and form."""
    if "zip" in request.param:
        (tmp_path / "packed").mkdir()
        assert call("pack", folder, "--out", tmp_path / "packed/enet.zip").exit_code == 0
    if request.param == "http":
        return f"{web.url}/enet.zarr"
    if request.param == "http zip":
        return f"{web.url}/packed/enet.zip"
    s3 = request.getfixturevalue("s3")
    if request.param == "s3":
        return upload(folder, f"{s3}/stores/enet.zarr")
    upload(tmp_path / "packed", f"{s3}/stores")
    return f"{s3}/stores/enet.zip"


def test_a_url_gives_what_the_folder_gives(folder, url):
    local, far = open_store(folder), open_store(url)
    assert far.schema == local.schema
    assert str(far.path) == url
    assert (far.completed(), far.missing()) == ([0, 1, 2], [])
    for image in range(3):
        assert far.record(image) == local.record(image)
        assert check_image(far, image) == check_image(local, image)
        for name in local.arrays:
            assert np.array_equal(far.read(name, image), local.read(name, image))
    keys = [*content(folder), "records/3.json", "nothing"]
    assert far.files.sizes(keys) == local.files.sizes(keys)
    assert far.files.read("records/3.json") is None
    assert (check_metadata(far), stray_files(far)) == ([], [])


@pytest.mark.slow
def test_the_commands_say_of_a_url_what_they_say_of_the_folder(folder, url, tmp_path):
    for command in (["show"], ["verify"], ["score", "--json", "--temperatures", "0.5,2"]):
        near, far = call(*command, folder), call(*command, url)
        assert near.exit_code == far.exit_code == 0
        # A web server would have to be asked for the size of each file: `show` leaves these out.
        if command == ["show"] and url.startswith("http") and not url.endswith(".zip"):
            assert "a web server does not say how much it holds" in far.stdout
        else:
            assert far.stdout == near.stdout.replace(str(folder), url)
    for place, out in ((folder, "a"), (url, "b")):
        assert call("maps", place, "--method", "msp", "--out", tmp_path / out).exit_code == 0
        assert call("pack", place, "--out", tmp_path / f"{out}.zip").exit_code == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.slow
def test_the_url_in_the_results_is_the_url(folder, url, tmp_path):
    assert call("score", url, folder, "--methods", "msp", "--out", tmp_path / "results").exit_code == 0
    results = json.loads((tmp_path / "results/results.json").read_bytes())["results"]
    assert list(dict.fromkeys(row["store"] for row in results)) == [url, str(folder)]
    settings = json.loads((tmp_path / "results/settings.json").read_bytes())["settings"]
    assert settings["stores"]["value"] == [url, str(folder)]


@pytest.mark.slow
def test_a_report_shows_the_images_behind_a_url(folder, url, tmp_path):
    shown = []
    for place, out in ((folder, tmp_path / "near"), (url, tmp_path / "far")):
        assert call("score", place, "--methods", "msp", "--out", out).exit_code == 0
        shown.append([attributes["src"] for tag, attributes in report(out).elements if tag == "img"])
    assert shown[0] == shown[1]
    assert len(shown[0]) > 1
    assert json.loads((tmp_path / "far/settings.json").read_bytes())["run"]["stores"][0]["path"] == url


def test_open_dataset_takes_urls(folder, url):
    if url.endswith(".zip"):
        with refused(f"{url}: as a data set, a zip is opened from a path only; download the store"):
            open_dataset(url)
        return
    assert open_dataset(url).equals(open_dataset(folder))


@pytest.mark.parametrize("far", ["s3", "http"])
def test_an_incomplete_store_is_seen_to_be_incomplete(far, web, request, tmp_path):
    folder = fill(tmp_path / "enet.zarr", make_schema("pixel"), images=[0, 2])
    url = f"{web.url}/enet.zarr" if far == "http" else upload(folder, f"{request.getfixturevalue('s3')}/enet.zarr")
    assert open_store(url).missing() == [1]
    fails(call("score", url), f"pipe: {url}: 1 of 3 images are missing (b.png); {ADVICE}", 3)
    assert call("verify", url).exit_code == 3
    near, there = (
        call("score", "--allow-incomplete", "--json", folder),
        call("score", "--allow-incomplete", "--json", url),
    )
    assert (near.exit_code, there.exit_code) == (3, 3)
    assert there.stdout == near.stdout.replace(str(folder), url)


def test_strays_in_a_bucket_are_told(s3, tmp_path):
    url = upload(fill(tmp_path / "enet.zarr", make_schema("pixel")), f"{s3}/enet.zarr")
    remote.Bucket(url).objects.put("notes/a.txt", b"")
    assert stray_files(open_store(url)) == ["notes/a.txt"]
    result = call("verify", url)
    assert result.exit_code == 0
    assert f"{url}/notes/a.txt: not part of a store; it does no harm" in result.stderr.splitlines()


def test_damage_behind_a_url_is_told_by_file_and_image(s3, tmp_path):
    folder = fill(tmp_path / "enet.zarr", make_schema("pixel"))
    url = upload(folder, f"{s3}/enet.zarr")
    objects, data = (
        remote.Bucket(url).objects,
        bytearray((folder / "preview/c/1/0/0/0").read_bytes()),
    )
    data[20] ^= 1
    objects.put("preview/c/1/0/0/0", bytes(data))
    objects.delete("labels/c/2/0/0")
    result = call("verify", url)
    assert result.exit_code == 4
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{url}/preview/c/1/0/0/0: image 'b.png': checksum ")
    assert lines[1] == f"{url}/labels/c/2/0/0: image 'c.png': the chunk is missing"
    line = f"pipe: {url}: image 'c.png': labels/c/2/0/0: the chunk is missing; {DAMAGED_ADVICE}"
    fails(call("score", url), line, 4)


# Faults that pass, and faults that do not.


@pytest.fixture
def far(web, tmp_path) -> str:
    fill(tmp_path / "enet.zarr", make_schema("pixel"))
    return f"{web.url}/enet.zarr"


@pytest.fixture
def far_zip(far, web, tmp_path) -> str:
    assert call("pack", tmp_path / "enet.zarr", "--out", tmp_path / "enet.zip").exit_code == 0
    web.requests.clear()
    return far.replace(".zarr", ".zip")


PASSING = {"503": answers(503), "429": answers(429), "500": answers(500), "breaks off": breaks_off, "closes": closes}


@pytest.mark.slow
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_changes_nothing(web, far, tmp_path, fault):
    web.fault = first(1 if fault == "breaks off" else 2, PASSING[fault])
    store, local = open_store(far), open_store(tmp_path / "enet.zarr")
    store.require_complete()
    for name in local.arrays:
        assert np.array_equal(store.read(name, 1), local.read(name, 1))
    asked = [path for method, path in web.requests if (method, path) == ("GET", "/enet.zarr/zarr.json")]
    assert len(asked) == (2 if fault == "breaks off" else 3)


def test_a_server_that_hangs_once_is_asked_again(web, far):
    web.fault = first(1, hangs)
    started = time.monotonic()
    open_store(far)
    assert 0.4 < time.monotonic() - started < 2


LASTING = {
    "503": (answers(503), "the server answered 503 Service Unavailable"),
    "403": (answers(403), "the server answered 403 Forbidden"),
    "401": (answers(401), "the server answered 401 Unauthorized"),
    "400": (answers(400), "the server answered 400 Bad Request"),
    "breaks off": (breaks_off, "the answer broke off"),
    "closes": (closes, "the connection broke off"),
    "hangs": (hangs, "there was no answer in time"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_is_an_error_and_never_an_absence(web, far, fault):
    store = open_store(far)
    web.fault, cause = LASTING[fault]
    started = time.monotonic()
    for attempt in (lambda: open_store(far), lambda: store.files.read("zarr.json")):
        with refused(f"{far}/zarr.json: {cause}"):
            attempt()
    if fault != "breaks off":  # the size is told by headers, which do not break off
        with pytest.raises(UnreachableError, match=f"{far}/records/.\\.json: {cause}"):
            store.completed()
    assert time.monotonic() - started < 20


def test_a_refusal_is_not_asked_again(web, far):
    web.fault = answers(403)
    fails(call("show", far), f"pipe: {far}/zarr.json: the server answered 403 Forbidden")
    assert len(web.requests) == 1


def test_users_wait_half_a_minute_at_most():
    fresh = __import__("runpy").run_path(remote.__file__)
    assert fresh["RETRY"]["retry_timeout"].total_seconds() == fresh["PATIENCE"]
    assert fresh["PATIENCE"] + float(fresh["CLIENT"]["read_timeout"].rstrip("s")) <= 30


@pytest.mark.slow
@pytest.mark.parametrize("command", ["score", "verify", "pack"])
def test_a_server_that_dies_half_way_ends_in_an_error_and_no_figure(web, far, command, tmp_path):
    web.fault = lambda request: len(web.requests) > 8 and closes(request)
    result = call(command, far, *(["--out", tmp_path / "packed.zip"] if command == "pack" else []))
    assert (result.exit_code, result.stdout) == (1, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"pipe: {far}/")
    assert line.endswith(": the connection broke off")
    assert not list(tmp_path.glob("packed.zip*"))


@pytest.mark.parametrize("key", ["logits/zarr.json", "records/1.json", "labels/c/1/0/0"])
def test_what_cannot_be_read_is_not_taken_for_damage(web, far, key):
    store = open_store(far)
    web.fault = lambda request: request.path.endswith(key) and answers(403)(request)
    with refused(f"{far}/{key}: the server answered 403 Forbidden"):
        check_metadata(store)
        check_image(store, 1)


@pytest.mark.parametrize(
    ("prefix", "error"), [("/enet.zarr/records", IncompleteError), ("/enet.zarr/logits", IntegrityError)]
)
def test_a_store_that_is_removed_half_way_is_an_error(web, far, prefix, error):
    store = open_store(far)
    store.require_complete()
    web.fault = lambda request: request.path.startswith(prefix) and answers(404)(request)
    with pytest.raises(error):
        store.read("logits", 1)


class Sizes:
    """Statistic that counts pixels; it is its own total."""

    expected_bytes, images, pixels = 1, 0, 0

    def zero(self) -> "Sizes":
        return Sizes()

    def of_image(self, picture, total, _threads=1) -> None:
        total.images, total.pixels = total.images + 1, total.pixels + picture.labels.size

    def add(self, other) -> None:
        self.images, self.pixels = self.images + other.images, self.pixels + other.pixels


def test_one_worker_reads_several_images_of_a_server_at_once(web, tmp_path):
    images = [f"{i}.png" for i in range(24)]
    fill(tmp_path / "many.zarr", make_schema("pixel", images=images, version=2))
    store = open_store(f"{web.url}/many.zarr")
    web.fault = lambda _request: time.sleep(0.02) or False
    total = walk(GroundTruth(store, PROTOCOLS["standard"], range(24)), range(24), Sizes(), 1, lambda: None)
    assert (total.images, total.pixels) == (24, 24 * 12 * 16)
    assert web.busiest > 8  # an image by itself has at most three requests under way


def test_what_was_there_is_not_asked_for_again_and_the_rest_all_at_once(web, tmp_path):
    images = [f"{i}.png" for i in range(40)]
    fill(tmp_path / "many.zarr", make_schema("pixel", images=images), images=range(0, 40, 2))
    store = open_store(f"{web.url}/many.zarr")
    web.requests.clear()
    web.fault = lambda _request: time.sleep(0.05) or False
    assert store.completed() == list(range(0, 40, 2))
    assert sorted(web.requests) == sorted(("HEAD", f"/many.zarr/records/{i}.json") for i in range(40))
    assert web.busiest > 4
    web.requests.clear()
    assert store.missing() == list(range(1, 40, 2))
    assert sorted(web.requests) == sorted(("HEAD", f"/many.zarr/records/{i}.json") for i in range(1, 40, 2))


@pytest.mark.parametrize("command", [("show",), ("score", "--methods", "msp")])
def test_nothing_but_records_is_asked_for_by_its_size(web, far, command):
    """One question for each image, however many files an image has."""
    web.requests.clear()
    assert call(*command, far).exit_code == 0
    heads = [path for method, path in web.requests if method == "HEAD"]
    assert sorted(heads) == [f"/enet.zarr/records/{i}.json" for i in range(3)]


def test_a_server_without_ranges_hands_out_no_zip(web, far_zip):
    web.ranges = False
    fails(call("score", far_zip), f"pipe: {far_zip}: the server does not hand out parts of a file; download the zip")


def test_a_zip_that_is_not_there_or_is_none(web, tmp_path):
    fails(
        call("show", f"{web.url}/a.zip"), f"pipe: {web.url}/a.zip: expected a logit store, but there is no such file"
    )
    (tmp_path / "b.zip").write_bytes(b"")
    line = f"pipe: {web.url}/b.zip: expected a logit store, but it is neither a folder nor a zip file"
    fails(call("show", f"{web.url}/b.zip"), line)


def test_a_zip_that_goes_away_is_an_error(far_zip, tmp_path):
    store = open_store(far_zip)
    (tmp_path / "enet.zip").unlink()
    with refused(f"{far_zip}: the zip is gone"):
        store.read("logits", 0)


def test_a_server_that_tells_no_size_alone_has_its_files_all_the_same(web, far, tmp_path):
    for status in (405, 501):
        web.fault = lambda request, status=status: request.command == "HEAD" and answers(status)(request)
        store = open_store(far)
        keys = [*content(tmp_path / "enet.zarr"), "records/3.json"]
        assert store.completed() == [0, 1, 2]
        assert store.files.sizes(keys) == open_store(tmp_path / "enet.zarr").files.sizes(keys)


def test_a_server_that_allows_no_question_is_not_an_empty_one(web, far):
    web.fault = answers(405)
    fails(call("show", far), f"pipe: {far}/zarr.json: the server answered 405 Method Not Allowed")


def compressed(request: Handler) -> bool:
    """Hand out documents as a server does that compresses text."""
    file = request.server.folder / request.path.lstrip("/")
    if file.suffix != ".json" or not file.is_file():
        return False
    body = gzip.compress(file.read_bytes())
    request.send_response(200)
    request.send_header("Content-Encoding", "gzip")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body if request.command == "GET" else b"")
    return True


def test_documents_may_come_compressed(web, far, tmp_path):
    web.fault = compressed
    local, store = open_store(tmp_path / "enet.zarr"), open_store(far)
    for image in range(3):
        assert check_image(store, image) == check_image(local, image)
        for name in local.arrays:
            assert np.array_equal(store.read(name, image), local.read(name, image))


@pytest.mark.parametrize("data", [b"\x1f\x8b and no more", gzip.compress(b" " * (33 << 20))], ids=["cut", "bomb"])
def test_a_document_that_does_not_unpack_is_damage(far, tmp_path, data):
    (tmp_path / "enet.zarr/records/1.json").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"records/1\.json"):
        open_store(far).record(1)


@pytest.mark.usefixtures("far")
def test_an_unknown_authority_is_named_and_may_be_told(tmp_path, monkeypatch):
    certificate, authority = tmp_path / "server.pem", tmp_path / "authority.pem"
    certify("localhost", certificate, authority)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with web_server(tmp_path) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_port}/enet.zarr"
        with pytest.raises(UnreachableError, match=r"authority that this machine does not know; .* SSL_CERT_FILE$"):
            open_store(url)
        for file, found in ((certificate, "which does not hold that authority's"), ("no.pem", "which is not there")):
            monkeypatch.setenv("SSL_CERT_FILE", str(file))
            with pytest.raises(UnreachableError, match=f"SSL_CERT_FILE names .*{found}: name a file"):
                open_store(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert open_store(url).schema == open_store(tmp_path / "enet.zarr").schema
        other = url.replace("localhost", "127.0.0.1")
        with refused(f"{other}/zarr.json: its certificate is for another host"):
            open_store(other)


@pytest.mark.parametrize(
    ("sign", "cause"),
    [
        (
            "InvalidCertificate(\n  Other(\n  OtherError(\n  CaUsedAsEndEntity",
            "its certificate is an authority's own",
        ),
        ("InvalidCertificate(\n  ExpiredContext {", "its certificate has expired"),
        ("InvalidCertificate(\n  BadSignature", "its certificate is not valid (BadSignature)"),
        ("InvalidMessage(\n  InvalidContentType", "what answers there does not speak https"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(sign, cause):
    assert cause_of(f"error sending request\n{sign}", "https").startswith(cause)


@pytest.mark.usefixtures("far")
def test_keys_of_a_bucket_are_spelt_as_they_are(s3, tmp_path):
    for name in ("a%20b", "a b", "100%", "a%2520b", "a+b"):
        key = f"{name}/enet.zarr/zarr.json"
        obstore.put(remote.Bucket(s3).objects, key, (tmp_path / "enet.zarr/zarr.json").read_bytes())
        assert open_store(f"{s3}/{name}/enet.zarr").schema == open_store(tmp_path / "enet.zarr").schema
        assert key in remote.Bucket(s3).all_keys()
        obstore.delete(remote.Bucket(s3).objects, key)


# What cannot be reached at all.


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("ftp://host/a", "ftp://host/a: a store has a path or a URL of s3://, gs://, http://, https://"),
        ("file:///tmp/a", "file:///tmp/a: a store has a path or a URL of s3://, gs://, http://, https://"),
        (
            "http://host/a?token=secret",
            "http://host: a URL with a password, `?` or `#` in it is not read; download the store",
        ),
        (
            "https://me:secret@host/a",
            "https://host: a URL with a password, `?` or `#` in it is not read; download the store",
        ),
        ("http://", "http://: the URL names no host and no bucket"),
        ("s3:///a", "s3:///a: the URL names no host and no bucket"),
        ("http://host:99999999/a", "http://host:99999999/a: such a URL leads nowhere (invalid port number)"),
    ],
)
def test_urls_that_mean_nothing(url, line):
    result = call("show", url)
    fails(result, f"pipe: {line}")
    assert "secret" not in result.output


def test_no_such_store_no_such_bucket(s3, web):
    for url in (f"{s3}/nothing", f"{web.url}/nothing"):
        fails(
            call("show", url),
            f"pipe: {url}: expected a logit store, but there is no zarr.json; `pipe infer` makes one",
        )
    fails(call("show", "s3://other/a"), "pipe: s3://other/a/zarr.json: there is no such bucket")


@pytest.mark.slow
def test_no_such_host_and_no_server():
    fails(
        call("show", "http://no-such-host.invalid/a"),
        "pipe: http://no-such-host.invalid/a/zarr.json: there is no such host",
    )
    fails(call("show", "http://127.0.0.1:9/a"), "pipe: http://127.0.0.1:9/a/zarr.json: the connection was refused")


def test_a_bucket_that_refuses(s3, monkeypatch):
    obstore.put(remote.Bucket(s3).objects, "a/zarr.json", b"")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    fails(call("show", f"{s3}/a"), f"pipe: {s3}/a/zarr.json: the server answered 403 Forbidden")


def test_without_credentials_the_line_says_which(s3, web, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", web.url)
    advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket"
    fails(call("show", f"{s3}/a"), f"pipe: {s3}/a/zarr.json: no credentials were found; {advice}")


def test_a_key_file_of_google_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "none.json"))
    result = call("show", "gs://bucket/a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("pipe: gs://bucket/a: such a URL leads nowhere (")


def test_without_the_extra_the_line_says_what_to_install(monkeypatch):
    for name in [
        name for name in sys.modules if name == "logitpipe.cache.files.remote" or name.split(".")[0] == "obstore"
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "obstore", None)
    line = "s3://a/b: URLs need obstore, which is not installed; run pip install '.[cloud]' in the project's folder"
    fails(call("score", "s3://a/b"), f"pipe: {line}")
