"""The plainest SMTP there is, in both roles: it changes no octet, and shares no code with what it tests."""

import re
import socket
import socketserver
import threading

from .scratch import Failed

PATIENCE = 60


class Client:
    """One connection. `unix` is a path instead of host and port."""

    def __init__(self, port=None, host="127.0.0.1", unix=None, lmtp=False):
        if unix:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(unix)
        else:
            self.socket = socket.create_connection((host, port), PATIENCE)
        self.reader = self.socket.makefile("rb")
        self.lmtp = lmtp
        self.expect("220")
        self.command("LHLO client.test" if lmtp else "EHLO client.test", "250")

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
        return lines[-1]

    def submit(self, sender, recipients, content):
        """One message with DATA; returns the final reply."""
        self.command(f"MAIL FROM:<{sender}>", "250")
        for recipient in recipients:
            self.command(f"RCPT TO:<{recipient}>", "250")
        self.command("DATA", "354")
        self.socket.sendall(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
        replies = [self.expect("250") for _ in (recipients if self.lmtp else [None])]
        return replies[-1]

    def quit(self):
        self.command("QUIT", "221")
        self.socket.close()


class Sink:
    """Takes mail and keeps it, octet for octet: `messages` maps each recipient to the contents that came for it."""

    EXTENSIONS = ("PIPELINING", "8BITMIME", "SIZE 104857600")

    def __init__(self):
        self.messages = {}
        self.lock = threading.Lock()
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                sink._serve(self)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.daemon_threads = self.server.allow_reuse_address = True
        self.server.server_bind()
        self.server.server_activate()
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

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

    def count(self):
        with self.lock:
            return sum(map(len, self.messages.values()))
