"""A nameserver that knows no name, and says so at once: programs that ask for every client's name do not wait."""

import random
import socket
import struct
import threading

NAME_ERROR = 0x8183  # a response, recursion asked for and available, NXDOMAIN (RFC 1035 §4.1.1)


def start():
    """Runs as long as this process; returns its address. Programs ask port 53 only, but loopback has many addresses."""
    while True:
        address = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            server.bind((address, 53))
        except OSError:
            server.close()
            continue
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        return address


def _serve(server):
    while True:
        question, client = server.recvfrom(4096)
        if len(question) > 12:
            server.sendto(_answer(question), client)


def _answer(question):
    """The question's name, type and class again, and nothing behind them."""
    end = 12
    while question[end : end + 1] not in (b"", b"\0"):
        end += question[end] + 1
    return question[:2] + struct.pack("!HHHHH", NAME_ERROR, 1, 0, 0, 0) + question[12 : end + 5]
