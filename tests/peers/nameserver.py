"""A nameserver that knows no name, and says so at once: programs that ask for every client's name do not wait."""

import random
import socket
import struct
import threading

# A response, recursion asked for and available, NXDOMAIN or SERVFAIL (RFC 1035 §4.1.1).
NAME_ERROR, SERVER_FAILURE = 0x8183, 0x8182


def start(port=53, failing=None):
    """Runs as long as this process; returns its address. Programs ask port 53 only, but loopback has many addresses.

    `failing`: a domain of which it says that it cannot tell.
    """
    while True:
        address = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            server.bind((address, port))
        except OSError:
            server.close()
            continue
        threading.Thread(target=_serve, args=(server, failing), daemon=True).start()
        return address


def _serve(server, failing):
    suffix = b"".join(bytes([len(label)]) + label.encode() for label in failing.split(".")) if failing else None
    while True:
        question, client = server.recvfrom(4096)
        if len(question) > 12:
            server.sendto(_answer(question, suffix), client)


def _answer(question, suffix):
    """The question's name, type and class again, and nothing behind them."""
    end = 12
    while question[end : end + 1] not in (b"", b"\0"):
        end += question[end] + 1
    code = SERVER_FAILURE if suffix and question[12:end].lower().endswith(suffix) else NAME_ERROR
    return question[:2] + struct.pack("!HHHHH", code, 1, 0, 0, 0) + question[12 : end + 5]
