"""A posthaste to which everything happens that its metrics tell of, again and again, from real clients and hosts."""

import subprocess

from peers import certificate, nameserver, posthaste, smtp
from peers.peer import LOGIN, Hop, Login
from peers.posthaste import Posthaste
from peers.scratch import Failed, free_port, wait_for

SENDER = "sender@good.test"
MESSAGES = 50  # of a round, over all domains
# A host each: domain to how it treats mail.
HOSTS = {
    "good.test": (),
    "slow.test": ("rcpt to=*@slow.test reply 452 4.2.2 full",),
    "bad.test": ("rcpt to=*@bad.test reply 550 5.1.1 no such user",),
    "doubt.test": ("final to=*@doubt.test keep close",),
    "limited.test": (),
}
# Domains that are looked up: NXDOMAIN, SERVFAIL. Answers are kept, so each round asks for other names below them.
UNKNOWN, FAILING = "unknown.test", "failing.test"
DEAD, NOWHERE = "dead.test", "nowhere.test"
BARE_NEWLINE = b"Subject: a line that ends in LF alone\r\n\r\none\ntwo\r\n.\r\n"
CONFIGURATION = """\
[auth]
users = "{users}"
failure_delay = "1ms"
[dns]
nameservers = ["{nameserver}"]
timeout = "1s"
[retry]
schedule = ["1s"]
jitter = 0.0
expire = "5s"
notify_delay = "2s"
[queue]
prepare = "0B"
[[site]]
match = {{ domain = ["limited.test"] }}
rate = "5/s"
"""


class World:
    def __init__(self, scratch):
        self.scratch, self.program = scratch, posthaste.binary()
        self.certificate = certificate.make(scratch)
        users = scratch.path("users.toml")
        posthaste.add_user(self.program, users, LOGIN)
        port = free_port()
        address = nameserver.start(port, FAILING)
        text = CONFIGURATION.format(users=users, nameserver=f"{address}:{port}") + self._start_hosts()
        listener = 'auth = "optional"\ntls = "starttls"\n'
        listener += f'tls_certificate = "{self.certificate.chain}"\ntls_key = "{self.certificate.key}"\n'
        self.engine = Posthaste(scratch, self.program, text, listener=listener).start()
        self.hop = Hop(self.engine.port, "starttls")
        self.rounds = 0

    def _start_hosts(self):
        """One sink with a port for each domain. Returns the routes there."""
        ports = {domain: free_port() for domain in HOSTS}
        command = [self.program, "sink", "--tls", "starttls"]
        command += [word for port in ports.values() for word in ("--bind", f"127.0.0.1:{port}")]
        command += [word for rules in HOSTS.values() for rule in rules for word in ("--rule", rule)]
        sink = self.scratch.start(command, "sink")
        for port in ports.values():
            wait_for("posthaste sink", lambda port=port: _greets(Hop(port)), sink)
        ways = {domain: f"smtp://127.0.0.1:{port}" for domain, port in ports.items()}
        ways |= {DEAD: f"smtp://127.0.0.1:{free_port()}", NOWHERE: "discard"}
        return "".join(f'[[route]]\ndomain = ["{domain}"]\nvia = "{way}"\n' for domain, way in ways.items())

    def round(self):
        """A little of everything."""
        self.rounds += 1
        domains = [*HOSTS, DEAD, NOWHERE, f"r{self.rounds}.{UNKNOWN}", f"r{self.rounds}.{FAILING}"]
        command = [self.program, "load", "--to", f"127.0.0.1:{self.engine.port}", "--tls", "starttls", "--json"]
        command += ["--from", SENDER, "--domains", ",".join(domains)]
        command += ["--messages", str(MESSAGES), "--connections", "4", "--size", "2KiB"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Failed(f"posthaste load ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self._log_in()
        self._be_refused()

    def _log_in(self):
        client = smtp.Client(Hop(self.engine.port, "starttls", LOGIN), self.certificate.root)
        client.submit(SENDER, ["user@good.test"], b"Subject: after a login\r\n\r\nHello\r\n")
        client.command("ETRN slow.test", "25")
        client.quit()
        try:
            smtp.Client(Hop(self.engine.port, "starttls", Login(LOGIN.user, "wrong")), self.certificate.root)
        except Failed as refusal:
            if "535" not in str(refusal):
                raise
        else:
            raise Failed("a wrong password was believed")

    def _be_refused(self):
        """For two reasons."""
        client = smtp.Client(self.hop, self.certificate.root)
        client.command(f"MAIL FROM:<{SENDER}> SIZE=1000000000", "552")
        for line, code in [(f"MAIL FROM:<{SENDER}>", "250"), ("RCPT TO:<user@good.test>", "250"), ("DATA", "354")]:
            client.command(line, code)
        client.socket.sendall(BARE_NEWLINE)
        client.expect("550")
        client.quit()

    def stop(self):
        self.engine.stop()


def _greets(hop):
    try:
        smtp.Client(hop).quit()
        return True
    except OSError:
        return False
