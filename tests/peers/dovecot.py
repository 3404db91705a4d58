"""A private Dovecot that does nothing but LMTP, on TCP and on a Unix socket, into one maildir per local part."""

import os

from . import debian
from .scratch import end, free_port, listens, tail, wait_for

PROGRAM = "/usr/sbin/dovecot"
LMTP = "/usr/lib/dovecot/lmtp"

# CRLF line ends are kept in the maildir, so that what lies there is what came.
CONFIGURATION = """\
base_dir = {home}/run
state_dir = {home}/state
instance_name = {name}
log_path = {home}/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:{home}/mail/%n
mail_save_crlf = yes
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
first_valid_gid = 1
default_process_limit = 20
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={home}/mail/%n
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener {socket} {{
    mode = 0666
  }}
}}
"""


class Dovecot:
    def __init__(self, scratch, name="dovecot"):
        self.scratch, self.name = scratch, name
        self.home = scratch.path(name)
        self.port, self.socket = free_port(), f"{self.home}/lmtp"
        self.process = None

    def start(self):
        debian.need_root("Dovecot")
        debian.ensure({PROGRAM: "dovecot-core", LMTP: "dovecot-lmtpd"})
        for directory in "run", "state", "mail":
            os.makedirs(f"{self.home}/{directory}")
        os.chmod(f"{self.home}/mail", 0o777)
        text = CONFIGURATION.format(home=self.home, name=self.name, port=self.port, socket=self.socket)
        file = self.scratch.write(f"{self.name}/dovecot.conf", text)
        self.process = self.scratch.start([PROGRAM, "-F", "-c", file], self.name)
        self.process.log = f"{self.home}/log"
        wait_for("Dovecot", lambda: listens(self.port), self.process)
        return self

    def stop(self):
        end(self.process)

    def log_tail(self):
        return tail(f"{self.home}/log")

    def messages(self, user):
        """The contents of a user's new mail."""
        new = f"{self.home}/mail/{user}/new"
        names = sorted(os.listdir(new)) if os.path.isdir(new) else []
        contents = []
        for name in names:
            with open(os.path.join(new, name), "rb") as file:
                contents.append(file.read())
        return contents
