"""msmtp: the message on standard input, as it is."""

from .peer import Client


class Msmtp(Client):
    TITLE = "msmtp"
    DEBIAN = ("msmtp",)
    # Up to 1.8.27 it sent addresses as they are given, without the SMTPUTF8 parameter.
    RELEASE = 13
    # Nothing of the header is added or taken away.
    FLAGS = ["--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off", "--remove-bcc-headers=off"]
    FLAGS += ["--domain=client.test"]
    TLS = {
        "none": ["--tls=off"],
        "starttls": ["--tls=on", "--tls-starttls=on"],
        "implicit": ["--tls=on", "--tls-starttls=off"],
    }

    def submit(self, hop, sender, recipients, content):
        command = ["msmtp", "--host=localhost", f"--port={hop.port}", f"--from={sender}", *self.FLAGS]
        command += [*self.TLS[hop.tls], f"--tls-trust-file={self.certificate.root}"]
        if hop.login:
            words = f"echo '{hop.login.password}'"
            command += ["--auth=plain", f"--user={hop.login.user}", f"--passwordeval={words}"]
        # It reads lines as Unix has them.
        self.view.run([*command, "--", *recipients], input=content.replace(b"\r\n", b"\n"))
