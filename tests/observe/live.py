"""Every query of the dashboard and every alert, asked of a Prometheus that scrapes a posthaste under traffic."""

import math
import os
import re
import time

import alerts
import dashboard
import deployed
import promql
from peers.corpus import ROOT
from peers.scratch import Failed, wait_for
from prometheus import SCRAPE_SECONDS, Prometheus
from traffic import World

NAMES = os.path.join(ROOT, "engine", "src", "metrics", "names.rs")
PATIENCE_SECONDS = 60
# Exported, and on no panel.
UNSHOWN = {
    "process_start_time_seconds": "for those who want to see restarts; `up` and the counters show them too",
    "process_virtual_memory_bytes": "address space, most of it reserved only",
    "process_threads": "does not change after the start",
}
# Prometheus's own.
FOREIGN = {"up"}


def check(scratch):
    world = World(scratch)
    prometheus = Prometheus(scratch, f"127.0.0.1:{world.engine.admin_port}").start()
    start = time.time()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        world.round()
        wrong = [*_queries(prometheus, start), *_alerts(prometheus)]
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(SCRAPE_SECONDS)
    wrong += _names(world.engine.exported())
    deployed.complain(wrong)
    # To the end of the chain: mail that expired for real makes an alert.
    wait_for("the alert PosthasteExpiring", lambda: _state(prometheus, "PosthasteExpiring") == "firing")
    # The certificate is made for two days, and this alert waits for an hour.
    wait_for("the alert PosthasteCertificate", lambda: _state(prometheus, "PosthasteCertificate") == "pending")
    if _state(prometheus, "PosthasteDown") == "firing":
        raise Failed("PosthasteDown while it is up")
    world.stop()
    wait_for("the alert PosthasteDown", lambda: _state(prometheus, "PosthasteDown") == "pending")


def _state(prometheus, name):
    [state] = [rule["state"] for rule in prometheus.rules() if rule["name"] == name]
    return state


def _queries(prometheus, start):
    """The queries that show nothing, with everything or with each value picked."""
    values = {}
    for variable in dashboard.variables():
        series, label = dashboard.label_values(variable)
        values[variable["name"]] = prometheus.get(f"label/{label}/values", match=series)
        if not values[variable["name"]]:
            yield f"the variable {variable['name']} has no values"
            return
    choices = [
        {variable["name"]: variable["allValue"] for variable in dashboard.variables()},
        {name: dashboard.picked(known) for name, known in values.items()},
    ]
    for query in dashboard.queries():
        for chosen in choices:
            text = dashboard.substituted(query.expression, chosen, SCRAPE_SECONDS)
            shown = prometheus.values(text, start, time.time())
            if not any(math.isfinite(value) for _labels, numbers in shown for value in numbers):
                yield f"{query.title}: nothing is shown by {text}"
            for label in query.labels:
                if not all(label in labels for labels, _numbers in shown):
                    yield f"{query.title}: no label {label} for the legend in {text}"


def _alerts(prometheus):
    for rule in prometheus.rules():
        if rule["health"] != "ok":
            yield f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}"
        # The data that the alert waits for is there, whether or not it is time for it.
        for selector in promql.selectors(rule["query"]):
            if not prometheus.get("query", query=selector)["result"]:
                yield f"{rule['name']}: nothing is {selector}"


def _names(text):
    """What the dashboard and the alerts ask for is exported; what is exported is shown."""
    exported = set(re.findall(r"(?m)^# TYPE (\S+) ", text))
    shown = {promql.name(s) for query in dashboard.queries() for s in promql.selectors(query.expression)}
    shown |= {promql.name(dashboard.label_values(variable)[0]) for variable in dashboard.variables()}
    alerted = {promql.name(s) for expression in alerts.expressions() for s in promql.selectors(expression)}
    asked = {promql.family(name, exported) for name in shown | alerted} - FOREIGN
    yield from (f"posthaste exports no {name}" for name in sorted(asked - exported))
    shown = {promql.family(name, exported) for name in shown}
    yield from (f"no panel shows {name}" for name in sorted(exported - shown - set(UNSHOWN)))
    stale = [name for name in UNSHOWN if name in shown or name not in exported]
    yield from (f"{name} is shown, or not there: live.py says otherwise" for name in stale)
    with open(NAMES, encoding="utf-8") as file:
        known = set(re.findall(r'"(posthaste_\w+)"', file.read()))
    yield from (f"the traffic here makes posthaste export no {name}" for name in sorted(known - exported))
