"""A private Dovecot whose LMTP server keeps nothing: it hands on to the server that its passdb names for the domain."""

from .dovecot import CONFIGURATION, Dovecot
from .peer import Hop, Relay
from .scratch import listens, tail, wait_for

PROXY = """\
ssl = yes
lmtp_proxy = yes
passdb passwd-file {{
  passwd_file_path = {home}/hops
  auth_username_format = %{{user|domain}}
}}
service lmtp {{
  inet_listener lmtp {{
    listen = 127.0.0.1
    port = {port}
  }}
}}
"""
SECURITY = {"none": "", "starttls": "starttls=yes", "implicit": "ssl=yes"}


class Dovecotproxy(Relay):
    TITLE = "Dovecot LMTP proxy"
    DEBIAN, USERS, RELEASE = Dovecot.DEBIAN, Dovecot.USERS, Dovecot.RELEASE
    INTO, OUT = (), ("plain", "STARTTLS", "implicit TLS")
    LMTP = True
    LACKS = {"AUTH": "it has no way to log in where it hands mail to"}

    def entry(self, domain, tls="none", login=None):
        return Hop(self.port, tls, login, lmtp=True)

    def start(self):
        # The sink knows no LMTP.
        protocols = {domain: "smtp" if domain == "control.test" else "lmtp" for domain in self.routes}
        fields = "proxy=yes nopassword=yes host=localhost hostip=127.0.0.1"
        hops = "".join(
            f"{domain}:::::::{fields} port={hop.port} protocol={protocols[domain]} {SECURITY[hop.tls]}\n"
            for domain, hop in self.routes.items()
        )
        self.scratch.write(f"{self.name}/hops", hops)
        text = (CONFIGURATION + PROXY).format(home=self.home, port=self.port, certificate=self.certificate)
        file = self.scratch.write(f"{self.name}/dovecot.conf", text)
        self.process = self.view.start(["/usr/sbin/dovecot", "-F", "-c", file])
        wait_for("Dovecot", lambda: listens(self.port), self.process)
        return self

    def log_tail(self):
        return tail(f"{self.home}/log")
