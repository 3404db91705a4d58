"""A scratch directory and the processes in it: both are gone when the script ends, however it ends."""

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PR_SET_PDEATHSIG = 1
MEMORY, MEMORY_BYTES = "/dev/shm", 2 << 30
_handed_out = set()


class Failed(Exception):
    """Something did not work; the text is for the user."""


class Unavailable(Exception):
    """A program is not here and cannot be had; the text says which and why."""


class Scratch:
    """`with Scratch("name") as scratch:` removes the directory and ends every process at the end of the block.

    SIGTERM, SIGHUP and SIGINT end the block like an exception. Should the script itself be killed, the kernel
    terminates its children (PR_SET_PDEATHSIG).
    """

    def __init__(self, name, in_memory=False):
        """`in_memory`: on a disk that syncs for nothing, where the machine has one that is large enough."""
        parent = MEMORY if in_memory and os.path.isdir(MEMORY) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES else None
        self.directory = tempfile.mkdtemp(prefix=f"posthaste-{name}-", dir=parent)
        os.chmod(self.directory, 0o755)  # other servers drop their privileges
        self.processes = []
        self.daemons = []

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            end(process)
        for pid_file in self.daemons:
            end_daemon(pid_file)
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def write(self, name, text):
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name, octets):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(octets)
        return path

    def start(self, arguments, name, stdout=None, **options):
        """Starts a program in a session of its own; what it says goes to NAME.log. Standard output may go elsewhere."""
        log = open(self.path(name + ".log"), "ab")
        with log:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
                **options,
            )
        process.log = self.path(name + ".log")
        self.processes.append(process)
        return process


def die_with_parent():
    """Called in a new process."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end(process, number=signal.SIGTERM, patience=30):
    """Ends a process that Scratch.start started, and what is left of its session. Returns its exit code."""
    if process.returncode is None:
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)  # the session that this process led: only its own children
        except (ProcessLookupError, PermissionError):
            pass
    return process.returncode


def end_daemon(pid_file):
    """Ends a process that went its own way and left its number in a file of ours (in `Scratch.daemons`)."""
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        os.unlink(pid_file)
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        pass  # It never started, or has ended.


def free_port():
    """A port that nobody listens on, below those that the kernel gives to connections by itself (from 32768)."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _handed_out:
            _handed_out.add(port)
            return port


def wait_for(what, condition, process=None, patience=30):
    """Waits until the condition holds; gives up when the process has ended or patience is over."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if process is not None and process.poll() is not None:
            raise Failed(f"{what}: the program ended with {process.returncode}\n{tail(process.log)}")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: nothing after {patience} s" + (f"\n{tail(process.log)}" if process else ""))
        time.sleep(0.01)


def answers(url):
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def listens(port, host="127.0.0.1"):
    """Whether an SMTP server greets there."""
    try:
        with socket.create_connection((host, port), 5) as connection:
            return connection.recv(1) == b"2"
    except OSError:
        return False


def tail(path, lines=20):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])
    except OSError:
        return ""
