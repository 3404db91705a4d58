"""s-nail, the successor of mailx."""

from urllib.parse import quote

from .composer import Composer


class Snail(Composer):
    TITLE = "s-nail"
    DEBIAN = ("s-nail",)
    LACKS = {"SMTPUTF8": "s-nail knows IDNA, which is for domains; a local part has to be ASCII"}
    SCHEME = {"none": "smtp", "starttls": "smtp", "implicit": "smtps"}

    def compose(self, hop, sender, recipients, file):
        login = f"{quote(hop.login.user)}:{quote(hop.login.password, safe='')}@" if hop.login else ""
        settings = {
            "v15-compat": "yes",
            "mta": f"{self.SCHEME[hop.tls]}://{login}localhost:{hop.port}",
            "smtp-auth": "plain" if hop.login else "none",
            "smtp-hostname": "client.test",
            "hostname": "client.test",
            "from": sender,
            "tls-verify": "strict",
            "tls-ca-file": self.certificate.root,
            "tls-ca-no-defaults": "",
        }
        if hop.tls == "starttls":
            settings["smtp-use-starttls"] = ""
        command = ["s-nail", "-:/", "-s", "attached"]
        for name, value in settings.items():
            command += ["-S", f"{name}={value}" if value else name]
        command += ["-a", file, *recipients]
        self.view.run(command, input=b"The message is attached.\n")
