"""Our own program, as a user runs it."""

import json
import os
import re
import subprocess
import urllib.request

from .corpus import ROOT
from .scratch import Failed, answers, end, free_port, wait_for


def binary():
    """The release build, made when it is not up to date; $POSTHASTE names another one."""
    named = os.environ.get("POSTHASTE")
    if named:
        return os.path.abspath(named)
    command = ["cargo", "build", "--release", "--locked", "-p", "posthaste", "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=1500)
    if done.returncode:
        raise Failed("posthaste does not build")
    built = (json.loads(line) for line in done.stdout.splitlines())
    return next(message["executable"] for message in built if message.get("executable"))


def add_user(program, file, login):
    """A users file with this account, which may send as anybody."""
    command = [program, "user", "add", "--users", file, "--cram-md5", "--sender", "*", login.user]
    done = subprocess.run(command, input=login.password + "\n", capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Failed(f"posthaste user add: {done.stderr}")


class Posthaste:
    """`posthaste serve` with one TCP listener.

    `listener` is TOML inside the listener's table, `configuration` what follows it.
    """

    def __init__(self, scratch, program, configuration, name="posthaste", listener=""):
        self.scratch, self.program, self.name = scratch, program, name
        self.configuration, self.listener = configuration, listener
        self.port, self.admin_port = free_port(), free_port()
        self.data = scratch.path(name)
        self.process = None
        self._events, self._events_read = [], 0

    def start(self):
        os.makedirs(self.data, exist_ok=True)
        text = (
            f'hostname = "{self.name.replace("_", "-")}.posthaste.test"\ndata_dir = "{self.data}"\n'
            f'postmaster = "postmaster@posthaste.test"\n'
            f'[[listener]]\nbind = "127.0.0.1:{self.port}"\nmax_message_size = "50MiB"\n{self.listener}'
            f'[admin]\nbind = "127.0.0.1:{self.admin_port}"\n{self.configuration}'
        )
        file = self.scratch.write(f"{self.name}.toml", text)
        self.process = self.scratch.start([self.program, "serve", "--config", file], f"{self.name}-serve")
        wait_for("posthaste serve", self._is_ready, self.process)
        return self

    def stop(self):
        code = end(self.process)
        if code:
            raise Failed(f"posthaste serve ended with {code}")

    def _is_ready(self):
        return answers(f"http://127.0.0.1:{self.admin_port}/readyz")

    def events(self):
        """Everything in the event log so far, oldest first."""
        try:
            with open(os.path.join(self.data, "events.jsonl"), "rb") as file:
                file.seek(self._events_read)
                lines = file.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return []
        if lines:
            self._events_read += len(lines) + 1
            self._events += [json.loads(line) for line in lines.split(b"\n")]
        return self._events

    def events_of(self, recipient, kind):
        """The events of one kind for one recipient."""
        return [e for e in self.events() if e["event"] == kind and e.get("recipient") == recipient]

    def exported(self):
        """The text of /metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def metrics(self):
        """Name to the sum over all labels, for counters and gauges; `name{labels}` to the single value."""
        values = {}
        for name, labels, value in re.findall(r"(?m)^(\w+)(\{.*\})? (\S+)", self.exported()):
            values[name] = values.get(name, 0.0) + float(value)
            values[name + labels] = float(value)
        return values
