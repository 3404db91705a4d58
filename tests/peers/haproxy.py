"""A private HAProxy: each way through it is a frontend of its own. It carries octets and knows no SMTP.

In front of posthaste it says whose connection it is, with the PROXY protocol; behind posthaste it takes TLS off.
"""

from .peer import Hop, Relay
from .scratch import free_port, listens, wait_for

CONFIGURATION = """\
global
    maxconn 1000
    stats timeout 30s
defaults
    mode tcp
    timeout connect 10s
    timeout client 5m
    timeout server 5m
"""
FRONTEND = """\
listen {domain}
    bind 127.0.0.1:{port}{tls}
    server next 127.0.0.1:{hop.port}{proxy}
"""


class Haproxy(Relay):
    TITLE = "HAProxy"
    DEBIAN = ("haproxy",)
    TRACE = ()
    INTO = ("plain", "implicit TLS")
    OUT = ("plain", "STARTTLS", "implicit TLS", "AUTH")
    TELLS = dict.fromkeys(OUT, 'proxy_protocol = ["127.0.0.1/32"]')
    REMARKS = ["It tells posthaste the client's address: plain with the PROXY protocol's version 1, with TLS version 2."]
    LACKS = {"AUTH into it": "it knows no SMTP; the login goes through it to the server behind", "STARTTLS into it": "it knows no SMTP; TLS that it takes off has to begin with the first octet"}

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate, routes)
        self.ports = {domain: free_port() for domain in routes}

    def entry(self, domain, tls="none", login=None):
        # What posthaste secures behind it is secured by the client in front of it: it only passes it on.
        hop = self.routes[domain]
        return Hop(self.ports[domain], tls if tls != "none" else hop.tls, login or hop.login)

    def start(self):
        text = CONFIGURATION
        for domain, hop in self.routes.items():
            tls = f" ssl crt {self.certificate.both}" if domain == "to-implicit-tls.test" else ""
            text += FRONTEND.format(domain=domain, port=self.ports[domain], hop=hop, tls=tls, proxy=self._proxy(domain))
        file = self.scratch.write(f"{self.name}/haproxy.cfg", text)
        self.process = self.view.start(["haproxy", "-db", "-f", file])
        wait_for("HAProxy", lambda: listens(self.ports["control.test"]), self.process)
        return self

    @staticmethod
    def _proxy(domain):
        if not domain.startswith("from-"):
            return ""
        return " send-proxy" if domain == "from-plain.test" else " send-proxy-v2"
