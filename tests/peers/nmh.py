"""nmh, the new Message Handling system."""

import os

from .composer import ATTACHED, Composer

DRAFT = """\
From: {sender}
To: {recipients}
Subject: attached
--------
The message is attached.
#application/gzip; name="{name}" {{attachment; filename="{name}"}} *b64 {file}
"""


class Nmh(Composer):
    TITLE = "nmh"
    DEBIAN = ("nmh", "libsasl2-modules")
    TLS = {"none": ["-notls"], "starttls": ["-tls", "-certverify"], "implicit": ["-initialtls", "-certverify"]}

    def compose(self, hop, sender, recipients, file):
        home = os.path.dirname(file)
        os.mkdir(f"{home}/Mail")
        name = os.path.relpath(home, self.scratch.directory)
        self.scratch.write(f"{name}/.mh_profile", f"Path: {home}/Mail\ncredentials: file:{home}/netrc\n")
        text = DRAFT.format(sender=sender, recipients=", ".join(recipients), file=file, name=ATTACHED)
        draft = self.scratch.write(f"{name}/draft", text)
        command = ["/usr/bin/mh/send", "-server", "localhost", "-port", str(hop.port), "-client", "client.test"]
        command += ["-mts", "smtp", "-nopush", *self.TLS[hop.tls]]
        if hop.login:
            words = f"machine localhost login {hop.login.user} password {hop.login.password}\n"
            os.chmod(self.scratch.write(f"{name}/netrc", words), 0o600)
            command += ["-sasl", "-saslmech", "PLAIN", "-user", hop.login.user]
        environment = {**os.environ, "HOME": home, "MH": f"{home}/.mh_profile", "PATH": "/usr/bin/mh:/usr/bin:/bin"}
        # An address beyond ASCII needs a locale of UTF-8, and fields that are not encoded: then it asks for SMTPUTF8.
        environment["LC_ALL"] = "C.UTF-8"
        environment["SSL_CERT_FILE"] = self.certificate.root
        for step in ["/usr/bin/mh/mhbuild", "-headerencoding", "utf-8", draft], [*command, draft]:
            self.view.run(step, env=environment, cwd=home)
