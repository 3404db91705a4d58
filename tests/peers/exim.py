"""A private Exim: one configuration file, its spool in the scratch directory."""

import os

from .peer import LOGIN, Relay
from .scratch import listens, tail, wait_for

CONFIGURATION = """\
primary_hostname = exim.posthaste.test
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
pid_file_path = {home}/pid
daemon_smtp_ports = {port} : {tls_port}
local_interfaces = 127.0.0.1
tls_on_connect_ports = {tls_port}
tls_certificate = {certificate.chain}
tls_privatekey = {certificate.key}
tls_advertise_hosts = *
acl_smtp_rcpt = accept
acl_smtp_data = accept
# 8-bit content and addresses are passed on as they are.
accept_8bitmime = true
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
allow_utf8_domains = true
message_size_limit = 60M
smtp_accept_max = 0
smtp_accept_max_per_connection = 10000
smtp_accept_queue_per_connection = 0
smtp_receive_timeout = 60s
queue_run_max = 5
remote_max_parallel = 4
ignore_bounce_errors_after = 0s
bounce_return_size_limit = 10K
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
syslog_timestamp = false
write_rejectlog = false
received_header_text = Received: from $sender_helo_name by $primary_hostname \\
  with $received_protocol (Exim $version_number) id $message_exim_id; $tod_full

begin acl

begin routers
{routers}

begin transports
{transports}

begin retry
* * F,1h,5s

begin rewrite

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and {{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
  client_send = ^{user}^{password}
"""
ROUTER = """\
{name}:
  driver = manualroute
  domains = {domain}
  transport = {name}
  route_list = * 127.0.0.1 byname
  self = send
"""
TRANSPORT = """\
{name}:
  driver = smtp
  port = {hop.port}
  allow_localhost
  protocol = {protocol}
  hosts_require_tls = {require}
  hosts_avoid_tls = {avoid}
  tls_verify_certificates = {root}
  tls_verify_hosts = {require}
  tls_verify_cert_hostnames =
  hosts_require_auth = {auth}
  hosts_try_fastopen =
  connection_max_messages = 100
  message_linelength_limit = 1G
"""


class Exim(Relay):
    TITLE = "Exim"
    CHANGES = "Return-Path is taken off, which only final delivery may add (RFC 5321 §4.4)."
    DEBIAN = ("exim4-daemon-light",)
    USERS = ("Debian-exim",)
    INTO = OUT = ("plain", "STARTTLS", "implicit TLS", "AUTH")

    def start(self):
        for directory in "spool", "log":
            os.makedirs(f"{self.home}/{directory}")
        for directory in self.home, f"{self.home}/spool", f"{self.home}/log":
            os.chown(directory, self.view.ids["Debian-exim"], self.view.ids["Debian-exim"])
        # Where Debian's Exim looks by itself: told another place, it drops the rights that its deliveries need.
        self.view.write("exim4/exim4.conf", self._configuration())
        self.process = self.view.start(["/usr/sbin/exim4", "-bdf", "-q5s"])
        wait_for("Exim", lambda: listens(self.port), self.process)
        return self

    def log_tail(self):
        return tail(f"{self.home}/log/mainlog") + tail(f"{self.home}/log/paniclog")

    def _configuration(self):
        routers = transports = ""
        for number, (domain, hop) in enumerate(self.routes.items()):
            secured = "*" if hop.tls != "none" else ""
            filled = {
                "name": f"hop{number}",
                "domain": domain,
                "hop": hop,
                "protocol": "smtps" if hop.tls == "implicit" else "smtp",
                "require": secured,
                "avoid": "" if secured else "*",
                "root": self.certificate.root,
                "auth": "*" if hop.login else "",
            }
            routers += ROUTER.format(**filled)
            transports += TRANSPORT.format(**filled)
        return CONFIGURATION.format(
            home=self.home,
            port=self.port,
            tls_port=self.tls_port,
            certificate=self.certificate,
            routers=routers,
            transports=transports,
            user=LOGIN.user,
            password=LOGIN.password,
        )
