"""The OpenSMTPD of Debian 12: the peer that announces STARTTLS and then fails in every handshake."""

from .opensmtpd import Opensmtpd
from .scratch import Unavailable


class Opensmtpd6(Opensmtpd):
    TITLE = "OpenSMTPD 6"
    RELEASE = None
    INTO, OUT = ("plain",), ()
    STARTTLS_FAILS = True
    LACKS = {
        **Opensmtpd.LACKS,
        "TLS and AUTH": "Debian 12 has built it with OpenSSL 3, with which it cannot sign: every handshake fails, with any client",
    }
    REMARKS = ["It announces STARTTLS all the same. Posthaste goes on in clear text then, once, where `tls` is `opportunistic`."]

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate, routes)
        if not self.version().startswith("6."):
            raise Unavailable(f"OpenSMTPD 6: this machine's Debian has {self.version()}")
