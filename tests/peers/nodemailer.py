"""Nodemailer, the mail client of Node.js; see nodemailer.js."""

import json
import os
import subprocess

from . import packages
from .peer import Client
from .scratch import Failed

VERSION = "10.6.1"
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nodemailer.js")


class Nodemailer(Client):
    TITLE = "Nodemailer"

    def __init__(self, scratch, certificate):
        super().__init__(scratch, certificate)
        self.modules = packages.npm([f"nodemailer@{VERSION}"])

    def version(self):
        return VERSION

    def send(self, hop, envelopes):
        jobs = []
        for number, (sender, recipients, content) in enumerate(envelopes):
            file = self.scratch.write_bytes(f"{self.name}/{hop.port}-{number}", content)
            jobs.append({"from": sender, "to": recipients, "file": file})
        login = {"user": hop.login.user, "password": hop.login.password} if hop.login else {}
        told = {"port": hop.port, "tls": hop.tls, "ca": self.certificate.root, **login}
        done = subprocess.run(
            ["node", SCRIPT],
            input=json.dumps({"hop": told, "envelopes": jobs}),
            env={**os.environ, "NODE_PATH": self.modules},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise Failed(f"node: {done.stderr[-2000:]}")
