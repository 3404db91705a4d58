"""The plainest SMTP there is, in both roles: it changes no octet, and shares no code with what it tests."""

import base64
import re
import socket
import socketserver
import ssl
import threading

from .scratch import Failed

PATIENCE = 60
ADDRESS = "127.0.0.5"  # of the client: not that of the servers


class Client:
    """One connection to a `Hop`; TLS is verified against `root`."""

    def __init__(self, hop, root=None):
        self.root = root
        if hop.unix:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(hop.unix)
        else:
            self.socket = socket.create_connection(("127.0.0.1", hop.port), PATIENCE, (ADDRESS, 0))
        self.reader = self.socket.makefile("rb")
        self.lmtp = hop.lmtp
        if hop.tls == "implicit":
            self._secure()
        self.expect("220")
        self._hello()
        if hop.tls == "starttls":
            self.command("STARTTLS", "220")
            self._secure()
            self._hello()
        if hop.login:
            words = f"\0{hop.login.user}\0{hop.login.password}".encode()
            self.command(f"AUTH PLAIN {base64.b64encode(words).decode()}", "235")

    def command(self, line, code):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.expect(code)

    def expect(self, code):
        lines = []
        while True:
            line = self.reader.readline()
            if not line:
                raise Failed("the server closed the connection")
            lines.append(line.decode("utf-8", "replace").rstrip())
            if line[3:4] != b"-":
                break
        if not lines[-1].startswith(code):
            raise Failed(f"{code} expected: {' / '.join(lines)}")
        return lines

    def submit(self, sender, recipients, content):
        """One message with DATA; returns the final reply. SMTPUTF8 and 8BITMIME are asked for where they are needed."""
        needed = [("SMTPUTF8", not all(a.isascii() for a in [sender, *recipients])), ("8BITMIME", not content.isascii())]
        parameters = "".join(
            {"SMTPUTF8": " SMTPUTF8", "8BITMIME": " BODY=8BITMIME"}[word]
            for word, wanted in needed
            if wanted and word in self.extensions
        )
        self.command(f"MAIL FROM:<{sender}>{parameters}", "250")
        for recipient in recipients:
            self.command(f"RCPT TO:<{recipient}>", "250")
        self.command("DATA", "354")
        self.socket.sendall(stuffed(content))
        replies = [self.expect("250") for _ in (recipients if self.lmtp else [None])]
        return replies[-1][-1]

    def quit(self):
        self.command("QUIT", "221")
        self.socket.close()

    def _hello(self):
        lines = self.command("LHLO client.test" if self.lmtp else "EHLO client.test", "250")
        self.extensions = {line[4:].split(" ")[0].upper() for line in lines[1:]}

    def _secure(self):
        context = ssl.create_default_context(cafile=self.root)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.reader = self.socket.makefile("rb")


def stuffed(content):
    """As it stands after DATA (RFC 5321 §4.5.2), with the dot that ends it."""
    return b"." * content.startswith(b".") + content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


class Sink:
    """Takes mail and keeps it, octet for octet: `received(recipient)` has the contents that came for it."""

    EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 104857600")

    def __init__(self):
        self.messages = {}
        self.lock = threading.Lock()
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self):
                try:
                    sink._serve(self)
                except OSError:
                    pass  # A peer that hangs up has its say elsewhere: in what did not come.

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.daemon_threads = self.server.allow_reuse_address = True
        self.server.request_queue_size = 128
        self.server.server_bind()
        self.server.server_activate()
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def received(self, recipient):
        with self.lock:
            return list(self.messages.get(recipient, ()))

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def _serve(self, handler):
        reply = lambda text: handler.wfile.write(text.encode() + b"\r\n")
        recipients = []
        reply("220 sink.test")
        while line := handler.rfile.readline(4096):
            verb = line.strip().upper()
            if verb.startswith((b"EHLO", b"HELO")):
                lines = ["sink.test", *(Sink.EXTENSIONS if verb.startswith(b"EHLO") else ())]
                for i, text in enumerate(lines):
                    reply(f"250{' ' if i == len(lines) - 1 else '-'}{text}")
            elif verb.startswith(b"RCPT TO:"):
                recipients.append(re.search(rb"<(.*?)>", line).group(1).decode())
                reply("250 2.1.5 Ok")
            elif verb == b"DATA":
                reply("354 Go on")
                self._keep(recipients, self._read_content(handler.rfile))
                recipients = []
                reply("250 2.0.0 Ok")
            elif verb.startswith(b"XCLIENT"):
                reply("220 sink.test")
            elif verb == b"QUIT":
                reply("221 2.0.0 Bye")
                return
            else:
                if verb == b"RSET" or verb.startswith(b"MAIL FROM:"):
                    recipients = []
                reply("250 2.0.0 Ok")

    @staticmethod
    def _read_content(reader):
        """Up to CRLF.CRLF and nothing else: a line ends at CRLF, so a lone LF does not make a dot special."""
        content, line = [], b""
        while piece := reader.readline():
            line += piece
            if not line.endswith(b"\r\n"):
                continue
            if line == b".\r\n":
                return b"".join(content)
            content.append(line[1:] if line.startswith(b".") else line)
            line = b""
        raise ConnectionError("closed in the middle of a message")

    def _keep(self, recipients, content):
        with self.lock:
            for recipient in recipients:
                self.messages.setdefault(recipient, []).append(content)
