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
    option smtpchk EHLO haproxy.posthaste.test
    server next 127.0.0.1:{hop.port}{server}
"""
CHECK = " check inter 100ms rise 1 fall 1"


class Haproxy(Relay):
    TITLE = "HAProxy"
    DEBIAN = ("haproxy",)
    TRACE = ()
    INTO = ("plain", "implicit TLS")
    OUT = ("plain", "STARTTLS", "implicit TLS", "AUTH")
    TELLS = dict.fromkeys(OUT, 'proxy_protocol = ["127.0.0.1/32"]')
    REMARKS = [
        "It tells posthaste the client's address: plain with the PROXY protocol's version 1, with TLS version 2.",
        "It asks whether posthaste is well (`option smtpchk`, with a PROXY header of its own), and would carry nothing otherwise.",
    ]
    LACKS = {"AUTH into it": "it knows no SMTP; the login goes through it to the server behind", "STARTTLS into it": "it knows no SMTP; TLS that it takes off has to begin with the first octet"}

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate, routes)
        self.ports = {domain: free_port() for domain in routes}

    def entry(self, domain, tls="none", login=None):
        # What posthaste secures behind it is secured by the client in front of it: it only passes it on.
        hop = self.routes[domain]
        if self._is_checked(domain):
            wait_for(f"HAProxy: {domain} is well", lambda: listens(self.ports[domain]), self.process)
        return Hop(self.ports[domain], tls if tls != "none" else hop.tls, login or hop.login)

    def start(self):
        text = CONFIGURATION
        for domain, hop in self.routes.items():
            tls = f" ssl crt {self.certificate.both}" if domain == "to-implicit-tls.test" else ""
            server = self._proxy(domain) + (CHECK if self._is_checked(domain) else "")
            text += FRONTEND.format(domain=domain, port=self.ports[domain], hop=hop, tls=tls, server=server)
        file = self.scratch.write(f"{self.name}/haproxy.cfg", text)
        self.process = self.view.start(["haproxy", "-db", "-f", file])
        wait_for("HAProxy", lambda: listens(self.ports["control.test"]), self.process)
        return self

    def _is_checked(self, domain):
        """Not where the client in front of it begins with TLS. Until posthaste is started, the check finds nothing."""
        return domain.startswith("from-") and self.routes[domain].tls != "implicit"

    @staticmethod
    def _proxy(domain):
        if not domain.startswith("from-"):
            return ""
        return " send-proxy" if domain == "from-plain.test" else " send-proxy-v2"
