"""A private OpenSMTPD: its queue lies in the view's /var, which is memory."""

import os
import shutil

from . import certificate, corpus
from .peer import LOGIN, Relay
from .scratch import listens, wait_for

CONFIGURATION = """\
pki here cert "{chain}"
pki here key "{key}"
smtp max-message-size 60M
smtp limit max-mails 100000
mta limit conn-delay-route 0
mta limit conn-delay-relay 0
mta limit reconn-delay-route 0
table credentials file:{home}/credentials
table secrets file:{home}/secrets
listen on 127.0.0.1 port {port} tls pki here auth-optional <credentials> hostname opensmtpd.posthaste.test
listen on 127.0.0.1 port {tls_port} smtps pki here auth-optional <credentials> hostname opensmtpd.posthaste.test
"""
PREPARE = """\
mkdir -p /var/spool/smtpd /var/lib/opensmtpd/empty
chmod 711 /var/spool/smtpd
mkdir -p /var/spool/smtpd/offline
chown 0:{queue} /var/spool/smtpd/offline
chmod 770 /var/spool/smtpd/offline
exec smtpd -d -f {file}
"""
SCHEME = {"none": "smtp+notls", "starttls": "smtp+tls", "implicit": "smtps"}


class Opensmtpd(Relay):
    TITLE = "OpenSMTPD"
    DEBIAN = ("opensmtpd",)
    USERS = ("opensmtpd", "opensmtpq")
    RELEASE = 13
    INTO = OUT = ("plain", "STARTTLS", "implicit TLS", "AUTH")
    LACKS = {
        "SMTPUTF8": "OpenSMTPD does not know it",
    }
    CHANGES = (
        "It ends a header section with Date and Message-ID where these are missing (the test takes them off), gives addresses "
        "without a domain its own, and loses what stands behind a NUL in a line."
    )
    def carried(self, content):
        return corpus.without_added(content, "opensmtpd.posthaste.test")

    def start(self):
        # It reads no key that others could read.
        key = self.scratch.write(f"{self.name}/mx.key", "")
        shutil.copyfile(self.certificate.key, key)
        os.chmod(key, 0o600)
        # Whom its client trusts.
        with open(self.certificate.root, encoding="ascii") as file:
            self.view.write("ssl/certs/ca-certificates.crt", file.read())
        hashed = certificate.hashed(LOGIN.password)
        self.scratch.write(f"{self.name}/credentials", f"{LOGIN.user} {hashed}\n")
        self.scratch.write(f"{self.name}/secrets", f"label {LOGIN.user}:{LOGIN.password}\n")
        text = CONFIGURATION.format(
            chain=self.certificate.chain, key=key, home=self.home, port=self.port, tls_port=self.tls_port
        )
        for number, (domain, hop) in enumerate(self.routes.items()):
            label, auth = ("label@", " auth <secrets>") if hop.login else ("", "")
            via = f"{SCHEME[hop.tls]}://{label}127.0.0.1:{hop.port}"
            text += f'action "hop{number}" relay host "{via}"{auth}\n'
            text += f'match from any for domain "{domain}" action "hop{number}"\n'
        file = self.scratch.write(f"{self.name}/smtpd.conf", text)
        script = PREPARE.format(queue=self.view.ids["opensmtpq"], file=file)
        self.process = self.view.start(["sh", "-c", script])
        wait_for("OpenSMTPD", lambda: listens(self.port), self.process)
        return self
