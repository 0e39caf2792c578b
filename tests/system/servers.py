# SPDX-License-Identifier: Apache-2.0
"""Private servers for tests: free loopback ports, folders of their own, nothing left behind."""
import contextlib
import ctypes
import glob
import os
import pwd
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import pika

from harness import DEADLINE, poll

PR_SET_PDEATHSIG = 1
START = 120		# seconds a server may take to answer


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NotInstalled(Exception):
    """The server's programs are not on this machine."""


def children_of(pid):
    """All processes below pid."""
    parents = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(stat) as file:
            fields = file.read().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.split("/")[2]))
    found, queue = [], [pid]
    while queue:
        below = parents.get(queue.pop(), [])
        found += below
        queue += below
    return found


class Server:
    """A server process. What inherits says how it starts and when it answers.

    It dies with the thread that started it: start it in the main one.
    """
    death = signal.SIGKILL

    def __init__(self, folder):
        self.folder = str(folder)
        self.process = None
        os.makedirs(self.folder, exist_ok=True)

    def command(self):
        raise NotImplementedError

    def process_options(self):
        return {}

    def die_with_parent(self):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, self.death)

    def answers(self):
        raise NotImplementedError

    def start(self):
        with open(os.path.join(self.folder, "output"), "ab") as output:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            start_new_session=True, preexec_fn=self.die_with_parent,
                                            **self.process_options())
        end = time.monotonic() + START
        while not self.answers():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.command()[0]} left with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > end:
                raise AssertionError(f"{self.command()[0]} does not answer:\n{self.tail()}")
            time.sleep(0.1)
        return self

    def tail(self):
        with open(os.path.join(self.folder, "output"), errors="replace") as output:
            return "".join(output.readlines()[-30:])

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()

    def restart(self):
        self.stop()
        return self.start()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.stop()


CLICKHOUSE = """<?xml version="1.0"?>
<yandex>
<logger><level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>
<http_port>{http_port}</http_port><tcp_port>{tcp_port}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path><user_files_path>{folder}/files/</user_files_path>
<users_config>{folder}/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<timezone>{timezone}</timezone><mark_cache_size>67108864</mark_cache_size>
<max_concurrent_queries>100</max_concurrent_queries><keep_alive_timeout>10</keep_alive_timeout>
{extra}
</yandex>
"""

CLICKHOUSE_USERS = """<?xml version="1.0"?>
<yandex>
<profiles><default><max_memory_usage>1000000000</max_memory_usage></default></profiles>
<users><{user}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></{user}></users>
<quotas><default></default></quotas>
</yandex>
"""


