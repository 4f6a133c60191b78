"""sharing: others on the network get in by the names that were given, with TLS, and never without."""

import hashlib
import http.client
import json
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from annotation import embedded
from annotation.embedded import Server
from annotation.environment import ensure_environment
from annotation.people import credentials
from annotation.sharing import Sharing, ensure_shared
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, free_port

NAME = "argilla.hospital.test"

# These run in Argilla's environment, as annotation/server/certificate.py does; ours has no cryptography.
EXPIRED = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import certificate
certificate.LIFE = timedelta(minutes=-1)
certificate.make(Path(sys.argv[2]), [])
"""
LOCKED = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives import serialization
key = serialization.load_pem_private_key(Path(sys.argv[1]).read_bytes(), None)
how = serialization.BestAvailableEncryption(b"word")
form = serialization.PrivateFormat.PKCS8
Path(sys.argv[2]).write_bytes(key.private_bytes(serialization.Encoding.PEM, form, how))
"""


@pytest.fixture(scope="module")
def shared(config: Annotation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KORMED_ARGILLA_HOME", str(tmp_path_factory.mktemp("shared") / "home"))
        patch.setenv("OPENAI_API_KEY", "a-key-of-somebody's")
        server = embedded.start(config.model_copy(update={"port": two_free_ports()}), WORKSPACE, Sharing((NAME,)))
    yield server
    server.stop()


def two_free_ports() -> int:
    """A port whose successor is free as well."""
    while True:
        port = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("", port + 1))
            except (OSError, OverflowError):
                continue
        return port


