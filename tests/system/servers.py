# SPDX-License-Identifier: Apache-2.0
"""Private servers for tests: free loopback ports, folders of their own, nothing left behind."""
import ctypes
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

PR_SET_PDEATHSIG = 1
START = 120		# seconds a server may take to answer


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A server process. What inherits says how it starts and when it answers."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.process = None
        os.makedirs(self.folder, exist_ok=True)

    def command(self):
        raise NotImplementedError

    def answers(self):
        raise NotImplementedError

    def start(self):
        with open(os.path.join(self.folder, "output"), "ab") as output:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            start_new_session=True, preexec_fn=die_with_parent)
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
        return self.start()

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
<max_concurrent_queries>100</max_concurrent_queries><keep_alive_timeout>3</keep_alive_timeout>
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


class Tls:
    """Ends TLS in front of a server that has none: a certificate of its own in folder, forwards every byte."""

    def __init__(self, folder, port, name="127.0.0.1"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.certificate = os.path.join(self.folder, "certificate.pem")
        key = os.path.join(self.folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                        "-addext", f"subjectAltName=IP:{name}", "-keyout", key, "-out", self.certificate],
                       check=True, capture_output=True)
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
                back = threading.Thread(target=self.forward, args=(server, client), daemon=True)
                back.start()
                self.forward(client, server)
                back.join()
        except OSError:
            pass		# refused, or cut in the middle: that is what is tested

    @staticmethod
    def forward(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()
