"""Clients that send only what they compose themselves: the test's message travels as an attachment, compressed."""

import email
import gzip

from .peer import Client
from .scratch import Failed

ATTACHED = "message.gz"


class Composer(Client):
    """Compressed, because they would take a message for text, and text has no line ends of its own."""

    REMARKS = ("Composes its own messages: each test message travels as an attachment, compressed, and is compared unpacked.",)

    def compose(self, hop, sender, recipients, file):
        """Sends one message with this file attached, under its name."""
        raise NotImplementedError

    def submit(self, hop, sender, recipients, content):
        directory = self.scratch.path(f"{self.name}-{recipients[0].partition('@')[0]}-{hop.port}")
        file = self.scratch.write_bytes(f"{directory}/{ATTACHED}", gzip.compress(content, 1))
        self.compose(hop, sender, recipients, file)

    def carried(self, content):
        parts = [part for part in email.message_from_bytes(content).walk() if part.get_filename() == ATTACHED]
        if len(parts) != 1:
            raise Failed(f"{self.TITLE}: {len(parts)} attachments in\n{content[:2000].decode('utf-8', 'replace')}")
        return gzip.decompress(parts[0].get_payload(decode=True))
