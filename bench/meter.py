# SPDX-License-Identifier: Apache-2.0
"""What processes use: CPU and memory from /proc, and how much of the machine somebody else took meanwhile."""
import contextlib
import os
import time

TICK = os.sysconf("SC_CLK_TCK")
MIB = 1048576.0


def processes():
    """{pid: (parent, CPU seconds of it and of its children that were waited for)}"""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
            found[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICK)
    return found


def tree(found, roots):
    """The processes at and below the roots, those that are there."""
    below = {}
    for pid, (parent, _) in found.items():
        below.setdefault(parent, []).append(pid)
    answer, queue = [], [root for root in roots if root in found]
    while queue:
        pid = queue.pop()
        answer.append(pid)
        queue += below.get(pid, [])
    return answer


def cpu_of(found, roots):
    return sum(found[pid][1] for pid in tree(found, roots))


def busy():
    """CPU seconds that the whole machine has spent on anything, since it began; what was stolen from it counts."""
    with open("/proc/stat", encoding="utf-8") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    user, nice, system, _idle, _wait, irq, soft, steal = fields
    return (user + nice + system + irq + soft + steal) / TICK


def status_kib(pid, key):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    return 0


def pss_kib(pid):
    """Its share of the memory it uses: what several processes share is divided among them."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def forget_peaks(pids):
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")


class Meter:
    """CPU seconds and peak memory of groups of processes from its making to stop().

    groups: {name: pid of the group's root, or None, or a list of pids}. The peak is the sum over the group's processes of
    each one's own peak, so what they share counts several times.
    """

    def __init__(self, groups):
        self.roots = {name: pid if isinstance(pid, list) else [pid] for name, pid in groups.items() if pid is not None}
        before = processes()
        for roots in self.roots.values():
            forget_peaks(tree(before, roots))
        self.cpu = {name: cpu_of(before, roots) for name, roots in self.roots.items()}
        self.ours = cpu_of(before, [os.getpid()])
        self.busy = busy()
        self.start = time.monotonic()

    def stop(self):
        """{"seconds", "cpu": {name: seconds}, "peak": {name: MiB}, "elsewhere": cores taken by strangers}"""
        after = processes()
        seconds = time.monotonic() - self.start
        strangers = (busy() - self.busy) - (cpu_of(after, [os.getpid()]) - self.ours)
        return {
            "seconds": seconds,
            "cpu": {name: cpu_of(after, roots) - self.cpu[name] for name, roots in self.roots.items()},
            "peak": {name: sum(status_kib(pid, "VmHWM") for pid in tree(after, roots)) * 1024 / MIB
                     for name, roots in self.roots.items()},
            "elsewhere": max(0.0, strangers / seconds) if seconds > 0 else 0.0,
        }


def settle(pids, share=0.1, deadline=10.0):
    """Waits until these process trees hardly use the CPU, so that what they do behind is not measured."""
    end = time.monotonic() + deadline
    last = cpu_of(processes(), pids)
    while pids and time.monotonic() < end:
        time.sleep(0.3)
        now = cpu_of(processes(), pids)
        if now - last < share * 0.3:
            return
        last = now


def wait_for_quiet(patience, share=0.1):
    """Waits until strangers take less than this share of a core for a second; returns the seconds that took."""
    start = time.monotonic()
    while time.monotonic() - start < patience:
        probe = Meter({})
        time.sleep(1.0)
        if probe.stop()["elsewhere"] < share:
            break
    return time.monotonic() - start