def ask(
    server: Server, name: str, *, host: str | None = None, origin: str | None = None, body: str | None = None
) -> tuple[int, str]:
    """Status and text that a client gets which reaches us under `name` and trusts our certificate alone."""
    trust = ssl.create_default_context(cafile=str(server.home / "certificate.pem"))
    port = urlsplit(server.shared_urls[0]).port
    raw = socket.create_connection((embedded.HOST, port), timeout=30)
    connection = http.client.HTTPSConnection(name, port, timeout=30)
    connection.sock = trust.wrap_socket(raw, server_hostname=name)
    headers = {"Host": host or f"{name}:{port}", "Content-Type": "application/x-www-form-urlencoded"}
    if origin:
        headers["Origin"] = origin
    path = "/api/v1/token" if body else "/api/v1/version"
    connection.request("POST" if body else "GET", path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_people_get_in_by_name_and_by_address_and_sign_in_from_the_page(shared: Server) -> None:
    kim = credentials(shared.home)["doctor-kim"]
    form = f"username={kim.username}&password={kim.password}"
    assert shared.shared_urls[0].startswith(f"https://{NAME}:")
    for url in [*shared.shared_urls, f"https://localhost:{urlsplit(shared.shared_urls[0]).port}"]:
        status, text = ask(shared, str(urlsplit(url).hostname), origin=url, body=form)
        assert status == 201 and json.loads(text)["access_token"]


def test_another_host_name_and_another_origin_are_refused(shared: Server) -> None:
    assert ask(shared, NAME)[0] == 200
    assert ask(shared, NAME, host="evil.example")[0] == 400
    assert ask(shared, NAME, origin="https://evil.example")[0] == 403
    assert ask(shared, NAME, origin=f"http://{NAME}:{urlsplit(shared.shared_urls[0]).port}")[0] == 403  # not https


def test_without_tls_nothing_is_answered_but_on_loopback(shared: Server) -> None:
    port = urlsplit(shared.shared_urls[0]).port
    connection = http.client.HTTPConnection(embedded.HOST, port, timeout=30)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        connection.request("GET", "/api/v1/version")
        connection.getresponse()
    assert listening(shared) == {("0100007F", urlsplit(shared.url).port), ("00000000", port)}  # 127.0.0.1, 0.0.0.0


def listening(server: Server) -> set[tuple[str, int]]:
    """Address (hexadecimal, bytes reversed) and port of everything that the server's process listens on."""
    process = Path(f"/proc/{server.pid}")
    if not process.exists():
        pytest.skip("needs Linux's /proc")
    sockets = {str(link.readlink()) for link in (process / "fd").iterdir() if link.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        path = process / "net" / table
        for row in [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []:
            if row[3] == "0A" and f"socket:[{row[9]}]" in sockets:
                address, port = row[1].split(":")
                found.add((address, int(port, 16)))
    return found


def test_an_old_protocol_is_refused(shared: Server) -> None:
    old = ssl.create_default_context(cafile=str(shared.home / "certificate.pem"))
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((embedded.HOST, urlsplit(shared.shared_urls[0]).port), timeout=30) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(raw, server_hostname=NAME)


def test_the_fingerprint_is_the_one_that_browsers_show(shared: Server) -> None:
    certificate = ssl.PEM_cert_to_DER_cert((shared.home / "certificate.pem").read_text())
    assert hashlib.sha256(certificate).hexdigest().upper() == str(shared.fingerprint).replace(":", "")


def test_the_key_is_its_owners_alone_and_no_secret_is_told(shared: Server) -> None:
    key = shared.home / "certificate-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    seen = (shared.home / "server.log").read_bytes()
    process = Path(f"/proc/{shared.pid}")
    if process.exists():
        seen += (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    secrets = [line for line in key.read_text().splitlines() if "-----" not in line]
    secrets += [credentials(shared.home)["doctor-kim"].password, "a-key-of-somebody's"]
    assert [secret for secret in secrets if secret.encode() in seen] == []


@pytest.fixture(scope="module")
def python() -> Path:
    return ensure_environment()


def test_a_certificate_stays_until_a_name_is_missing_in_it(
    python: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = ensure_shared(Sharing((NAME, "Other.Test")), python, tmp_path, 6900)
    assert first.port == 6901 and first.urls[:2] == (f"https://{NAME}:6901", "https://other.test:6901")
    warning = caplog.records[-1].message
    assert "health data" in warning and first.urls[0] in warning and first.certificate.fingerprint in warning
    again = ensure_shared(Sharing(("other.test",)), python, tmp_path, 6900)
    assert again.certificate.fingerprint == first.certificate.fingerprint
    caplog.set_level("INFO")
    other = ensure_shared(Sharing(("192.0.2.77",)), python, tmp_path, 6900)
    assert other.certificate.fingerprint != first.certificate.fingerprint
    assert any("lacks 192.0.2.77" in record.message for record in caplog.records)


def test_a_certificate_that_is_over_or_damaged_is_made_anew(python: Path, tmp_path: Path) -> None:
    expire(python, tmp_path)
    old = (tmp_path / "certificate.pem").read_text()
    ensure_shared(Sharing(), python, tmp_path, 6900)
    made = (tmp_path / "certificate.pem").read_text()
    assert made != old
    (tmp_path / "certificate-key.pem").write_text("cut off")
    ensure_shared(Sharing(), python, tmp_path, 6900)
    assert (tmp_path / "certificate.pem").read_text() != made


def test_a_certificate_of_ones_own_is_used_with_the_names_in_it(python: Path, tmp_path: Path) -> None:
    own = ensure_shared(Sharing((NAME,)), python, tmp_path, 6900).certificate
    used = ensure_shared(Sharing((), own.file, own.key), python, tmp_path / "home", 6900)
    assert (used.certificate.file, used.certificate.key) == (own.file, own.key)
    assert f"https://{NAME}:6901" in used.urls
    assert not (tmp_path / "home").exists()


def test_a_certificate_that_browsers_would_refuse_is_refused_with_the_reason(python: Path, tmp_path: Path) -> None:
    for name in ("good", "other", "expired"):
        (tmp_path / name).mkdir()
    good = ensure_shared(Sharing((NAME,)), python, tmp_path / "good", 6900).certificate
    other = ensure_shared(Sharing((NAME,)), python, tmp_path / "other", 6900).certificate
    expire(python, tmp_path / "expired")
    locked = tmp_path / "locked.pem"
    subprocess.run([python, "-c", LOCKED, good.key, locked], check=True)
    cases: list[tuple[Path, Path | None, tuple[str, ...], str]] = [
        (good.file, None, (), "--key is missing"),
        (good.file, other.key, (), f"{other.key}: this key does not belong to the certificate {good.file}"),
        (good.file, tmp_path / "none.pem", (), "none.pem: this key cannot be read: No such file"),
        (good.file, good.file, (), "certificate.pem: a private key in PEM form was wanted"),
        (good.file, locked, (), "locked.pem: this key has a passphrase.*openssl pkey"),
        (good.key, good.key, (), "certificate-key.pem: a certificate in PEM form was wanted"),
        (good.file, good.key, ("elsewhere.test",), f"this certificate is for {NAME}.*not for elsewhere.test"),
        (
            tmp_path / "expired" / "certificate.pem",
            tmp_path / "expired" / "certificate-key.pem",
            (),
            "this certificate expired on 2.*get a new one",
        ),
    ]
    for file, key, names, sentence in cases:
        with pytest.raises(KormedError, match=sentence):
            ensure_shared(Sharing(names, file, key), python, tmp_path, 6900)


@pytest.mark.parametrize("name", ["https://argilla.lan", "argilla.lan:6901", "::1", "300.1.1.1", "a b", "한글.kr", ""])
def test_a_name_that_nobody_can_type_is_refused(python: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(KormedError, match="a host name .* or an IPv4 address was wanted"):
        ensure_shared(Sharing((name,)), python, tmp_path, 6900)
    assert list(tmp_path.iterdir()) == []


def test_a_shared_port_that_is_taken_is_named(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "home"))
    port = two_free_ports()
    with socket.socket() as other:
        other.bind(("", port + 1))
        other.listen()
        with pytest.raises(KormedError, match=f"port {port + 1} of this machine cannot be used"):
            embedded.start(config.model_copy(update={"port": port}), WORKSPACE, Sharing())
    with socket.socket() as free:  # and the first one was let go
        free.bind((embedded.HOST, port))


def expire(python: Path, folder: Path) -> None:
    subprocess.run([python, "-B", "-c", EXPIRED, embedded.PROGRAM, folder], check=True)
