"""The systems under test, each in a private instance on loopback: started empty, asked what it costs, stopped."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests"))

import usage
from peers.posthaste import Posthaste
from peers.postfix import Instance
from peers.scratch import Failed

DOMAINS = 1000
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 10
METRICS_SECONDS = 1  # counters of the queue reach the exporter twice a second
REUSE = 1_000_000
ENDS = ("delivered", "bounced", "expired")


class System:
    """`instance` is the server, `root` the process whose tree is the system."""

    def __init__(self, instance):
        self.instance = instance
        instance.start()
        self.root = instance.process.pid
        self.port = instance.port

    def cpu_seconds(self):
        return usage.cpu_seconds(self.root)

    def memory_bytes(self):
        return usage.memory_bytes(self.root)

    def wait_until_delivered(self, recipients, patience):
        """Until so many have left the queue, and nothing is in it."""
        deadline = time.monotonic() + patience
        while left := self.outstanding(recipients):
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: {left} not delivered after {patience:.0f} s")
            time.sleep(POLL_SECONDS)

    def stop(self):
        self.instance.stop()


class PosthasteSystem(System):
    """As it comes, but for the destination's port, the local nameserver, and connections that are kept (Postfix counts
    only the seconds of a connection, not its messages)."""

    name = "posthaste"

    def __init__(self, scratch, program, sink_port, nameserver, suspended=False, name="posthaste"):
        self.settings = (
            f'[dns]\nnameservers = ["127.0.0.1:{nameserver.port}"]\n[delivery]\nport = {sink_port}\n'
            f"[limits]\nmessages_per_connection = {REUSE}\nsuspend = "
        )
        super().__init__(Posthaste(scratch, program, self.settings + str(suspended).lower(), name))

    def restart(self, suspended):
        """Once stopped: the same queue again."""
        self.instance.configuration = self.settings + str(suspended).lower()
        super().__init__(self.instance)

    def outstanding(self, recipients):
        """Both are asked: the gauge of the queue may be a moment behind what was just accepted."""
        metrics = self.instance.metrics()
        ended = sum(
            value
            for name, value in metrics.items()
            if name.startswith("posthaste_deliveries_total{") and any(f'"{end}"' in name for end in ENDS)
        )
        return int(max(recipients - ended, metrics.get("posthaste_queue_recipients", 0)))

    def kept(self, recipients):
        """What is queued, once that has caught up with what was accepted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (queued := int(self.instance.metrics().get("posthaste_queue_recipients", 0))) < recipients:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        return queued

    def syncs(self):
        time.sleep(METRICS_SECONDS)
        return int(self.instance.metrics().get("posthaste_queue_syncs_total", 0))


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

    def __init__(self, scratch, sink_port, suspended=False, name="postfix", more=None):
        main = {**self.TUNED, "relayhost": f"[127.0.0.1]:{sink_port}", "transport_maps": ""}
        if suspended:
            main["smtpd_recipient_restrictions"] = "check_client_access static:HOLD, permit_mynetworks, reject"
        # Each domain is a destination of its own to Postfix because its text is: the second hop is never needed.
        table = "".join(f"d{n}.test smtp:[127.0.0.1]:{sink_port},[127.0.0.1]:{20000 + n}\n" for n in range(DOMAINS))
        main["transport_maps"] = "texthash:" + scratch.write(f"{name}.transport", table)
        super().__init__(Instance(scratch, name, {**main, **(more or {})}, process_limit=self.PROCESSES))
        self.spool = f"{self.instance.home}/spool"

    def outstanding(self, _recipients):
        """Messages in the queues that are on their way; held ones are not. Files appear before the 250."""
        return sum(self._files(queue) for queue in ("incoming", "active", "deferred", "maildrop"))

    def kept(self, _recipients):
        return self._files("hold")

    def syncs(self):
        return None

    def _files(self, queue):
        try:
            return sum(len(files) for _, _, files in os.walk(f"{self.spool}/{queue}"))
        except OSError:
            return 0
