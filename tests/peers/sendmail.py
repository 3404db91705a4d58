"""A private Sendmail. Its configuration is made by m4 from Debian's, with mailers of our own that add and rewrite nothing."""

import os

from .peer import LOGIN, Relay
from .scratch import listens, wait_for

MACROS = """\
divert(0)dnl
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
undefine(`ALIAS_FILE')dnl
undefine(`confHOST_STATUS_DIRECTORY')dnl
define(`STATUS_FILE', `{home}/statistics')dnl
define(`QUEUE_DIR', `{home}/queue')dnl
define(`confPID_FILE', `{home}/pid')dnl
define(`confDOMAIN_NAME', `sendmail.posthaste.test')dnl
define(`confMAX_MESSAGE_SIZE', `0')dnl
define(`confMAX_HEADERS_LENGTH', `0')dnl
define(`confMAX_MIME_HEADER_LENGTH', `0/0')dnl
define(`confCONNECTION_RATE_THROTTLE', `0')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDELAY_LA', `1000')dnl
define(`confMIN_FREE_BLOCKS', `0')dnl
define(`confTO_IDENT', `0')dnl
define(`confDELIVERY_MODE', `background')dnl
define(`confNO_RCPT_ACTION', `none')dnl
define(`confEIGHT_BIT_HANDLING', `pass8')dnl
define(`confOLD_STYLE_HEADERS', `False')dnl
define(`confBIND_OPTS', `')dnl
define(`confSERVICE_SWITCH_FILE', `{home}/switch')dnl
define(`confCACERT', `/etc/mail/tls/root.pem')dnl
define(`confCACERT_PATH', `/etc/mail/tls')dnl
define(`confSERVER_CERT', `/etc/mail/tls/chain.pem')dnl
define(`confSERVER_KEY', `/etc/mail/tls/key.pem')dnl
define(`confAUTH_MECHANISMS', `SCRAM-SHA-256')dnl
TRUST_AUTH_MECH(`SCRAM-SHA-256')dnl
FEATURE(`authinfo', `text -z| -k0 -v1 /etc/mail/authinfo')dnl
define(`confTLS_SRV_OPTIONS', `V')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unqualified_senders')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`promiscuous_relay')dnl
DAEMON_OPTIONS(`Port={port}, Addr=127.0.0.1, Name=MTA')dnl
DAEMON_OPTIONS(`Port={tls_port}, Addr=127.0.0.1, Name=TLS, M=s')dnl
MAILER(smtp)dnl
LOCAL_CONFIG
CE root
LOCAL_RULE_0
{rules}
MAILER_DEFINITIONS
{mailers}
"""
# k: to ourselves, m: several recipients, u: keep case, X: dots, a: ESMTP, 8: 8-bit as it is, n: no From line. What puts
# fields in front (D, F, M) and what rewrites addresses (S=, R=) is left out.
MAILER = "Mhop{number}, P=[IPC], F=kmuXa8n, E=\\r\\n, L=0, T=DNS/RFC822/SMTP, A=TCP $h {port}"
RULE = "R$* < @ {domain} . > $*\t$#hop{number} $@ [{host}] $: $1 < @ {domain} . > $2\n"
RULE += "R$* < @ {domain} > $*\t$#hop{number} $@ [{host}] $: $1 < @ {domain} > $2"
# Where it logs in depends on the next hop's name, not on its port.
HOST, HOST_WITH_LOGIN = "127.0.0.1", "login.posthaste.test"


class Sendmail(Relay):
    TITLE = "Sendmail"
    DEBIAN = ("sendmail-bin", "sendmail-cf", "m4", "libsasl2-modules", "sasl2-bin")
    USERS = ("smmta", "smmsp")
    INTO = ("plain", "STARTTLS", "implicit TLS", "AUTH")
    OUT = ("plain", "STARTTLS", "AUTH")
    CHANGES = (
        "Fields with addresses are folded anew, white space between the name of a field and its colon is taken out, and so "
        "is Return-Path, which only final delivery may add (RFC 5321 §4.4)."
    )
    LACKS = {
        "SMTPUTF8": "Debian builds 8.17 without it",
        "implicit TLS from it": "its client knows STARTTLS only",
    }
    REMARKS = ["Logs in, and is logged in to, with SCRAM-SHA-256, by Cyrus SASL."]

    def start(self):
        os.makedirs(f"{self.home}/queue", 0o700)
        self.scratch.write(f"{self.name}/switch", "hosts files\naliases files\npasswd files\n")
        # It uses no certificate below a directory that others may write to, as /tmp is.
        for name in "root", "chain", "key":
            with open(getattr(self.certificate, name), encoding="ascii") as file:
                os.chmod(self.view.write(f"mail/tls/{name}.pem", file.read()), 0o600)
        accounts = f"{self.view.etc}/sasldb2"
        command = ["saslpasswd2", "-p", "-c", "-f", accounts, "-u", "sendmail.posthaste.test", LOGIN.user]
        self.view.run(command, input=LOGIN.password.encode())
        os.chmod(accounts, 0o600)
        self.view.write("hosts", f"127.0.0.1 localhost\n127.0.0.1 {HOST_WITH_LOGIN}\n")
        words = f'AuthInfo:{HOST_WITH_LOGIN}|"U:{LOGIN.user}" "P:{LOGIN.password}"\n'
        os.chmod(self.view.write("mail/authinfo", words), 0o600)
        routes = list(enumerate(self.routes.items()))
        text = MACROS.format(
            home=self.home,
            port=self.port,
            tls_port=self.tls_port,
            rules="\n".join(self._rule(n, domain, hop) for n, (domain, hop) in routes),
            mailers="\n".join(MAILER.format(number=n, port=hop.port) for n, (_, hop) in routes),
        )
        macros = self.scratch.write(f"{self.name}/sendmail.mc", text)
        file = f"{self.home}/sendmail.cf"
        self.view.run(["sh", "-c", f"m4 -D_CF_DIR_=/usr/share/sendmail/cf/ {macros} >{file}"])
        command = ["/usr/libexec/sendmail/sendmail", "-bD", "-C", file, "-q5s"]
        self.process = self.view.start(command)
        wait_for("Sendmail", lambda: listens(self.port), self.process)
        return self

    @staticmethod
    def _rule(number, domain, hop):
        return RULE.format(number=number, domain=domain, host=HOST_WITH_LOGIN if hop.login else HOST)
