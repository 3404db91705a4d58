"""A private Haraka, from npm; see haraka.js for where it sends mail."""

import json
import os
import shutil

from . import corpus, packages
from .peer import LOGIN, Relay
from .scratch import listens, wait_for

VERSION = "3.3.4"
PLUGIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "haraka.js")
CONNECTION = """\
[main]
smtputf8=true
[haproxy]
hosts[] =
[headers]
max_lines=10000
max_received=100
[max]
bytes=60000000
mime_parts=10000
line_length=512
data_line_length=1000000
[message]
helo=Haraka
close=bye
[uuid]
banner_chars=6
deny_chars=0
"""
SETTINGS = {
    "me": "haraka.posthaste.test\n",
    "databytes": "60000000\n",
    "plugins": "tls\nauth/flat_file\ninterop\n",
    "host_list": "",
    "outbound.ini": "always_split=false\nconcurrency_max=10\nenable_tls=true\ntemp_fail_intervals=5s\nlocal_mx_ok=true\nreceived_header=disabled\n",
    "connection.ini": CONNECTION,
    "log.ini": "level=notice\ntimestamps=true\n",
}


class Haraka(Relay):
    TITLE = "Haraka"
    INTO = ("plain", "STARTTLS", "implicit TLS", "AUTH")
    OUT = ("plain", "STARTTLS", "AUTH")
    CHANGES = (
        "It ends a header section with Message-Id and Date where these are missing (the test takes them off), and octets of "
        "a header that are no UTF-8 become U+FFFD."
    )
    TRACE_OF_LOGIN = ("Authentication-Results",)
    LACKS = {"implicit TLS from it": "its client knows STARTTLS only"}

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate, routes)
        self.modules = packages.npm([f"Haraka@{VERSION}"])

    def version(self):
        return VERSION

    def carried(self, content):
        return corpus.without_added(content, "haraka.posthaste.test")

    def start(self):
        config = f"{self.name}/config"
        for name, text in SETTINGS.items():
            self.scratch.write(f"{config}/{name}", text)
        listen = f"127.0.0.1:{self.port},127.0.0.1:{self.tls_port}"
        self.scratch.write(f"{config}/smtp.ini", f"listen={listen}\nsmtps_port={self.tls_port}\nnodes=0\ndaemonize=false\n")
        pair = f"key={self.certificate.key}\ncert={self.certificate.chain}\n"
        self.scratch.write(f"{config}/tls.ini", pair + "[outbound]\nrejectUnauthorized=true\n")
        self.scratch.write(f"{config}/auth_flat_file.ini", f"[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\n[users]\n{LOGIN.user}={LOGIN.password}\n")
        hops = {domain: self._exchanger(hop) for domain, hop in self.routes.items()}
        self.scratch.write(f"{config}/interop.json", json.dumps(hops))
        os.makedirs(f"{self.home}/plugins")
        shutil.copyfile(PLUGIN, f"{self.home}/plugins/interop.js")
        command = ["node", f"{self.modules}/Haraka/bin/haraka", "-c", self.home]
        environment = {**os.environ, "NODE_EXTRA_CA_CERTS": self.certificate.root}
        self.process = self.scratch.start(command, self.name, env=environment)
        wait_for("Haraka", lambda: listens(self.port), self.process)
        return self

    @staticmethod
    def _exchanger(hop):
        login = {"auth_user": hop.login.user, "auth_pass": hop.login.password, "auth_type": "plain"} if hop.login else {}
        return {"exchange": "127.0.0.1", "port": hop.port, "priority": 0, **login}
