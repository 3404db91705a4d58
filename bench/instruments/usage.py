"""What a system under test costs: all its processes together, from /proc."""

import os

TICKS = os.sysconf("SC_CLK_TCK")


def tree(root):
    """The process and its descendants that are alive."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(name)
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_seconds(root):
    """User and system time so far, of the living and of those that have ended and were waited for."""
    return sum(map(_cpu_seconds, tree(root)))


def _cpu_seconds(pid):
    """`stat` counts in steps of 10 ms, which adds up over dozens of processes that have used little each; `schedstat`
    counts nanoseconds, but not those of threads that have ended. Each is too low at worst: the higher one is right."""
    fields = _stat(pid)
    if not fields:
        return 0
    user, system, ended_user, ended_system = map(int, fields[11:15])
    return max((user + system) / TICKS, _scheduled_seconds(pid)) + (ended_user + ended_system) / TICKS


def _scheduled_seconds(pid):
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    except (OSError, IndexError):
        pass  # it has just ended, or the kernel does not say
    return total / 1e9


def memory_bytes(root):
    """Proportional set size: shared pages count once, however many processes share them."""
    total = 0
    for pid in tree(root):
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass  # it has just ended
    return total


def _stat(pid):
    """The fields after the name, from the state on; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def hardware():
    """One line about this machine."""
    read = lambda path: open(path, encoding="utf-8", errors="replace").read()
    model = next((line.split(":")[1].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")), "?")
    memory = int(next(line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal")))
    system = next((line.split("=")[1].strip('"') for line in read("/etc/os-release").splitlines() if line.startswith("PRETTY_NAME")), "Linux")
    return f"{os.cpu_count()} cores ({model}), {memory / 2**20:.0f} GiB, {_disk()}, kernel {os.uname().release}, {system}"


def _disk():
    """The file system of the scratch directory, its device, and the kind of its write cache."""
    device = os.stat(os.environ.get("TMPDIR", "/tmp")).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split(" - ") for line in file]
    after = next((after.split() for before, after in mounts if before.split()[2] == number), ["?", "?"])
    base = f"/sys/dev/block/{number}"
    for queue in f"{base}/queue/write_cache", f"{base}/../queue/write_cache":
        if os.path.exists(queue):
            with open(queue, encoding="ascii") as file:
                return f"{after[0]} on {after[1]} ({file.read().strip()} cache)"
    return f"{after[0]} on {after[1]}"
