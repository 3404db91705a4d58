"""A private amavisd-new as content filter: it takes every message apart, has nobody to ask about it, and passes it on."""

import os

from .peer import Filter, Hop
from .scratch import free_port, listens, wait_for

CONFIGURATION = """\
use strict;
$max_servers = 4;
$daemon_user = 'amavis';
$daemon_group = 'amavis';
$myhostname = 'amavis.posthaste.test';
$MYHOME = '{home}';
$TEMPBASE = '{home}/tmp';
$db_home = '{home}/db';
$helpers_home = '{home}';
$pid_file = '{home}/pid';
$lock_file = '{home}/lock';
$QUARANTINEDIR = undef;
$virus_quarantine_method = $spam_quarantine_method = $banned_files_quarantine_method = $bad_header_quarantine_method = undef;
$enable_db = 0;
$enable_zmq = 0;
$enable_dkim_verification = 0;
$nanny_details_level = 0;
$do_syslog = 0;
$log_level = 1;
$inet_socket_bind = '127.0.0.1';
$inet_socket_port = [{port}, {login_port}];
$interface_policy{{'{login_port}'}} = 'LOGIN';
$policy_bank{{'LOGIN'}} = {{ auth_mech_avail => [ 'PLAIN', 'LOGIN' ], auth_required_inp => 1 }};
@inet_acl = qw( 127.0.0.0/8 );
@mynetworks = qw( 127.0.0.0/8 );
@local_domains_maps = ();
$smtpd_timeout = 120;
@bypass_virus_checks_maps = (1);
@bypass_spam_checks_maps = (1);
@bypass_banned_checks_maps = (1);
@bypass_header_checks_maps = (1);
@av_scanners = ();
$final_virus_destiny = $final_banned_destiny = $final_spam_destiny = $final_bad_header_destiny = D_PASS;
$MAXLEVELS = 30;
$MAXFILES = 10000;
# Nothing of the message is to be repaired.
$allow_fixing_improper_header = 0;
$allow_fixing_long_header_lines = 0;
$remove_existing_x_scanned_headers = 0;
$X_HEADER_TAG = undef;
$X_HEADER_LINE = undef;
$insert_received_line = 1;
$tls_security_level_in = 'may';
$tls_security_level_out = 'may';
$smtpd_tls_cert_file = '{certificate.chain}';
$smtpd_tls_key_file = '{certificate.key}';
@forward_method_maps = ( {{ {routes} }} );
$notify_method = 'smtp:[127.0.0.1]:1';
1;
"""


class Amavis(Filter):
    TITLE = "amavisd-new"
    DEBIAN = ("amavisd-new",)
    USERS = ("amavis",)
    INTO = ("plain", "STARTTLS", "AUTH")
    CHANGES = "NUL becomes the two octets C0 80."
    LACKS = {
        "AUTH from it": "it says \"AUTH not supported in this version of amavisd\"",
        "implicit TLS": "neither its server nor its client knows it",
    }
    REMARKS = ["It believes whoever logs in, whatever the password is."]

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate, routes)
        self.login_port = free_port()

    def entry(self, domain, tls="none", login=None):
        return Hop(self.login_port if domain == "through-auth.test" else self.port, tls, login)

    def start(self):
        for directory in "tmp", "db":
            os.makedirs(f"{self.home}/{directory}")
        for directory in self.home, f"{self.home}/tmp", f"{self.home}/db":
            os.chown(directory, self.view.ids["amavis"], self.view.ids["amavis"])
            os.chmod(directory, 0o750)
        routes = ", ".join(f"'{domain}' => 'smtp:[127.0.0.1]:{hop.port}'" for domain, hop in self.routes.items())
        text = CONFIGURATION.format(home=self.home, port=self.port, login_port=self.login_port, certificate=self.certificate, routes=routes)
        self.view.write("amavis/interop.conf", text)
        command = ["/usr/sbin/amavisd", "-c", "/etc/amavis/interop.conf", "foreground"]
        self.process = self.view.start(command, env={**os.environ, "SSL_CERT_FILE": self.certificate.root})
        wait_for("amavisd", lambda: listens(self.port), self.process)
        return self
