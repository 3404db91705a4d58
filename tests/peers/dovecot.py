"""A private Dovecot that does nothing but LMTP, on TCP and on a Unix socket, into one maildir per recipient."""

import os

from .peer import Hop, Mailbox
from .scratch import free_port, listens, tail, wait_for

# CRLF line ends are kept in the maildir, so that what lies there is what came.
CONFIGURATION = """\
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
protocols = lmtp
listen = 127.0.0.1
ssl_server_cert_file = {certificate.chain}
ssl_server_key_file = {certificate.key}
ssl_client_ca_file = {certificate.root}
default_process_limit = 20
lmtp_hdr_delivery_address = none
# Addresses beyond ASCII; and no character is forbidden in a name.
mail_utf8_extensions = yes
auth_username_chars =
"""
# CRLF line ends are kept in the maildir, so that what lies there is what came.
MAILBOXES = """\
ssl = required
mail_driver = maildir
mail_path = ~/
mail_save_crlf = yes
mail_fsync = never
first_valid_uid = 1
first_valid_gid = 1
passdb static {{
  fields {{
    nopassword = yes
  }}
}}
userdb static {{
  fields {{
    uid = nobody
    gid = nogroup
    home = {home}/mail/%{{user|domain}}/%{{user|username}}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    listen = 127.0.0.1
    port = {port}
  }}
  unix_listener {home}/lmtp {{
    mode = 0666
  }}
}}
"""


class Dovecot(Mailbox):
    TITLE = "Dovecot LMTP"
    DEBIAN = ("dovecot-core", "dovecot-lmtpd")
    USERS = ("dovecot", "dovenull")
    # The first one to take addresses beyond ASCII.
    RELEASE = 13
    LACKS = {
        "implicit TLS": "LMTP has no port for it, and posthaste knows `lmtp://` only with STARTTLS",
        "AUTH": "Dovecot's LMTP has none; whoever reaches its port or socket may deliver",
    }
    REMARKS = ["No TLS over the Unix socket: posthaste never speaks it there, whatever `tls` says."]
    TRACE = ("Return-Path", "Received")

    def __init__(self, scratch, certificate):
        super().__init__(scratch, certificate)
        self.port = free_port()

    def start(self):
        for directory in "run", "state", "mail":
            os.makedirs(f"{self.home}/{directory}")
        os.chmod(f"{self.home}/mail", 0o777)
        text = (CONFIGURATION + MAILBOXES).format(home=self.home, port=self.port, certificate=self.certificate)
        file = self.scratch.write(f"{self.name}/dovecot.conf", text)
        self.process = self.view.start(["/usr/sbin/dovecot", "-F", "-c", file])
        self.process.log = f"{self.home}/log"
        wait_for("Dovecot", lambda: listens(self.port), self.process)
        return self

    def hops(self):
        return {"TCP": Hop(self.port, lmtp=True), "Unix socket": Hop(0, lmtp=True, unix=f"{self.home}/lmtp")}

    def received(self, recipient):
        user, _, domain = recipient.partition("@")
        new = f"{self.home}/mail/{domain}/{user}/new"
        names = sorted(os.listdir(new)) if os.path.isdir(new) else []
        contents = []
        for name in names:
            with open(os.path.join(new, name), "rb") as file:
                contents.append(file.read())
        return contents

    def log_tail(self):
        return tail(f"{self.home}/log")
