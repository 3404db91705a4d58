"""A private Courier: its queue lies in the view's /var, which is memory."""

from . import certificate
from .peer import LOGIN, Relay
from .scratch import end_daemon, listens, wait_for

# The files of /etc/courier that say something else than Debian's.
SETTINGS = {
    "me": "courier.posthaste.test\n",
    "defaultdomain": "courier.posthaste.test\n",
    "dsnfrom": "postmaster@courier.posthaste.test\n",
    "locals": "localhost\n",
    "sizelimit": "60000000\n",
    "enablefiltering": "",
    "queuetime": "1h\n",
    "retryalpha": "5s\n",
    "retrybeta": "5s\n",
    "retrymaxdelta": "0\n",
    "maxdels": "40\n",
    # As it came: neither converted between 7 and 8 bits nor refused for what its structure is.
    "bofh": "opt BOFHBADMIME=accept\nopt MIME=none\nopt BOFHCHECKDNS=0\n",
    "module.esmtp": "NAME=esmtp\nPRIORITY=50\nPROG=./courieresmtp\nMAXDELS=40\nMAXHOST=10\nMAXRCPT=100\n",
}
ESMTPD = """\
PATH=/usr/bin:/bin
SHELL=/bin/sh
ULIMIT=unlimited
BOFHCHECKDNS=0
BOFHBADMIME=accept
BOFHNOEXPN=1
BOFHNOVRFY=1
TARPIT=0
NOADDMSGID=1
NOADDDATE=1
NOADDRREWRITE=1
ESMTP_LOG_DIALOG=0
AUTH_REQUIRED=0
RELAYCLIENT=
COURIERTLS=/usr/bin/couriertls
TLS_CERTFILE=/etc/courier/esmtpd.pem
TLS_TRUSTCERTS=/etc/courier/root.pem
TLS_VERIFYPEER=NONE
MAILUSER=courier
MAILGROUP=courier
PORT={port}
ADDRESS=127.0.0.1
BLACKLISTS=
ACCESSFILE=
MAXDAEMONS=100
MAXPERC=100
MAXPERIP=100
PIDFILE={home}/esmtpd.pid
TCPDOPTS="-stderr={home}/esmtpd.log -noidentlookup -nodnslookup"
ESMTPAUTH=
ESMTPAUTH_TLS="PLAIN LOGIN CRAM-MD5"
ESMTPDSTART=YES
"""
ESMTPD_SSL = """\
SSLPORT={tls_port}
SSLADDRESS=127.0.0.1
SSLPIDFILE={home}/esmtpd-ssl.pid
ESMTPDSSLSTART=YES
"""
COURIERD = """\
prefix=/usr
exec_prefix=/usr
PATH=/usr/bin:/bin
SHELL=/bin/sh
DYNAMICDELIVERIES=0
DEFAULTDELIVERY=./Maildir
ESMTP_CORK=1
ESMTP_USE_STARTTLS=1
COURIERTLS=/usr/bin/couriertls
ESMTP_TLS_VERIFY_DOMAIN=0
TLS_TRUSTCERTS=/etc/courier/root.pem
TLS_VERIFYPEER=NONE
"""
START = """\
mkdir -p /run/courier /var/lib/courier/sts {home}
chown -R courier:courier /var/lib/courier /run/courier {home}
chown courier:courier /etc/courier/esmtpd.pem /etc/courier/esmtpauthclient
chmod 600 /etc/courier/esmtpd.pem /etc/courier/esmtpauthclient
password=$(echo '{login.password}' | /usr/sbin/userdbpw -hmac-md5)
/usr/sbin/userdb '{login.user}' set home=/tmp uid=courier gid=courier systempw='{hashed}' hmac-md5pw="$password"
/usr/sbin/makeuserdb
mkdir -p /run/courier/authdaemon
chown courier:courier /run/courier/authdaemon
(
    set -a
    . /etc/courier/authdaemonrc
    exec /usr/lib/courier/courier-authlib/authdaemond
) &
/usr/sbin/makealiases
/usr/lib/courier/esmtpd start
/usr/lib/courier/esmtpd-ssl start
set -a
. /etc/courier/courierd
exec /usr/lib/courier/courier/courierd
"""
SECURITY = {"none": "NONE", "starttls": "REQUIRED", "implicit": "SMTPS"}


AUTHDAEMON = """\
authmodulelist="authuserdb"
authmodulelistorig="authuserdb"
daemons=5
authdaemonvar=/run/courier/authdaemon
DEBUG_LOGIN=0
DEFAULTOPTIONS=""
"""


class Courier(Relay):
    TITLE = "Courier"
    DEBIAN = ("courier-mta",)
    USERS = ("courier",)
    CHANGES = "Fields with addresses are folded anew; a header without recipients gets `To: undisclosed-recipients: ;`."
    INTO = OUT = ("plain", "STARTTLS", "implicit TLS", "AUTH")

    def start(self):
        filled = {"home": self.home, "port": self.port, "tls_port": self.tls_port, "login": LOGIN}
        filled["hashed"] = certificate.hashed(LOGIN.password)
        for name, text in SETTINGS.items():
            self.view.write(f"courier/{name}", text)
        self.view.write("courier/esmtpd", ESMTPD.format(**filled))
        self.view.write("courier/esmtpd-ssl", ESMTPD_SSL.format(**filled))
        self.view.write("courier/courierd", COURIERD)
        self.view.write("courier/authdaemonrc", AUTHDAEMON)
        for name, path in ("esmtpd.pem", self.certificate.both), ("root.pem", self.certificate.root):
            with open(path, encoding="ascii") as file:
                self.view.write(f"courier/{name}", file.read())
        routes = "".join(
            f"{domain}: [127.0.0.1],{hop.port} /SECURITY={SECURITY[hop.tls]}\n" for domain, hop in self.routes.items()
        )
        self.view.write("courier/esmtproutes", routes)
        logins = {hop.port: hop.login for hop in self.routes.values() if hop.login}
        words = "".join(f"[127.0.0.1],{port} {login.user} {login.password}\n" for port, login in logins.items())
        self.view.write("courier/esmtpauthclient", words)
        self.scratch.daemons += [f"{self.home}/esmtpd.pid", f"{self.home}/esmtpd-ssl.pid"]
        self.process = self.view.start(["sh", "-c", START.format(**filled)])
        wait_for("Courier", lambda: listens(self.port), self.process)
        return self

    def stop(self):
        super().stop()
        for name in "esmtpd", "esmtpd-ssl":
            end_daemon(f"{self.home}/{name}.pid")
