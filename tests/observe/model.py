"""The dashboard against the types that Grafana publishes for it, by the TypeScript compiler."""

import os
import re
import subprocess

import deployed
from peers import packages
from peers.scratch import Failed, Unavailable

TYPESCRIPT = "typescript@5.6.3"
OPTIONS = "--noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler --target es2022".split()


def check(scratch):
    # As old as the Grafana that is deployed.
    [version] = re.findall(r"image: grafana/grafana:(\S+)", deployed.read("compose.yaml"))
    modules = packages.npm([f"@grafana/schema@{version}", TYPESCRIPT])
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.ts"), encoding="utf-8") as file:
        head = file.read()
    text = f"{head}export const board: Board = {deployed.read('grafana', 'dashboards', 'posthaste.json')};\n"
    source = scratch.write("model.ts", text)
    os.symlink(modules, scratch.path("node_modules"))
    command = [os.path.join(modules, ".bin", "tsc"), *OPTIONS, source]
    try:
        done = subprocess.run(command, cwd=scratch.directory, capture_output=True, text=True, timeout=120)
    except FileNotFoundError as missing:
        raise Unavailable(str(missing)) from None
    if done.returncode:
        raise Failed(done.stdout + done.stderr)
