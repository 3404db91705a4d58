"""The dashboard as Grafana reads it: its layout, variables, data source; and what it asks Prometheus."""

import functools
import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import deployed

WIDTH = 24  # columns of Grafana's grid
# Of the identifiers in Grafana's list of units (packages/grafana-data/src/valueFormats), those that make sense for us.
UNITS = {"none", "short", "locale", "s", "cps", "ops", "mps", "bytes", "percentunit", "dtdurations", "dateTimeFromNow"}
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)[^}]*\})")
RATE_INTERVAL = "$__rate_interval"
LABEL_VALUES = re.compile(r"label_values\((.+), *(\w+)\)$")
LEGEND = re.compile(r"\{\{ *(\w+) *\}\}")


@dataclass(frozen=True)
class Query:
    """`labels`: those that its legend names."""

    title: str
    expression: str
    labels: tuple


@functools.cache
def load():
    return json.loads(deployed.read("grafana", "dashboards", "posthaste.json"))


def panels():
    """Rows too, and what is folded into them."""
    for panel in load()["panels"]:
        yield panel
        yield from panel.get("panels", ())


def variables():
    return load()["templating"]["list"]


def label_values(variable):
    """What a variable may be: those of a label of some series. Returns both."""
    return LABEL_VALUES.match(variable["query"]["query"]).groups()


def queries():
    return [
        Query(f"{panel['title']} ({target['refId']})", target["expr"], tuple(LEGEND.findall(target["legendFormat"])))
        for panel in panels()
        for target in panel.get("targets", ())
    ]


def substituted(expression, values, scrape_seconds):
    """As Grafana sends it. `values`: variable to what stands in its place."""
    text = expression.replace(RATE_INTERVAL, f"{4 * scrape_seconds}s")  # at the highest resolution
    return VARIABLE.sub(lambda found: values[found.group(1) or found.group(2)], text)


def picked(values):
    """How Grafana writes the values that were picked of a variable, for the inside of a string in PromQL."""
    escaped = [re.sub(r"[\\$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def check(_scratch):
    deployed.complain([*_head(), *_layout(), *_sources(), *_places(), *_variables(), *_panels()])


def _head():
    board = load()
    for key, kind in {"uid": str, "title": str, "schemaVersion": int, "panels": list}.items():
        if not isinstance(board.get(key), kind) or not board[key]:
            yield f"no {key}"


def _layout():
    counted = Counter(panel.get("id") for panel in panels())
    yield from (f"{count} panels have the id {number}" for number, count in counted.items() if count > 1 or not number)
    for panel in load()["panels"]:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        if min(x, y) < 0 or min(w, h) < 1 or x + w > WIDTH:
            yield f"{panel['title']}: {panel['gridPos']} is outside of the {WIDTH} columns"
        if panel["type"] == "row" and (x, w, h) != (0, WIDTH, 1):
            yield f"the row {panel['title']} does not fill a line"
    for one, other in combinations(load()["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        if all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in ("xw", "yh")):
            yield f"{one['title']} and {other['title']} overlap"


def _sources():
    """Each has to be the one that deploy/grafana/provisioning makes: Grafana shows "data source not found" else."""
    provisioned = deployed.read("grafana", "provisioning", "datasources", "prometheus.yaml")
    [uid], [kind] = (re.findall(rf"^ +{key}: (\S+)$", provisioned, re.M) for key in ("uid", "type"))
    wanted = {"type": kind, "uid": uid}
    shown = [panel for panel in panels() if panel["type"] != "row"]
    users = [(panel["title"], panel) for panel in shown]
    users += [(f"{panel['title']} ({target['refId']})", target) for panel in shown for target in panel["targets"]]
    users += [(f"variable {variable['name']}", variable) for variable in variables()]
    named = [(who, user.get("datasource")) for who, user in users]
    yield from (f"{who}: the data source is {source}, not {wanted}" for who, source in named if source != wanted)
    # Of it Grafana makes $__rate_interval.
    assumed = re.findall(r"timeInterval: (\S+)", provisioned)
    scraped = re.findall(r"scrape_interval: (\S+)", deployed.read("prometheus.yml"))
    if assumed != scraped:
        yield f"the data source's timeInterval is {assumed}, Prometheus's scrape_interval is {scraped}"


def _places():
    """Where Grafana looks for the dashboard in its container, there compose.yaml puts it."""
    [place] = re.findall(r"path: (\S+)", deployed.read("grafana", "provisioning", "dashboards", "posthaste.yaml"))
    compose = deployed.read("compose.yaml")
    wanted = f"./grafana/dashboards:{place}:ro", f"DASHBOARD_PATH: {place}/posthaste.json"
    yield from (f"compose.yaml has no {text}" for text in wanted if text not in compose)


def _variables():
    named = [variable["name"] for variable in variables()]
    asked = [query.expression for query in queries()]
    used = {a or b for text in asked for a, b in VARIABLE.findall(text.replace(RATE_INTERVAL, ""))}
    yield from (f"the variable {name} is used, and not defined" for name in used - set(named))
    yield from (f"the variable {name} is defined, and not used" for name in set(named) - used)
    yield from (f"the variable {name} is defined twice" for name, count in Counter(named).items() if count > 1)
    for variable in variables():
        if not LABEL_VALUES.match(variable["query"]["query"]):
            yield f"the variable {variable['name']} asks for no label_values"


def _panels():
    for panel in panels():
        if panel["type"] == "row":
            continue
        title = panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        if not letters or len(set(letters)) < len(letters):
            yield f"{title}: no queries, or two with the same refId"
        unit = panel["fieldConfig"]["defaults"].get("unit")
        if unit not in UNITS:
            yield f"{title}: no unit {unit!r} is known"
