"""A certificate authority of our own and one certificate from it, made anew at each run."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from .scratch import Failed, Unavailable

NAMES = "DNS:localhost,DNS:mx.posthaste.test,IP:127.0.0.1"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Certificate:
    """PEM files: the chain, its key, both in one, and the root that others have to trust."""

    chain: str
    key: str
    both: str
    root: str


def make(scratch):
    if not shutil.which("openssl"):
        raise Unavailable("openssl is not here; Debian's package openssl has it")
    root, root_key = scratch.path("root.crt"), scratch.path("root.key")
    chain, key, request = scratch.path("mx.crt"), scratch.path("mx.key"), scratch.path("mx.csr")
    extensions = scratch.write("mx.ext", f"subjectAltName={NAMES}\nbasicConstraints=CA:FALSE\n")
    _openssl("req", "-x509", *KEY, "-days", "2", "-subj", "/CN=interop root", "-keyout", root_key, "-out", root)
    _openssl("req", *KEY, "-subj", "/CN=mx.posthaste.test", "-keyout", key, "-out", request)
    issue = ["-CA", root, "-CAkey", root_key, "-CAcreateserial", "-days", "2", "-extfile", extensions]
    _openssl("x509", "-req", "-in", request, *issue, "-out", chain)
    # The key first: Postfix insists.
    with open(key, encoding="ascii") as first, open(chain, encoding="ascii") as second:
        os.chmod(key, 0o644)  # for servers that read it without rights; it is worth nothing
        both = scratch.write("mx.pem", first.read() + second.read())
    return Certificate(chain, key, both, root)


def hashed(password):
    """As crypt(3) has it, SHA-512."""
    return _openssl("passwd", "-6", password).strip()


def _openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Failed(f"openssl {arguments[0]}: {done.stderr}")
    return done.stdout
