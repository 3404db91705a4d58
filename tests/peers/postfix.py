"""A private Postfix: its own configuration, queue and data, started as `master`, never through the system's scripts."""

import os
import shutil

from .peer import Hop, Relay
from .scratch import end, free_port, listens, tail, wait_for
from .view import View

MASTER = "/usr/lib/postfix/sbin/master"
DEBIAN = ("postfix",)
USERS, GROUPS = ("postfix",), ("postdrop",)
QUEUES = "active bounce corrupt defer deferred flush hold incoming saved trace".split()

# One line a service, as Debian ships them, nothing chrooted. `{…}` is filled in by `Instance`.
SERVICES = """\
pickup    unix  n  -  n  60   1  pickup
cleanup   unix  n  -  n  -    0  cleanup
qmgr      unix  n  -  n  300  1  qmgr
tlsmgr    unix  -  -  n  1000?  1  tlsmgr
rewrite   unix  -  -  n  -    -  trivial-rewrite
bounce    unix  -  -  n  -    0  bounce
defer     unix  -  -  n  -    0  bounce
trace     unix  -  -  n  -    0  bounce
verify    unix  -  -  n  -    1  verify
flush     unix  n  -  n  1000?  0  flush
proxymap  unix  -  -  n  -    -  proxymap
proxywrite unix -  -  n  -    1  proxymap
smtp      unix  -  -  n  -    -  smtp
relay     unix  -  -  n  -    -  smtp
showq     unix  n  -  n  -    -  showq
error     unix  -  -  n  -    -  error
retry     unix  -  -  n  -    -  error
discard   unix  -  -  n  -    -  discard
anvil     unix  -  -  n  -    1  anvil
scache    unix  -  -  n  -    1  scache
postlog   unix-dgram n  -  n  -    1  postlogd
"""

# What every instance has: nothing local, nothing of the system's, no question to DNS or to the system's tables.
MAIN = {
    "compatibility_level": "3.6",
    "inet_interfaces": "loopback-only",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "mydestination": "",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "local_transport": "error:no local delivery",
    "append_dot_mydomain": "no",
    "biff": "no",
    "smtpd_recipient_restrictions": "permit_mynetworks, reject",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_peername_lookup": "no",
    "smtp_host_lookup": "native",
    "smtp_dns_support_level": "disabled",
    "address_verify_map": "",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
    "message_size_limit": "52428800",
    "mailbox_size_limit": "0",
}

# A relay that leaves alone what it can be told to leave alone.
UNCHANGED = {
    "local_header_rewrite_clients": "",
    "always_add_missing_headers": "no",
    "disable_mime_input_processing": "yes",
    "disable_mime_output_conversion": "yes",
    "smtp_line_length_limit": "0",
    "header_size_limit": "10485760",
    "message_drop_headers": "",
    "enable_original_recipient": "no",
    "in_flow_delay": "0",
}


def view(scratch, name):
    """Where Postfix's programs can be run."""
    return View(scratch, name, DEBIAN, USERS, GROUPS)


class Instance:
    """`main` adds to or overrides MAIN; `listeners` maps a port to the options of its smtpd."""

    def __init__(self, scratch, name, main, listeners=None, process_limit=100, own_view=None):
        self.scratch, self.name = scratch, name
        self.view = own_view or view(scratch, name)
        self.port = free_port()
        self.listeners = {self.port: {}} if listeners is None else listeners
        self.home = scratch.path(name)
        self.main = {
            **MAIN,
            "myhostname": f"{name}.posthaste.test",
            "mydomain": "posthaste.test",
            "myorigin": f"{name}.posthaste.test",
            "queue_directory": f"{self.home}/spool",
            "data_directory": f"{self.home}/data",
            "config_directory": f"{self.home}/etc",
            "maillog_file": f"{self.home}/maillog",
            "maillog_file_prefixes": self.home,
            "default_process_limit": str(process_limit),
            **main,
        }
        self.process = None

    def start(self):
        self._make_directories()
        self.scratch.write(f"{self.name}/etc/main.cf", "".join(f"{k} = {v}\n" for k, v in self.main.items()))
        master = "".join(self._smtpd(port, options) for port, options in self.listeners.items()) + SERVICES
        self.scratch.write(f"{self.name}/etc/master.cf", master)
        self.process = self.view.start([MASTER, "-c", f"{self.home}/etc", "-d"], f"{self.name}-master")
        # Postfix logs its own troubles to its file, not to the standard error that the process was given.
        self.process.log = f"{self.home}/maillog"
        for port in self.listeners:
            wait_for("Postfix", lambda port=port: listens(port), self.process)
        return self

    def stop(self):
        end(self.process)

    def _smtpd(self, port, options):
        flags = "".join(f" -o {{ {key} = {value} }}" for key, value in options.items())
        return f"127.0.0.1:{port} inet n - n - - smtpd{flags}\n"

    def _make_directories(self):
        """What `postfix check` would create, with the owners that Postfix insists on."""
        owner, drop = self.view.ids["postfix"], self.view.ids["postdrop"]
        shutil.rmtree(f"{self.home}/spool", ignore_errors=True)
        for directory in ["etc", "spool", "spool/pid"]:
            os.makedirs(f"{self.home}/{directory}", exist_ok=True)
        os.makedirs(f"{self.home}/data", exist_ok=True)
        os.chown(f"{self.home}/data", owner, -1)
        for queue in QUEUES + ["private"]:
            os.mkdir(f"{self.home}/spool/{queue}", 0o700)
            os.chown(f"{self.home}/spool/{queue}", owner, -1)
        for queue, mode in ("maildrop", 0o730), ("public", 0o710):
            os.mkdir(f"{self.home}/spool/{queue}")
            os.chown(f"{self.home}/spool/{queue}", owner, drop)
            os.chmod(f"{self.home}/spool/{queue}", mode)


class Postfix(Relay):
    TITLE = "Postfix"
    DEBIAN, USERS, GROUPS = DEBIAN, USERS, GROUPS
    CHANGES = (
        "A header section that no empty line ends gets one, and a first line that is no field begins the body: "
        "Postfix keeps header and body apart in its queue files."
    )

    REMARKS = ["Plain, the content comes with DATA; over TLS with BDAT."]

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate, routes)
        self.data_port = free_port()

    def entry(self, domain, tls="none", login=None):
        return Hop(self.data_port if tls == "none" else self.port, tls, login)

    def start(self):
        table = "".join(f"{domain} {self._transport(hop)}\n" for domain, hop in self.routes.items())
        main = {
            **UNCHANGED,
            "transport_maps": "texthash:" + self.scratch.write("postfix.transport", table),
            "smtpd_tls_security_level": "may",
            "smtpd_tls_chain_files": self.certificate.both,
        }
        listeners = {self.port: {}, self.data_port: {"smtpd_discard_ehlo_keywords": "chunking"}}
        self.instance = Instance(self.scratch, self.name, main, listeners, own_view=self.view).start()
        self.process = self.instance.process
        return self

    def log_tail(self):
        return tail(f"{self.home}/maillog")

    @staticmethod
    def _transport(hop):
        return f"smtp:[127.0.0.1]:{hop.port}"
