"""Programs from Debian's packages, installed when they are missing."""

import os
import shutil
import subprocess

from .scratch import Failed

POLICY = "/usr/sbin/policy-rc.d"
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": SEARCH, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "HOME": "/root"}
SKIPPED = 77  # exit code of a script that had to skip


class Unavailable(Exception):
    """The program is not here and cannot be installed; the text says why."""


def ensure(package_of_program):
    """`{"postfix": "postfix", …}`: program (name or absolute path) to package. Installs what is missing."""
    missing = sorted({pkg for prog, pkg in package_of_program.items() if not shutil.which(prog, path=SEARCH)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Unavailable(f"{' '.join(missing)}: not installed, and this is no Debian")
    if os.geteuid() != 0:
        raise Unavailable(f"{' '.join(missing)}: not installed, and only root can install packages")
    _install(missing)


def need_root(what):
    if os.geteuid() != 0:
        raise Unavailable(f"{what} must be started by root")


def _install(packages):
    print(f"installing {' '.join(packages)}", flush=True)
    # Without a policy Debian would start the packaged server at once. Ours are private instances; no other is wanted.
    guard = not os.path.exists(POLICY)
    try:
        if guard:
            with open(POLICY, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\nexit 101\n")
            os.chmod(POLICY, 0o755)
        _apt("update", patience=180, may_fail=True)
        _apt("install", "-y", "--no-install-recommends", *packages, patience=300)
    finally:
        if guard:
            os.unlink(POLICY)


def _apt(*arguments, patience, may_fail=False):
    command = ["apt-get", "-q", *arguments]
    try:
        done = subprocess.run(
            command, env={**os.environ, **ENVIRONMENT}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command)}: not done after {patience} s") from None
    if done.returncode and not may_fail:
        raise Unavailable(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-1000:]}")


def self_signed(scratch, name):
    """A certificate and its key for NAME; returns both paths."""
    key, certificate = scratch.path(f"{name}.key"), scratch.path(f"{name}.crt")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    done = subprocess.run(
        [*command, "-keyout", key, "-out", certificate], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise Failed(f"openssl: {done.stderr}")
    return certificate, key
