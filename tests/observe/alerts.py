"""The alerts, by promtool: their syntax, and unit tests in which each fires and keeps quiet."""

import os
import re

import deployed
from prometheus import promtool

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "alerts_test.yml")
CASE = re.compile(r"^ +- eval_time:.*?(?=^ +- eval_time:|^  - |\Z)", re.M | re.S)


def check(_scratch):
    promtool("check", "config", deployed.path("prometheus.yml"))
    promtool("check", "rules", deployed.path("alerts.yml"))
    promtool("test", "rules", TESTS)
    deployed.complain(_untested())


def expressions():
    """What the alerts ask: on one line, or on those below `|`."""
    found = re.findall(r"^( +)expr: (?:\|\n((?:\1  .*\n)+)|(.*)\n)", deployed.read("alerts.yml"), re.M)
    return [several or single for _indent, several, single in found]


def _untested():
    with open(TESTS, encoding="utf-8") as file:
        cases = CASE.findall(file.read())
    for name in re.findall(r"- alert: (\w+)", deployed.read("alerts.yml")):
        of_it = ["exp_labels" in case for case in cases if re.search(rf"alertname: {name}\b", case)]
        if set(of_it) != {True, False}:
            yield f"{name}: alerts_test.yml must have it fire, and keep quiet"
