"""Postfix as a system under test."""

import os

from instruments.system import System
from peers.postfix import Instance

DOMAINS = 1000


class PostfixSystem(System):
    """Tuned for throughput on a small machine; what it promises (synced before the 250) stays."""

    name = "postfix"
    TUNED = {
        # No pause between what comes in and what goes out, and an active queue that never fills.
        "in_flow_delay": "0",
        "qmgr_message_active_limit": "50000",
        "qmgr_message_recipient_limit": "50000",
        # The same 20 connections per destination that posthaste has, from the start, and all of them reused.
        "default_destination_concurrency_limit": "20",
        "initial_destination_concurrency": "20",
        "default_destination_recipient_limit": "100",
        "smtp_connection_cache_on_demand": "yes",
        "smtp_connection_cache_destinations": "static:all",
        "smtp_connection_reuse_time_limit": "300s",
        # Nothing that costs a lookup or a rewrite.
        "smtpd_relay_restrictions": "",
        "smtpd_client_port_logging": "no",
        "local_header_rewrite_clients": "",
        "disable_mime_input_processing": "yes",
        "disable_mime_output_conversion": "yes",
        "enable_original_recipient": "no",
        "smtp_tls_security_level": "none",
        "smtpd_tls_security_level": "none",
        "parent_domain_matches_subdomains": "",
        # Processes live as long as the run.
        "max_use": "100000",
        "max_idle": "300s",
        "smtpd_timeout": "300s",
    }
    PROCESSES = 60

    def __init__(self, scratch, sink_port, suspended=False, name="postfix", more=None, clients=0):
        """`clients`: so many come at once, and each wants a process of its own."""
        main = {**self.TUNED, "relayhost": f"[127.0.0.1]:{sink_port}", "transport_maps": ""}
        if suspended:
            main["smtpd_recipient_restrictions"] = "check_client_access static:HOLD, permit_mynetworks, reject"
        # Each domain is a destination of its own to Postfix because its text is: the second hop is never needed.
        table = "".join(f"d{n}.test smtp:[127.0.0.1]:{sink_port},[127.0.0.1]:{20000 + n}\n" for n in range(DOMAINS))
        main["transport_maps"] = "texthash:" + scratch.write(f"{name}.transport", table)
        super().__init__(Instance(scratch, name, {**main, **(more or {})}, process_limit=max(self.PROCESSES, clients + 20)))
        self.spool = f"{self.instance.home}/spool"

    def outstanding(self, _recipients):
        """Messages in the queues that are on their way; held ones are not. Files appear before the 250."""
        return sum(self._files(queue) for queue in ("incoming", "active", "deferred", "maildrop"))

    def kept(self, _recipients):
        return self._files("hold")

    def empty(self):
        """An operator's removal of all that is queued."""
        self.instance.view.run(["/usr/sbin/postsuper", "-c", f"{self.instance.home}/etc", "-d", "ALL"], patience=600)

    def syncs(self):
        return None

    def _files(self, queue):
        try:
            return sum(len(files) for _, _, files in os.walk(f"{self.spool}/{queue}"))
        except OSError:
            return 0
