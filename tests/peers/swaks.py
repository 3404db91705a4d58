"""swaks, the Swiss army knife for SMTP."""

from . import smtp
from .peer import Client


class Swaks(Client):
    TITLE = "swaks"
    DEBIAN = ("swaks", "libnet-ssleay-perl", "libauthen-sasl-perl")
    LACKS = {"SMTPUTF8": "swaks has no way to say SMTPUTF8 to MAIL"}
    TLS = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}

    def submit(self, hop, sender, recipients, content):
        command = ["swaks", "--server", "localhost", "--port", str(hop.port), "--helo", "client.test", "--silent", "2"]
        command += ["--from", sender, "--to", ",".join(recipients), "--no-data-fixup", "--data", "-"]
        if hop.tls != "none":
            command += [*self.TLS[hop.tls], "--tls-verify", "--tls-ca-path", self.certificate.root]
        if hop.login:
            command += ["--auth", "PLAIN", "--auth-user", hop.login.user, "--auth-password", hop.login.password]
        # Without --no-data-fixup a `\n` in the text is a line end. With it, the dots are ours to write.
        self.view.run(command, input=smtp.stuffed(content))
