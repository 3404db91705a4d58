"""fetchmail as a customer of ODMR: it logs in, asks for what waits, and carries it to a server that stands beside it."""

import os
import socket

from .peer import Customer

# `fetchdomains` is what it says to ATRN.
CONFIGURATION = """\
poll localhost service {hop.port} protocol ODMR {tunnel}
    username "{hop.login.user}" password "{hop.login.password}"
    fetchdomains {domain}
    smtphost 127.0.0.1/{port}
"""
TUNNEL = "openssl s_client -quiet -verify_return_error -CAfile {root} -connect %h:%p"


class Fetchmail(Customer):
    TITLE = "fetchmail"
    DEBIAN = ("fetchmail",)
    MODES = ("plain", "implicit TLS")
    LACKS = {
        "STARTTLS": "its ODMR does not know it",
        "TLS of its own (`ssl`)": "it waits at the socket for what TLS has already read, and stands still behind the first line "
        "of a group; `plugin`, a program that does TLS for it, goes well",
    }
    REMARKS = ["It logs in with CRAM-MD5, the only mechanism that its ODMR knows, with TLS and without."]

    def start(self):
        # It does nothing without a full name for the machine.
        self.view.write("hosts", f"127.0.0.1 localhost\n127.0.0.1 fetchmail.posthaste.test {socket.gethostname()}\n")
        return self

    def fetch(self, hop, domain, port):
        tunnel = f'plugin "{TUNNEL.format(root=self.certificate.root)}"' if hop.tls == "implicit" else ""
        text = CONFIGURATION.format(hop=hop, domain=domain, port=port, tunnel=tunnel)
        file = self.scratch.write(f"{self.name}/{domain}", text)
        os.chmod(file, 0o600)
        environment = {**os.environ, "HOME": self.home, "FETCHMAILHOME": self.home}
        self.view.run(["fetchmail", "--verbose", "-f", file, "--pidfile", f"{self.home}/pid"], env=environment)
