# SPDX-License-Identifier: Apache-2.0
"""What is measured and what it is measured with: private servers, the daemon, the reference programs."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import meter
from report import Run

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.join(SOURCE, "tests", "system"))

PACKAGES = {"amqplib": "0.10.9", "graphile-worker": "0.17.3", "pg": "8.23.1"}


class Missing(Exception):
    """Something that a contender needs is not here; the text says what."""


def import_harness(build):
    """tests/system, which asks the environment where the programs are when it is imported."""
    os.environ["top_builddir"], os.environ["top_srcdir"] = build, SOURCE
    global harness, servers, ClickHouse
    import harness
    import servers

    class ClickHouse(servers.ClickHouse):
        """With a user that needs no password, for the references send none."""
        user, password = "default", ""

        def url(self, port=None, database="", options="", tls=False):
            return f"clickhouse://127.0.0.1:{port or self.port}/{database}{options}"


def make_programs(build, program, targets=("bench-programs",)):
    """Builds what a measurement needs; program is who says so when that fails."""
    if not os.path.exists(os.path.join(build, "Makefile")):
        sys.exit(f"{program}: {build} is no build folder: run scripts/build, or say --build DIR")
    done = run(["make", "-s", "-C", build, *targets], timeout=1800)
    if done.returncode != 0:
        sys.exit(f"{program}: make {' '.join(targets)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


class Rig:
    """Starts each server when it is first asked for, and stops them all at the end."""

    def __init__(self, build, shared, cache, quick, perf=None, patience=0, broker_lines=()):
        """perf: a folder for what `perf record` sees while the daemon is measured; None: it does not look.

        patience: seconds to wait before each measurement for a machine that nobody else uses.
        broker_lines: of rabbitmq.conf.
        """
        self.build, self.quick, self.cache, self.perf, self.patience = build, quick, cache, perf, patience
        self.broker_lines = broker_lines
        self.shared = shared if shared and os.path.isdir(shared) else None
        self.stack = contextlib.ExitStack()
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-",
                                                                           ignore_cleanup_errors=True))
        self.running, self.made, self.count = {}, {}, 0

    def close(self):
        self.stack.close()

    def fresh(self, name):
        self.count += 1
        path = os.path.join(self.folder, f"{self.count}-{name}")
        os.mkdir(path)
        return path

    def meter(self, groups, name):
        """A Meter of the groups; where profiles are wanted, the machine is recorded meanwhile."""
        if self.perf is None:
            return meter.Meter(groups)
        self.count += 1
        return Recorded(groups, os.path.join(self.perf, f"{name}-{self.count}.data"))

    def settle(self):
        """Before the clock starts: the servers are done with what was before, and the machine is quiet."""
        meter.settle([server.process.pid for server in self.running.values()])
        meter.wait_for_quiet(self.patience)

    # --- servers ---

    def server(self, name, make):
        if name not in self.running:
            try:
                self.running[name] = self.stack.enter_context(make())
            except servers.NotInstalled as missing:
                raise Missing(f"{missing} is not installed") from missing
        return self.running[name]

    def postgres(self):
        """With every commit on disk before it is answered."""
        return self.server("postgresql", lambda: servers.Postgres(durable=True, settings=[
            "max_connections=200", "shared_buffers=256MB", "max_wal_size=2GB", "track_commit_timestamp=on",
            "wal_init_zero=on"]))

    def rabbitmq(self):
        return self.server("rabbitmq", lambda: servers.RabbitMQ(settings=self.broker_lines))

    def clickhouse(self):
        if not ClickHouse.installed():
            raise Missing("clickhouse-server is not installed")
        return self.server("clickhouse", lambda: ClickHouse(self.fresh("clickhouse")))

    def stop_server(self, name):
        """For stages that measure something else's memory or need the room."""
        server = self.running.pop(name, None)
        if server is not None:
            server.__exit__(None, None, None)

    def pids(self, *names):
        return {name: self.running[name].process.pid for name in names if name in self.running}

    def simulator(self, latency_ms=0):
        """The upstream: more profiles than are asked for; one for each latency."""
        name = f"simulator {latency_ms} ms" if latency_ms else "simulator"
        if name not in self.running:
            sim = harness.Sim(self.fresh("simulator"), "--profiles", "2000000", "--latency", str(latency_ms))
            self.running[name] = sim
            self.stack.callback(sim.stop)
        return self.running[name]

    def need_chdb(self):
        if "SLUICE_CHDB" not in os.environ:
            done = run([os.path.join(SOURCE, "scripts", "chdb")], timeout=600)
            if done.returncode != 0:
                raise Missing(f"libchdb: {last_line(done.stderr)}")
            os.environ["SLUICE_CHDB"] = done.stdout.strip()

    # --- the reference programs ---

    def need_shared(self):
        if self.shared is None:
            raise Missing("the folder of reference programs is not there (--shared)")
        return self.shared

    def once(self, name, make):
        """What make() returns, made at the first call; a failure is remembered too."""
        if name not in self.made:
            try:
                self.made[name] = make()
            except Missing as missing:
                self.made[name] = missing
        if isinstance(self.made[name], Missing):
            raise self.made[name]
        return self.made[name]

    def compiled(self, name):
        """A C reference."""
        def make():
            out = os.path.join(self.folder, name)
            build = run([os.environ.get("CC", "gcc").split()[-1], "-O2", "-o", out,
                         os.path.join(self.need_shared(), name + ".c"), "-lrabbitmq"])
            if build.returncode != 0:
                raise Missing(f"{name}.c does not compile: {last_line(build.stderr)}")
            return out
        return self.once(name, make)

    def go_sinker(self):
        def make():
            source = os.path.join(self.need_shared(), "go_sinker.go")
            if shutil.which("go") is None:
                raise Missing("Go is not installed (Debian: golang-go golang-github-streadway-amqp-dev)")
            out = os.path.join(self.folder, "go_sinker")
            build = run(["go", "build", "-o", out, source], env=dict(
                os.environ, GOPATH="/usr/share/gocode", GO111MODULE="off",
                GOCACHE=os.path.join(self.cache, "go"), GOFLAGS=""))
            if build.returncode != 0:
                raise Missing(f"go_sinker.go does not compile: {last_line(build.stderr)}")
            return out
        return self.once("go_sinker", make)

    def node(self, script, *packages):
        """[node, path of the script, beside which its packages are found]."""
        def make():
            self.need_shared()
            if shutil.which("node") is None or shutil.which("npm") is None:
                raise Missing("Node.js is not installed (Debian: nodejs npm)")
            home = os.path.join(self.cache, "node")
            os.makedirs(home, exist_ok=True)
            wanted = [package for package in packages if installed_version(home, package) != PACKAGES[package]]
            if wanted:
                done = run(["npm", "install", "--prefix", home, "--no-audit", "--no-fund", "--silent", "--save-exact",
                            *(f"{package}@{PACKAGES[package]}" for package in wanted)], timeout=300)
                if done.returncode != 0:
                    raise Missing(f"npm install {' '.join(wanted)} failed: {last_line(done.stderr or done.stdout)}")
            copy = os.path.join(home, script)	# Node looks for packages beside the file
            shutil.copyfile(os.path.join(self.shared, script), copy)
            return ["node", copy]
        return self.once(script, make)

    def python(self, script, *modules):
        def make():
            path = os.path.join(self.need_shared(), script)
            for module in modules:
                if run([sys.executable, "-c", f"import {module}"]).returncode != 0:
                    raise Missing(f"Python's {module} is not installed (Debian: python3-{module.replace('_', '-')})")
            return [sys.executable, "-B", path]
        return self.once(script, make)

    def nginx(self):
        """Serves the made-up profile; returns its port."""
        def make():
            program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
            if program is None:
                raise Missing("nginx is not installed (Debian: nginx-light)")
            folder = self.fresh("nginx")
            os.chmod(folder, 0o755)
            os.chmod(self.folder, 0o755)
            made = run([sys.executable, "-B", os.path.join(self.need_shared(), "make_profile.py")])
            with open(os.path.join(folder, "u"), "w", encoding="utf-8") as out:
                out.write(made.stdout)
            server = Nginx(folder, program)
            return self.stack.enter_context(server).port
        return self.once("nginx", make)

    def environment(self):
        """Where the references find the servers that run."""
        values = dict(os.environ)
        if "rabbitmq" in self.running:
            values.update(AMQP_HOST="127.0.0.1", AMQP_PORT=str(self.running["rabbitmq"].port))
        if "clickhouse" in self.running:
            values["CH_URL"] = f"http://127.0.0.1:{self.running['clickhouse'].port}/"
        return values

    def reference(self, command, pattern, events, groups, environment=None, timeout=300):
        """Runs it to its end; pattern finds its rate in what it prints."""
        measured = meter.Meter(groups)
        process = subprocess.Popen(command, env=environment or self.environment(), text=True, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        with end_of(process, timeout):
            out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        used = measured.stop()
        used["cpu"]["reference"] = usage.ru_utime + usage.ru_stime
        used["peak"]["reference"] = usage.ru_maxrss * 1024 / meter.MIB
        found = re.search(pattern, out)
        if process.returncode != 0 or not found:
            raise RuntimeError(f"{command[0]} {os.path.basename(command[1])}: status {process.returncode}: {out[-500:]}")
        return Run({"rate": float(found.group(1))}, events, used)


class Recorded(meter.Meter):
    """A Meter with perf beside it, which sees every process; read the file with perf report -i FILE --comm NAME."""

    def __init__(self, groups, path):
        super().__init__(groups)
        self.perf = subprocess.Popen(["perf", "record", "-q", "-a", "-F", "499", "-g", "-o", path],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        used = super().stop()
        self.perf.send_signal(signal.SIGINT)
        self.perf.wait(timeout=120)
        return used


@contextlib.contextmanager
def end_of(process, timeout):
    """Kills the process and what it started, its session, when time is up or something goes wrong."""
    def kill(*_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    before = signal.signal(signal.SIGALRM, kill)
    signal.alarm(int(timeout))
    try:
        yield
    except BaseException:
        kill()
        raise
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        process.stdout.close()


def run(command, timeout=180, **options):
    return subprocess.run(command, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout,
                          check=False, **options)


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it says nothing"


def installed_version(home, package):
    with contextlib.suppress(OSError, ValueError), \
         open(os.path.join(home, "node_modules", package, "package.json"), encoding="utf-8") as file:
        return json.load(file).get("version")
    return None


NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 1000000000; keepalive_timeout 1h;
server {{ listen 127.0.0.1:{port}; root {folder}; location / {{ default_type application/json; }} }} }}
"""


def Nginx(folder, program):
    class Server(servers.Server):
        def __init__(self):
            super().__init__(folder)
            self.port = servers.free_port()
            with open(os.path.join(folder, "nginx.conf"), "w", encoding="utf-8") as out:
                out.write(NGINX.format(folder=folder, port=self.port))

        def command(self):
            return [program, "-c", os.path.join(folder, "nginx.conf"), "-e", os.path.join(folder, "error.log")]

        def answers(self):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return True
    return Server()


class Sluiced:
    """A daemon with a configuration of its own, watched through its control socket."""

    def __init__(self, rig, config, plugins=""):
        self.folder = rig.fresh("sluiced")
        path = os.path.join(self.folder, "flows.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(config)
        self.daemon = harness.Daemon(self.folder, "", config=path)
        if plugins:
            self.daemon.environment["SLUICE_PLUGIN_PATH"] += ":" + plugins

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.daemon.process.pid

    def start(self, every=0.02, deadline=120):
        """Returns the monotonic time when it was seen to be ready."""
        self.begin()
        return self.wait_ready(every, deadline)

    def begin(self):
        self.daemon.start(ready=False)

    def wait_ready(self, every=0.02, deadline=120):
        harness.poll("the daemon to be ready", lambda: self.daemon.alive() and self.status().get("ready"), deadline, every)
        return time.monotonic()

    def status(self):
        """What the supervisor knows, {} while it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(os.path.join(self.daemon.state, "control.sock"))
                client.sendall(b'{"cmd":"status"}\n')
                answer = b""
                while piece := client.recv(65536):
                    answer += piece
            return json.loads(answer)
        except (OSError, ValueError):
            return {}

    def roles(self):
        """{role: [pid]} of the processes below the supervisor."""
        found = {}
        for entry in self.status().get("roles", []):
            found.setdefault(entry["role"], []).append(entry["pid"])
        return found

    def metric(self, name):
        return self.status().get("metrics", {}).get(f"sluice_{name}", 0)

    def submit(self, *arguments):
        self.daemon.ctl("submit", *arguments, timeout=600)

    def watch(self, name, until, deadline, every=0.02):
        """[(monotonic time, value)] of a metric, each time it was seen to have changed, until it reaches until."""
        samples, value, end = [], 0, time.monotonic() + deadline
        while value < until:
            now_value = self.metric(name)
            if now_value != value:
                value = now_value
                samples.append((time.monotonic(), value))
            if time.monotonic() > end:
                raise RuntimeError(f"{name} is {value} of {until} after {deadline} s\n{self.daemon.tail(20)}")
            self.daemon.alive()
            time.sleep(every)
        return samples

    def stop(self):
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            status = self.daemon.stop()
            if status != 0:
                raise RuntimeError(f"sluiced left with {status}:\n{self.daemon.tail(20)}")
