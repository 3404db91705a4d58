"""What every peer is: installed beside the system, started on loopback from a scratch directory, asked, stopped."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .scratch import end, free_port, tail
from .view import View


@dataclass(frozen=True)
class Login:
    user: str
    password: str


# The one account of every test.
LOGIN = Login("interop", "Loop-back/7+1")


@dataclass(frozen=True)
class Hop:
    """A server on loopback, and how to speak to it."""

    port: int
    tls: str = "none"  # none | starttls | implicit
    login: Login | None = None
    lmtp: bool = False
    unix: str | None = None  # instead of the port


class Peer:
    """One program. A class a file; the class attributes say what the table and the tests need to know of it."""

    TITLE = ""
    # Debian packages to unpack (the first one's version is shown), and the users and groups that they would create.
    DEBIAN = ()
    USERS = ()
    GROUPS = ()
    # The Debian release that they come from, where the machine's own is older than it.
    RELEASE = None
    # Fields that it puts on top of a message, the topmost first.
    TRACE = ("Received",)
    # Those that it puts above them when the client has logged in.
    TRACE_OF_LOGIN = ()
    # What it cannot do, in the words of the table's columns, and why.
    LACKS = {}
    # How it tells the next server who the client is, by mode: what a listener of posthaste needs to believe it.
    TELLS = {}
    # It does not go without a login: there is no mode of its own for it.
    LOGS_IN_ALWAYS = False
    # It speaks LMTP to posthaste.
    LMTP = False
    # It logs in to posthaste in clear text.
    CLEAR_LOGIN = False
    # What it changes in a message by nature, and why that cannot be switched off.
    CHANGES = ""
    REMARKS = ()

    def __init__(self, scratch, certificate):
        self.scratch, self.certificate = scratch, certificate
        self.name = type(self).__module__.rpartition(".")[2]
        self.home = scratch.path(self.name)
        self.process = None
        self.view = None
        if self.DEBIAN:
            self.view = View(scratch, self.name, self.DEBIAN, self.USERS, self.GROUPS, release=self.RELEASE)

    def version(self):
        return self.view.version

    def start(self):
        raise NotImplementedError

    def stop(self):
        end(self.process)

    def log_tail(self):
        return tail(self.process.log) if self.process else ""

    def carried(self, content):
        """The test's message in what arrived: without what it was wrapped into, and what is new in it each time."""
        return content


class Relay(Peer):
    """Takes mail and hands it on. `routes` maps a recipient's domain to the next hop.

    It offers TLS with the certificate and AUTH with LOGIN, and relays for loopback also without either.
    """

    # How mail gets into it and out of it.
    INTO = ("plain", "STARTTLS")
    OUT = ("plain", "STARTTLS")
    # It announces what it cannot do.
    STARTTLS_FAILS = False

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate)
        self.routes = routes
        # The second is for TLS from the first octet, where INTO says so.
        self.port, self.tls_port = free_port(), free_port()

    def entry(self, domain, tls="none", login=None):
        """Where mail for this domain is handed in."""
        return Hop(self.tls_port if tls == "implicit" else self.port, tls, login)


class Filter(Relay):
    """Stands between two servers: mail comes from one of them and goes on to the other."""


class Mailbox(Peer):
    """Keeps mail: `received(recipient)` has the contents that came for it."""

    def hops(self):
        """Title to hop, one a way in."""
        raise NotImplementedError

    def received(self, recipient):
        raise NotImplementedError


class Customer(Peer):
    """Comes to posthaste for its mail, with a login. Nothing of it runs longer than that."""

    MODES = ("plain",)
    LOGS_IN_ALWAYS = True

    def start(self):
        return self

    def stop(self):
        pass

    def fetch(self, hop, domain, port):
        """Takes what waits for the domain, and hands it to the server at this port."""
        raise NotImplementedError


class Client(Peer):
    """Hands in mail; nothing of it runs longer than that."""

    TRACE = ()
    OUT = ("plain", "STARTTLS", "implicit TLS", "AUTH")
    AT_ONCE = 4

    def start(self):
        return self

    def stop(self):
        pass

    def send(self, hop, envelopes):
        """Each envelope: sender, recipients, content."""
        pool = ThreadPoolExecutor(self.AT_ONCE)
        try:
            for done in [pool.submit(self.submit, hop, *envelope) for envelope in envelopes]:
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)  # the first that fails is enough

    def submit(self, hop, sender, recipients, content):
        """One message, in a process of its own."""
        raise NotImplementedError
