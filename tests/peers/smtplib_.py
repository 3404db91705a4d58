"""Python's own smtplib, in this process."""

import smtplib
import ssl
import sys

from .peer import Client


class Smtplib(Client):
    TITLE = "Python smtplib"

    def version(self):
        return sys.version.split()[0]

    def send(self, hop, envelopes):
        with self._connect(hop) as server:
            for sender, recipients, content in envelopes:
                options = ["BODY=8BITMIME"]
                if not all(address.isascii() for address in [sender, *recipients]):
                    options.append("SMTPUTF8")
                    server.command_encoding = "utf-8"
                server.sendmail(sender, recipients, content, options)

    def _connect(self, hop):
        context = ssl.create_default_context(cafile=self.certificate.root)
        if hop.tls == "implicit":
            server = smtplib.SMTP_SSL("localhost", hop.port, "client.test", timeout=60, context=context)
        else:
            server = smtplib.SMTP("localhost", hop.port, "client.test", timeout=60)
        if hop.tls == "starttls":
            server.starttls(context=context)
        if hop.login:
            server.login(hop.login.user, hop.login.password)
        return server
