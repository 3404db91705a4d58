"""As much of PromQL as it takes to find the series that an expression reads."""

import re

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\d[\w.]*|[a-zA-Z_:][\w:]*|\{[^}]*\}|\[[^\]]*\]|\S')
CLAUSES = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def selectors(expression):
    """What it reads: `name` or `name{matchers}`."""
    tokens, found, at = [*TOKEN.findall(expression), ""], [], 0
    while tokens[at]:
        token, after = tokens[at], tokens[at + 1]
        at += 1
        if token in CLAUSES:
            if after == "(":  # labels
                at = tokens.index(")", at) + 1
        elif re.match(r"[a-zA-Z_:]", token) and token.lower() not in WORDS and after != "(" and after not in CLAUSES:
            found.append(token + (after if after.startswith("{") else ""))
    return found


def name(selector):
    return selector.partition("{")[0]


def family(name, families):
    """The metric that a series belongs to: a histogram has three kinds of series."""
    return name if name in families else HISTOGRAM.sub("", name)
