"""Certificates for sharing: `certificate.py make --folder HOME NAME …` or `check --certificate PEM --key PEM NAME …`.

Run by annotation/sharing.py, in Argilla's environment because that has cryptography. Prints one JSON object: file and
key (paths), names (what the server is reached by, those asked for first), fingerprint (SHA-256) and remarks
(sentences). What a user can put right is one sentence on standard error, and exit code 2.

`make` keeps certificate.pem and certificate-key.pem in the folder and makes them anew only when it must: browsers and
clinicians have to be told of each new one.
"""

import argparse
import ipaddress
import json
import os
import re
import socket
import stat
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
CLOCK_MARGIN = timedelta(days=1)  # the browsers' clocks may be behind ours
LOOPBACK = ("localhost", "127.0.0.1")


class Unusable(Exception):
    """One sentence."""


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for name, options in {"make": ["--folder"], "check": ["--certificate", "--key"]}.items():
        command = commands.add_parser(name)
        for option in options:
            command.add_argument(option, type=Path, required=True)
        command.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    os.umask(0o077)
    try:
        if arguments.command == "make":
            told = make(arguments.folder, arguments.names)
        else:
            told = check(arguments.certificate, arguments.key, arguments.names)
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    json.dump(told, sys.stdout)


def make(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The folder's own certificate: the one that is there where it still does, else a new self-signed one."""
    file, key_file = folder / "certificate.pem", folder / "certificate-key.pem"
    wanted = list(dict.fromkeys([*names, *_own_names()]))
    reason = _why_anew(file, key_file, [*wanted, *LOOPBACK])
    remarks = []
    if reason:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key, [*wanted, *LOOPBACK])
        pem = serialization.Encoding.PEM
        plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        try:
            _write(key_file, plain)
            _write(file, certificate.public_bytes(pem))
        except OSError as error:
            raise Unusable(f"{folder}: the certificate cannot be written: {error.strerror}") from None
        remarks.append(
            f"made a certificate of our own, good for a year ({reason}): browsers ask once whether to trust it"
        )
    certificate = _read_certificate(file)
    return _told(file, key_file, certificate, wanted, remarks)


def check(file: Path, key_file: Path, names: Sequence[str]) -> dict[str, Any]:
    """The user's own certificate, if a server can use it and a browser would take it."""
    certificate = _read_certificate(file)
    if _read_key(key_file).public_key() != certificate.public_key():
        raise Unusable(
            f"{key_file}: this key does not belong to the certificate {file}; name the two that belong together"
        )
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        raise Unusable(f"{file}: this certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}; get a new one")
    if certificate.not_valid_before_utc > now:
        day = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
        raise Unusable(f"{file}: this certificate is good only from {day} on; is this machine's clock right?")
    held = _names(certificate)
    if missing := [name for name in names if not _covers(held, name)]:
        raise Unusable(f"{file}: this certificate is for {', '.join(held) or 'no name'}, not for {', '.join(missing)}")
    usable = list(dict.fromkeys([*names, *(name for name in held if "*" not in name and ":" not in name)]))
    if not usable:
        raise Unusable(f"{file}: this certificate names no single host; say with --name which one people will type")
    remarks = []
    if certificate.not_valid_after_utc - now < RENEW_BEFORE:
        remarks.append(f"{file}: this certificate is good only until {certificate.not_valid_after_utc:%Y-%m-%d}")
    if key_file.stat().st_mode & stat.S_IROTH:
        remarks.append(f"{key_file}: everybody on this machine can read this key; chmod 600 it")
    return _told(file, key_file, certificate, usable, remarks)


def _told(
    file: Path, key_file: Path, certificate: x509.Certificate, names: list[str], remarks: list[str]
) -> dict[str, Any]:
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    paths = {"file": str(file), "key": str(key_file)}
    return {**paths, "names": names, "fingerprint": fingerprint, "remarks": remarks}


def _own_names() -> list[str]:
    """This machine's host name, where one can type it, and its IPv4 addresses on networks."""
    name = socket.gethostname().lower()
    addresses = [
        one.address for found in psutil.net_if_addrs().values() for one in found if one.family == socket.AF_INET
    ]
    typed = [name] if re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name) and name != "localhost" else []
    return [*typed, *(address for address in addresses if not ipaddress.ip_address(address).is_loopback)]


def _why_anew(file: Path, key_file: Path, wanted: Sequence[str]) -> str | None:
    """None where the certificate that is there still does."""
    if not file.exists() or not key_file.exists():
        return "there was none"
    try:
        certificate = _read_certificate(file)
        key = _read_key(key_file)
    except Unusable:
        return "the old one cannot be read"
    if key.public_key() != certificate.public_key():
        return "the old one and its key do not belong together"
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE:
        days = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        return "the old one is good from {:%Y-%m-%d} to {:%Y-%m-%d}".format(*days)
    held = _names(certificate)
    missing = [name for name in wanted if not _covers(held, name)]
    return f"the old one lacks {', '.join(missing)}" if missing else None


def _self_signed(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> x509.Certificate:
    """For these names only: not an authority, so that trusting it trusts nothing else."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kormed annotation")])
    now, public = datetime.now(UTC), key.public_key()
    others = "content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    usage = dict.fromkeys(f"{others} encipher_only decipher_only".split(), False)
    builder = x509.CertificateBuilder(subject, subject, public, x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCK_MARGIN).not_valid_after(now + LIFE)
    for extension, critical in (
        (x509.SubjectAlternativeName([_general(name) for name in names]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(digital_signature=True, **usage), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
    ):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that browsers look at; the common name is not among them."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
    return [*names, *map(str, found.get_values_for_type(x509.IPAddress))]


def _covers(held: Sequence[str], name: str) -> bool:
    return name in held or f"*.{name.partition('.')[2]}" in held


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0]  # the server's own first, then its issuers
    except OSError as error:
        raise Unusable(f"{file}: this certificate cannot be read: {error.strerror}") from None
    except ValueError:
        raise Unusable(f"{file}: a certificate in PEM form was wanted (-----BEGIN CERTIFICATE-----)") from None


def _read_key(file: Path) -> Any:
    try:
        return serialization.load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise Unusable(f"{file}: this key cannot be read: {error.strerror}") from None
    except TypeError:  # cryptography's way to say that a passphrase is wanted
        raise Unusable(
            f"{file}: this key has a passphrase, which a server that starts by itself cannot type; "
            f"`openssl pkey -in {file} -out key.pem` writes one without (keep it private)"
        ) from None
    except (ValueError, UnsupportedAlgorithm):  # their texts may hold parts of the file
        raise Unusable(f"{file}: a private key in PEM form was wanted (-----BEGIN PRIVATE KEY-----)") from None


def _write(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_bytes(content)  # private by our umask
    temporary.replace(file)


if __name__ == "__main__":
    main()
