"""The sink, the same one for every system; and Postfix's own, as a check on ours."""

import json
import tempfile

from peers import postfix
from peers.scratch import Failed, end, listens, tail, wait_for

PROBES = 1  # connections by which we learn that a sink listens
UNPROVEN = 70  # its exit code where something was lost, doubled or corrupted; the report says how much


class Sink:
    """`posthaste sink`: proves by number what came, and says when, how late, and over how many connections."""

    def __init__(self, scratch, program, port, expect, *options):
        """`expect`: so many recipients, numbered from 0, should come. More `options` as `posthaste sink` has them."""
        self.output = tempfile.TemporaryFile(dir=scratch.directory)
        command = [program, "sink", "--json", "--bind", f"127.0.0.1:{port}", "--verify", "--expect", str(expect)]
        command += options
        self.process = scratch.start(command, f"sink-{port}", stdout=self.output)
        wait_for("posthaste sink", lambda: listens(port), self.process)

    def finish(self):
        """Stops it; its report."""
        code = end(self.process)
        self.output.seek(0)
        text = self.output.read().decode()
        self.output.close()
        if code not in (0, UNPROVEN) or not text:
            raise Failed(f"posthaste sink ended with {code}: {tail(self.process.log)}")
        return json.loads(text)


class SmtpSink:
    """Postfix's smtp-sink."""

    def __init__(self, scratch, port):
        command = ["/usr/sbin/smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "1000"]
        self.process = postfix.view(scratch, f"smtp-sink-{port}").start(command)
        wait_for("smtp-sink", lambda: listens(port), self.process)

    def finish(self):
        end(self.process)
