"""Prometheus from Debian's package, unpacked beside the system: nothing is installed, and no service is started."""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import deployed
from peers import packages
from peers.scratch import Failed, answers, free_port, wait_for

SCRAPE_SECONDS = 1


def program(name):
    """`prometheus` or `promtool`."""
    root, _version = packages.unpacked(["prometheus"])
    return os.path.join(root, "usr", "bin", name) if root else shutil.which(name)


def promtool(*arguments):
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Failed(f"promtool {' '.join(arguments)}:\n{done.stdout}{done.stderr}")


class Prometheus:
    """With the configuration in deploy/, but for what it scrapes and how often."""

    def __init__(self, scratch, target):
        self.scratch, self.target, self.port = scratch, target, free_port()

    def start(self):
        text = deployed.replaced(deployed.read("prometheus.yml"), "127.0.0.1:8025", self.target)
        text = deployed.replaced(text, "interval: 10s", f"interval: {SCRAPE_SECONDS}s")
        self.scratch.write("prometheus/alerts.yml", deployed.read("alerts.yml"))
        arguments = [
            f"--config.file={self.scratch.write('prometheus/prometheus.yml', text)}",
            f"--storage.tsdb.path={self.scratch.path('prometheus', 'data')}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        process = self.scratch.start([program("prometheus"), *arguments], "prometheus")
        wait_for("prometheus", lambda: answers(f"http://127.0.0.1:{self.port}/-/ready"), process)
        return self

    def get(self, what, **parameters):
        """The data of its answer. What it cannot read or evaluate is a failure."""
        query = urllib.parse.urlencode({name.replace("match", "match[]"): value for name, value in parameters.items()})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{what}?{query}", timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise Failed(f"{parameters}: {error.read().decode()}") from None

    def values(self, query, start, end):
        """Its series over a time, as Grafana asks for them: labels and numbers."""
        data = self.get("query_range", query=query, start=start, end=end, step=SCRAPE_SECONDS)
        return [(series["metric"], [float(value) for _at, value in series["values"]]) for series in data["result"]]

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]