class ClickHouse(Server):
    """Debian's clickhouse-server with one user, who has a password."""
    user, password = "sluice", "p@ss/w:rd"

    def __init__(self, folder, timezone="UTC", extra=""):
        super().__init__(folder)
        self.port = free_port()
        values = {"folder": self.folder, "http_port": self.port, "tcp_port": free_port(), "timezone": timezone,
                  "user": self.user, "password": self.password, "extra": extra}
        for name, text in ("config.xml", CLICKHOUSE), ("users.xml", CLICKHOUSE_USERS):
            with open(os.path.join(self.folder, name), "w") as out:
                out.write(text.format(**values))
        for name in "data", "tmp", "files":
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)

    @staticmethod
    def installed():
        return shutil.which("clickhouse-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

    def command(self):
        return [self.installed(), "--config-file=" + os.path.join(self.folder, "config.xml")]

    def url(self, port=None, database="", options="", tls=False):
        return (f"clickhouse{'s' if tls else ''}://{self.user}:p%40ss%2Fw%3Ard@127.0.0.1:{port or self.port}"
                f"/{database}{options}")

    def query(self, sql, timeout=60):
        """Runs one statement and returns its rows, each a list of texts."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/?default_format=TSV", data=sql.encode(),
                                         headers={"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return [line.split("\t") for line in answer.read().decode().splitlines()]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{sql}: {error.read().decode(errors='replace')}") from error

    def answers(self):
        try:
            return self.query("SELECT 1", timeout=5) == [["1"]]
        except OSError:
            return False


class Postgres(Server):
    """PostgreSQL in a folder of its own. It refuses to run as root, and then runs as somebody else."""
    death = signal.SIGQUIT		# its word for: stop at once and take the children along

    def __init__(self, settings=(), durable=False):
        self.bin = self.find()
        self.account = None
        super().__init__(tempfile.mkdtemp(prefix="sluice-postgres-"))
        if os.getuid() == 0:
            self.account = next(user for user in pwd.getpwall() if user.pw_name in ("postgres", "nobody"))
            os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)
        self.port = free_port()
        self.data = os.path.join(self.folder, "data")
        self.settings = [f"fsync={'on' if durable else 'off'}", "max_connections=50", "shared_buffers=64MB",
                         "deadlock_timeout=200ms", *settings]

    @staticmethod
    def find():
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[4]))
        if shutil.which("postgres"):
            found.append(os.path.dirname(os.path.realpath(shutil.which("postgres"))))
        if not found or not os.path.exists(os.path.join(found[-1], "initdb")):
            raise NotInstalled("PostgreSQL's server (Debian: postgresql)")
        return found[-1]

    def process_options(self):
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder, "LC_ALL": "C.UTF-8"}
        account = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []} if self.account else {}
        return dict(account, cwd=self.folder, env=environment)

    def run(self, program, *arguments, check=True):
        done = subprocess.run([os.path.join(self.bin, program), *arguments], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=DEADLINE, **self.process_options())
        if check and done.returncode != 0:
            raise AssertionError(f"{program}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def command(self):
        options = [part for setting in self.settings for part in ("-c", setting)]
        return [os.path.join(self.bin, "postgres"), "-D", self.data, "-p", str(self.port), "-h", "127.0.0.1",
                "-k", self.folder, *options]

    def start(self):
        if not os.path.exists(self.data):
            self.run("initdb", "-D", self.data, "-A", "trust", "-U", "sluice", "-E", "UTF8", "--locale=C", "--no-sync")
        return super().start()

    def answers(self):
        return self.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "sluice", "-d", "postgres",
                        check=False).returncode == 0

    def signal(self, number):
        # Its children lead process groups of their own.
        for pid in [self.process.pid] + children_of(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        pids = children_of(self.process.pid)
        super().kill()
        poll("its processes to end", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))

    def stop(self):
        """A fast shutdown: transactions are rolled back, connections closed."""
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=DEADLINE)

    def __exit__(self, *_):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, text, database="postgres"):
        """Runs statements and returns the rows of the last one, each a text."""
        return self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                        "-U", "sluice", "-d", database, "-c", text).stdout.splitlines()

    def terminate_backends(self):
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                 " AND backend_type = 'client backend'")

    def create_database(self, name):
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_databases(self):
        """All that were created."""
        for name in self.sql("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"):
            self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, database="postgres", port=None):
        return f"postgresql://sluice@127.0.0.1:{port or self.port}/{database}"


PGBOUNCER = """[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
"""


class PgBouncer(Server):
    """In front of a PostgreSQL server, with so many connections to it, handed out per transaction."""

    def __init__(self, server, size):
        if not self.installed():
            raise NotInstalled("pgbouncer")
        self.server, self.port = server, free_port()
        super().__init__(os.path.join(server.folder, "pgbouncer"))
        for name, text in ("config", PGBOUNCER), ("users", '"sluice" ""\n'):
            with open(os.path.join(self.folder, name), "w") as out:
                out.write(text.format(server=server.port, port=self.port, folder=self.folder, size=size))

    @staticmethod
    def installed():
        return shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")

    def command(self):
        return [self.installed(), os.path.join(self.folder, "config")]

    def process_options(self):
        return self.server.process_options()

    def answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True


RABBITMQ_ENVIRONMENT = """NODENAME=sluice@localhost
NODE_PORT={port}
NODE_IP_ADDRESS=127.0.0.1
DIST_PORT={dist}
MNESIA_BASE={folder}/data
LOG_BASE={folder}/log
PID_FILE={folder}/pid
ENABLED_PLUGINS_FILE={folder}/plugins
CONFIG_FILE={folder}/rabbitmq
SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {{127,0,0,1}} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
"""


class RabbitMQ(Server):
    """One node with a name service (epmd), a HOME and so a cookie of its own; guest may do everything."""

    def __init__(self, folder=None, settings=(), tls=None):
        """tls: a folder with certificate.pem and key.pem: listens with TLS too, on tls_port."""
        self.script = self.find()
        super().__init__(folder or tempfile.mkdtemp(prefix="sluice-rabbitmq-"))
        self.port, self.epmd_port, self.epmd = free_port(), free_port(), None
        settings = ["loopback_users.guest = true", "heartbeat = 10", "disk_free_limit.absolute = 1MB",
                    "vm_memory_high_watermark.absolute = 1GB", *settings]
        if tls:
            self.tls_port = free_port()
            settings += [f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
                         f"ssl_options.certfile = {tls}/certificate.pem", f"ssl_options.keyfile = {tls}/key.pem",
                         "ssl_options.verify = verify_none"]
        for name, text in (("environment", RABBITMQ_ENVIRONMENT.format(port=self.port, dist=free_port(), folder=self.folder)),
                           ("plugins", "[].\n"), ("rabbitmq.conf", "\n".join(settings) + "\n")):
            with open(os.path.join(self.folder, name), "w") as out:
                out.write(text)

    @staticmethod
    def find():
        scripts = sorted(glob.glob("/usr/lib/rabbitmq/bin/rabbitmq-server"))
        if not scripts or not shutil.which("epmd"):
            raise NotInstalled("RabbitMQ's server (Debian: rabbitmq-server)")
        return scripts[-1]

    def process_options(self):
        # RUNNING_UNDER_SYSTEMD: the script becomes the server instead of waiting for it.
        return {"cwd": self.folder, "env": {
            "PATH": os.environ["PATH"], "HOME": self.folder, "LC_ALL": "C.UTF-8", "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_CONF_ENV_FILE": os.path.join(self.folder, "environment"),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(self.epmd_port)}}

    def command(self):
        return [self.script]

    def start(self):
        if self.epmd is None:
            self.epmd = subprocess.Popen(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL, preexec_fn=self.die_with_parent)
        return super().start()

    def ctl(self, *arguments, check=True, program="rabbitmqctl"):
        options = self.process_options()
        done = subprocess.run([os.path.join(os.path.dirname(self.script), program), "-q", "-n", "sluice@localhost",
                               *arguments], stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=DEADLINE,
                              **options)
        if check and done.returncode != 0:
            raise AssertionError(f"{program} {arguments}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def answers(self):
        """AMQP is spoken, which it is only at the end of the start."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                client.sendall(b"AMQP\0\0\x09\x01")
                return client.recv(1) == b"\x01"
        except OSError:
            return False

    def url(self, options="", port=None, scheme="amqp", host="127.0.0.1"):
        return f"{scheme}://guest:guest@{host}:{port or self.port}/%2f{options}"

    def queues(self):
        """{queue: messages in it, those that consumers hold included}"""
        return {name: int(count) for name, count in
                (line.split("\t") for line in
                 self.ctl("list_queues", "--no-table-headers", "name", "messages").splitlines())}

    def delete_queues(self):
        parameters = pika.ConnectionParameters("127.0.0.1", self.port)
        with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
            channel = connection.channel()
            for queue in self.queues():
                channel.queue_delete(queue)

    def alarm(self, on=True):
        """A memory alarm: connections that publish are blocked."""
        self.ctl("set_vm_memory_high_watermark", *(["0.0000001"] if on else ["absolute", "1GB"]))

    def close_connections(self):
        self.ctl("close_all_connections", "test", check=False)

    def signal(self, number):
        for pid in [self.process.pid] + children_of(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def __exit__(self, *_):
        self.kill()
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


REDIS = """port {port}
bind 127.0.0.1
unixsocket {folder}/socket
dir {folder}
daemonize no
save ""
appendonly no
requirepass {password}
user {user} on >{password} ~{{sluice:limits}}* +evalsha +script|load +info +select +get +set +del +time
"""


class Redis(Server):
    """One server without persistence, on a port and on a socket; a user who may do what limits need, and a password."""
    user, password = "sluice", "p@ss/w:rd"

    def __init__(self, folder=None):
        if not self.installed():
            raise NotInstalled("Redis' server (Debian: redis-server)")
        super().__init__(folder or tempfile.mkdtemp(prefix="sluice-redis-"))
        self.port = free_port()
        self.socket = os.path.join(self.folder, "socket")
        with open(os.path.join(self.folder, "redis.conf"), "w") as out:
            out.write(REDIS.format(port=self.port, folder=self.folder, user=self.user, password=self.password))

    @staticmethod
    def installed():
        return shutil.which("redis-server")

    def command(self):
        return [self.installed(), os.path.join(self.folder, "redis.conf")]

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)
        return super().start()

    def cli(self, *arguments, check=True):
        done = subprocess.run(["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), "--no-auth-warning", "-a",
                               self.password, *arguments], stdin=subprocess.DEVNULL, text=True, capture_output=True,
                              timeout=DEADLINE)
        if check and done.returncode != 0:
            raise AssertionError(f"redis-cli {arguments}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def answers(self):
        return self.cli("PING", check=False) == "PONG"

    def url(self, port=None, database=0, user=user):
        return f"redis://{user}:p%40ss%2Fw%3Ard@127.0.0.1:{port or self.port}/{database}"

    def socket_url(self, database=0):
        return f"redis+unix://:p%40ss%2Fw%3Ard@{self.socket}?db={database}"

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Proxy:
    """Passes TCP connections on to a port, until told otherwise. Several connections, a thread for each direction."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.delay = 0.0	# seconds that each piece waits
        self.refusing = False
        self.answering = None	# what every client gets instead of the server
        self.lock = threading.Lock()
        self.pairs = set()
        self.trigger = None	# (bytes, forward): cut when a client sends these; forward None: held
        self.triggered = threading.Event()
        self.mute = None	# the answer to what has these bytes reaches nobody
        self.muted = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            if self.answering is not None:
                threading.Thread(target=self._answer, args=(client, self.answering), daemon=True).start()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = (client, server)
            with self.lock:
                self.pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(pair, source, sink), daemon=True).start()

    @staticmethod
    def _answer(client, answer):
        with contextlib.suppress(OSError), client:
            client.settimeout(10)
            client.recv(65536)
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):	# so that what comes still does not reset the connection
                pass

    def _pump(self, pair, source, sink):
        try:
            while True:
                piece = source.recv(65536)
                if not piece:
                    break
                if self.delay:
                    time.sleep(self.delay)
                if source is pair[0] and self.mute and self.mute in piece:
                    self.mute = None
                    self.muted.add(pair)
                if source is pair[1] and pair in self.muted:
                    self.triggered.set()
                    continue
                if source is pair[0] and self.trigger and self.trigger[0] in piece:
                    forward, self.trigger = self.trigger[1], None
                    if forward:
                        sink.sendall(piece)
                        time.sleep(0.2)		# so that the server is done with it
                    self.triggered.set()
                    while forward is None and source.recv(65536):
                        pass
                    break
                sink.sendall(piece)
        except OSError:
            pass
        self._close(pair)

    def _close(self, pair):
        with self.lock:
            self.pairs.discard(pair)
            self.muted.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self):
        """Every connection there is; new ones are passed on."""
        for pair in list(self.pairs):
            self._close(pair)

    def cut_on(self, piece, forward):
        """Cuts the connection on which a client sends piece, before or after the server got it."""
        self.triggered.clear()
        self.trigger = (piece, forward)

    def swallow_answer(self, piece):
        """To the client that sends piece next; triggered is set when the server has answered, and the client waits on."""
        self.triggered.clear()
        self.mute = piece

    def answer(self, answer):
        """Answers every connection with these bytes; None: passes them on again."""
        self.answering = answer
        self.cut()

    def hold_on(self, piece):
        """What a client sends from piece on never arrives, on the connection on which it does."""
        self.cut_on(piece, None)

    def refuse(self, refusing=True):
        self.refusing = refusing
        if refusing:
            self.cut()

    def close(self):
        # A thread inside accept() is woken by the shutdown, not by the close.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


def certificate(folder, name="127.0.0.1", owner=None):
    """Makes certificate.pem, which is its own authority, and key.pem; returns the first one's path."""
    made = os.path.join(folder, "certificate.pem")
    key = os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName={'IP' if name[0].isdigit() else 'DNS'}:{name}", "-keyout", key, "-out", made],
                   check=True, capture_output=True)
    for path in made, key:
        os.chmod(path, 0o600)
        if owner:
            os.chown(path, owner.pw_uid, owner.pw_gid)
    return made


class Tls:
    """Ends TLS in front of a server that has none: a certificate of its own in folder, forwards every byte."""

    def __init__(self, folder, port, name="127.0.0.1"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.certificate = certificate(self.folder, name)
        key = os.path.join(self.folder, "key.pem")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as client, \
                 socket.create_connection(self.target) as server:
                while self.forward(client, server):
                    pass
        except OSError:
            pass		# refused, or cut in the middle: that is what is tested

    @staticmethod
    def forward(client, server):
        """What has come on either side; False once one of them has closed. One thread: a TLS connection is for one."""
        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
        for source, target in (client, server), (server, client):
            if source not in ready:
                continue
            source.setblocking(False)
            try:
                data = source.recv(65536)
            except ssl.SSLWantReadError:
                continue		# the beginning of a record
            finally:
                source.setblocking(True)
            if not data:
                return False
            target.sendall(data)
        return True

    def close(self):
        self.listener.close()
