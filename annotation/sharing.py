"""Sharing: the embedded server on a local network too, on a second port (the recipe's plus one), only with TLS."""

import ipaddress
import json
import logging
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stages.core.errors import KormedError

log = logging.getLogger("kormed")

PROGRAM = Path(__file__).parent / "server" / "certificate.py"
HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True)
class Sharing:
    """How others reach the server: names and addresses that they type, and a certificate (None: one is made)."""

    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Certificate:
    """PEM files, the names that they are good for, and the SHA-256 fingerprint that a browser shows."""

    file: Path
    key: Path
    names: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Shared:
    """Where a shared server is reached: its port on every address of this machine, and what people type."""

    port: int
    urls: tuple[str, ...]
    certificate: Certificate


def ensure_shared(sharing: Sharing, python: Path, home: Path, port: int) -> Shared:
    """Port, addresses and certificate for a server whose own port is `port`; warns of what sharing means.

    `python` is the embedded Argilla's, which has what certificates take.

    Raises:
        KormedError: a name that nobody can type, or a certificate that browsers would refuse.
    """
    names = tuple(dict.fromkeys(_checked(name) for name in sharing.names))
    certificate = _certificate(sharing, names, python, home)
    # 127.0.0.1 with the recipe's port stays as it is; Linux gives no second socket the same port on all addresses.
    second = port + 1 if port < 65535 else port - 1
    urls = tuple(f"https://{name}:{second}" for name in certificate.names)
    log.warning(
        "sharing health data: everybody on this machine's networks reaches %s, and whoever has a password gets in. "
        "The way there is encrypted (certificate SHA-256 %s: compare it with what the browser shows). Who may see the "
        "data, with whose consent and under which law, is for you to settle",
        " ".join(urls),
        certificate.fingerprint,
    )
    return Shared(second, urls, certificate)


def _checked(name: str) -> str:
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError:
        pass
    if not HOST_NAME.fullmatch(name.lower()) or name.replace(".", "").isdigit():
        raise KormedError(
            f"--name {name}: a host name (argilla.hospital.lan) or an IPv4 address was wanted, no https:// and no port"
        )
    return name.lower()


def _certificate(sharing: Sharing, names: tuple[str, ...], python: Path, home: Path) -> Certificate:
    if (sharing.certificate is None) != (sharing.key is None):
        missing = "--certificate" if sharing.certificate is None else "--key"
        raise KormedError(f"{missing} is missing: a certificate and its key come together, or neither")
    if sharing.certificate is None or sharing.key is None:
        task: list[str | Path] = ["make", "--folder", home]
    else:
        task = ["check", "--certificate", sharing.certificate.absolute(), "--key", sharing.key.absolute()]
    done = subprocess.run([python, "-B", PROGRAM, *task, *names], capture_output=True, text=True)
    if done.returncode != 0:
        raise KormedError((done.stderr.strip().splitlines() or ["the certificate could not be made or read"])[-1])
    told = json.loads(done.stdout)
    for remark in told["remarks"]:
        log.info("%s", remark)
    return Certificate(Path(told["file"]), Path(told["key"]), tuple(told["names"]), told["fingerprint"])
