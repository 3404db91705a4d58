"""A private Postfix: its own configuration, queue and data, started as `master`, never through the system's scripts."""

import os
import shutil

from .peer import LOGIN, Hop, Relay
from .scratch import end, free_port, listens, tail, wait_for
from .view import View

MASTER = "/usr/lib/postfix/sbin/master"
DEBIAN = ("postfix", "libsasl2-modules", "sasl2-bin")
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
    """`main` adds to or overrides MAIN; `listeners` maps a port to the options of its smtpd, `transports` a name to those of
    its smtp."""

    def __init__(self, scratch, name, main, listeners=None, transports=None, process_limit=100, own_view=None):
        self.scratch, self.name = scratch, name
        self.view = own_view or view(scratch, name)
        self.port = free_port()
        self.listeners = {self.port: {}} if listeners is None else listeners
        self.transports = transports or {}
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
        master = [f"127.0.0.1:{port} inet n - n - - smtpd{_flags(o)}\n" for port, o in self.listeners.items()]
        master += [f"{name} unix - - n - - smtp{_flags(o)}\n" for name, o in self.transports.items()]
        self.scratch.write(f"{self.name}/etc/master.cf", "".join(master) + SERVICES)
        self.process = self.view.start([MASTER, "-c", f"{self.home}/etc", "-d"], f"{self.name}-master")
        # Postfix logs its own troubles to its file, not to the standard error that the process was given.
        self.process.log = f"{self.home}/maillog"
        # All sockets are opened before the first of them is served.
        wait_for("Postfix", lambda: listens(next(iter(self.listeners))), self.process)
        return self

    def stop(self):
        end(self.process)

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


def _flags(options):
    return "".join(f" -o {{ {key} = {value} }}" for key, value in options.items())


class Postfix(Relay):
    INTO = OUT = ("plain", "STARTTLS", "implicit TLS", "AUTH")
    TITLE = "Postfix"
    DEBIAN, USERS, GROUPS = DEBIAN, USERS, GROUPS
    CHANGES = "White space between the name of a field and its colon is taken out."
    REMARKS = ["Plain, the content comes with DATA; over TLS with BDAT."]

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate, routes)
        self.data_port = free_port()

    def entry(self, domain, tls="none", login=None):
        return Hop({"none": self.data_port, "starttls": self.port, "implicit": self.tls_port}[tls], tls, login)

    def start(self):
        table = "".join(f"{domain} {'login' if hop.login else hop.tls}:[127.0.0.1]:{hop.port}\n" for domain, hop in self.routes.items())
        main = {
            **UNCHANGED,
            "transport_maps": "texthash:" + self.scratch.write("postfix.transport", table),
            "smtpd_tls_security_level": "may",
            "smtpd_tls_chain_files": self.certificate.both,
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_local_domain": "posthaste.test",
            "smtpd_sasl_authenticated_header": "yes",
        }
        self._make_accounts()
        listeners = {self.port: {}, self.tls_port: {"smtpd_tls_wrappermode": "yes"}, self.data_port: {"smtpd_discard_ehlo_keywords": "chunking"}}
        transports = self._transports()
        self.instance = Instance(self.scratch, self.name, main, listeners, transports, own_view=self.view).start()
        self.process = self.instance.process
        return self

    def log_tail(self):
        return tail(f"{self.home}/maillog")

    def _transports(self):
        """Named as `Hop.tls` has them."""
        secure = {
            "smtp_tls_security_level": "secure",
            "smtp_tls_secure_cert_match": "mx.posthaste.test",
            "smtp_tls_CAfile": self.certificate.root,
        }
        implicit = {**secure, "smtp_tls_wrappermode": "yes"}
        login = {
            **secure,
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_security_options": "noanonymous",
            "smtp_sasl_password_maps": f"static:{LOGIN.user}:{LOGIN.password}",
        }
        return {"none": {"smtp_tls_security_level": "none"}, "starttls": secure, "implicit": implicit, "login": login}

    def _make_accounts(self):
        """For Cyrus SASL, where it looks by itself."""
        accounts = f"{self.view.etc}/sasldb2"
        command = ["saslpasswd2", "-p", "-c", "-f", accounts, "-u", "posthaste.test", LOGIN.user]
        self.view.run(command, input=LOGIN.password.encode())
        os.chmod(accounts, 0o644)
