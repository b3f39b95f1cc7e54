# SPDX-License-Identifier: Apache-2.0
"""Servers with a load on them that says what became of each request.

    load = START["nginx"]()
    load.pids()        what to profile: all processes of the server
    load.requests()    requests answered so far
    load.finish()      ends the load
    load.failures      what went wrong with requests, in words, by the load's own report
    load.log_errors()  lines of the server's log, since the load began, that tell of an error

Everything ends with the test function that asked for it; what is missing is a skip.
"""

import os
import pwd
import re
import signal
import socket
import subprocess
import urllib.request

import procs
import servers
import tap

FOR_EVER = "86400"


def _get(port, path):
    with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=60) as answer:
        return answer.read().decode("ascii")


def _family(pid):
    return [pid] + [p for child in procs.children(pid) for p in _family(child)]


class Load:
    """error: what an error looks like in the server's log."""

    error = None

    def __init__(self):
        self.directory = procs.temp_dir()
        self.log = self.directory + "/server.log"
        self.said = self.directory + "/load.log"
        self.failures = []
        self.server = None
        self.load = None
        self.log_start = 0

    def start_server(self, argv, **options):
        log = open(self.log, "ab")
        self.server = procs.spawn(argv, stdout=log, stderr=log, **options)
        log.close()

    def start_load(self, argv, **options):
        self.log_start = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.said, "ab") as said:
            self.load = procs.spawn(argv, stdout=said, stderr=said, **options)

    def report(self):
        with open(self.said, encoding="utf-8", errors="replace") as f:
            return f.read()

    def said_by_server(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_errors(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            f.seek(self.log_start)
            return [line.rstrip("\n") for line in f if re.search(self.error, line)]

    def pids(self):
        return _family(self.server.pid)

    def finish(self):
        if self.load.poll() is not None:
            self.failures.append("the load ended by itself: " + self.report()[-300:])
        if self.server.poll() is not None:
            self.failures.append("the server ended")
        self.load.send_signal(signal.SIGINT)
        self.load.wait(60)
        self.judge()

    def judge(self):
        """Reads what the load reports at its end into failures."""


class Redis(Load):
    error = r" # "  # the mark of a warning

    def __init__(self):
        super().__init__()
        self.port = procs.free_port()
        self.start_server([procs.program("redis-server"), "--port", str(self.port), "--bind",
                           "127.0.0.1", "--save", "", "--dir", self.directory])
        # only then has it said what it has to say of the machine
        procs.wait_until("redis-server is ready", lambda: "Ready to accept" in self.said_by_server())
        self.start_load([procs.program("redis-benchmark"), "-p", str(self.port), "-q", "-l",
                         "-t", "set,get,lpush,lpop", "-c", "20"])
        procs.wait_until("redis-server works", lambda: self.requests() > 1000)

    def info(self, name):
        with socket.create_connection(("127.0.0.1", self.port), 60) as s:
            s.sendall(b"INFO stats\r\nQUIT\r\n")
            text = b""
            while True:
                data = s.recv(65536)
                if not data:
                    break
                text += data
        return int(re.search(rb"^%s:(\d+)" % name, text, re.M)[1])

    def requests(self):
        return self.info(b"total_commands_processed")

    def judge(self):
        for name in (b"total_error_replies", b"rejected_connections"):
            n = self.info(name)
            if n:
                self.failures.append("%s %d" % (name.decode(), n))
        if "rror" in self.report():
            self.failures.append(self.report()[-300:])


class Wrk(Load):
    """Whatever wrk drives."""

    port = 0

    def drive(self, path, *options):
        self.start_load([procs.program("wrk"), "-t", "1", "-c", "10", "-d", FOR_EVER, "--timeout", "60",
                         *options,
                         "http://127.0.0.1:%d%s" % (self.port, path)])
        procs.wait_until("it works", lambda: self.requests() > 500)

    def requests(self):
        return int(_get(self.port, "/count"))

    def judge(self):
        said = self.report()
        if "requests in" not in said:
            self.failures.append("wrk reports nothing: " + said[-300:])
        self.failures += re.findall(r"(?:Socket errors|Non-2xx).*", said)


class Nginx(Wrk):
    error = r"\[(warn|error|crit|alert|emerg)\]"

    def __init__(self):
        super().__init__()
        self.port = procs.free_port()
        self.start_server(servers.nginx_command(self.directory, self.port, self.log, 2))
        procs.wait_until("nginx answers", lambda: servers.answers(self.port, self.server))
        self.drive("/page.txt", "-H", "Accept-Encoding: gzip")

    def requests(self):
        # "server accepts handled requests", and below the three numbers
        return int(re.search(r"^ \d+ \d+ (\d+)", _get(self.port, "/count"), re.M)[1])


_NODE = """
const http = require('http'), zlib = require('zlib');
const rows = Array.from({length: 100}, (_, i) => ({id: i, name: 'row ' + i}));
let count = 0;
const server = http.createServer((request, response) => {
    if (request.url === '/count') { response.end(String(count)); return; }
    count++;
    const body = JSON.stringify(rows.map((r) => ({...r, at: count % 97 * r.id})));
    zlib.deflate(body, (error, packed) => {
        if (error) { response.statusCode = 500; response.end(); return; }
        response.setHeader('Content-Encoding', 'deflate');
        response.end(packed);
    });
});
server.keepAliveTimeout = 0;  // else it hangs up on clients that get no processor for 5 s
server.listen(Number(process.argv[1]), '127.0.0.1');
"""


class Node(Wrk):
    error = r"\S"  # it has nothing else to say

    def __init__(self):
        super().__init__()
        self.port = procs.free_port()
        self.start_server([procs.program("node", "nodejs"), "-e", _NODE, str(self.port)])
        procs.wait_until("node answers", lambda: servers.answers(self.port, self.server))
        self.drive("/")


_PYTHON = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    count = 0
    def do_GET(self):
        if self.path == '/count':
            body = str(Handler.count).encode()
        else:
            Handler.count += 1
            body = json.dumps([{'id': i, 'square': i * i} for i in range(100)]).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_request(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # wrk hangs up at its end
        if not isinstance(sys.exc_info()[1], ConnectionResetError):
            super().handle_error(request, client_address)

Server(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""


class Python(Wrk):
    error = r"\S"

    def __init__(self):
        super().__init__()
        self.port = procs.free_port()
        self.start_server([procs.program("/usr/bin/python3", "python3"), "-c", _PYTHON,
                           str(self.port)])
        procs.wait_until("python3 answers", lambda: servers.answers(self.port, self.server))
        self.drive("/")


class Postgres(Load):
    """pgbench with its own transactions: reads, writes, locks."""

    error = r"(WARNING|ERROR|FATAL|PANIC):|terminated by signal"

    def __init__(self, clients=4):
        super().__init__()
        programs = servers.postgres_bin()
        pgbench = procs.program(programs + "/pgbench", "pgbench")
        options = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        options["cwd"] = self.directory
        options["env"] = dict(os.environ, PGUSER="bench", PGDATABASE="postgres", LC_ALL="C",
                              PGHOST=self.directory, PGPORT=str(procs.free_port()),
                              HOME=self.directory)
        data = self.directory + "/data"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        subprocess.run([programs + "/initdb", "-D", data, "-U", "bench", "-A", "trust",
                        "--no-sync"], check=True, **quiet)
        self.start_server([programs + "/postgres", "-D", data, "-p", options["env"]["PGPORT"],
                           "-k", self.directory, "-F", "-c", "listen_addresses="], **options)
        procs.wait_until("postgres answers", lambda: subprocess.run(
            [programs + "/pg_isready", "-q"], check=False, **options).returncode == 0)
        subprocess.run([pgbench, "-i", "-q", "-s", "10"], check=True, **quiet)
        self.start_load([pgbench, "-n", "-P", "1", "-c", str(clients), "-T", FOR_EVER], **options)
        procs.wait_until("postgres works", lambda: self.requests() > 0)

    def progress(self):
        """progress: 3.0 s, 812.9 tps, lat 4.921 ms stddev 2.010, 0 failed"""
        return re.findall(r"^progress: ([\d.]+) s, ([\d.]+) tps,.* (\d+) failed", self.report(),
                          re.M)

    def requests(self):
        done = then = 0.0
        for at, tps, _ in self.progress():
            done += float(tps) * (float(at) - then)
            then = float(at)
        return int(done)

    def judge(self):
        failed = sum(int(n) for _, _, n in self.progress())
        if failed:
            self.failures.append("%d transactions failed" % failed)
        odd = [line for line in self.report().splitlines()
               if not line.startswith(("progress: ", "pgbench ("))]
        self.failures += odd


START = {"postgres": Postgres, "redis": Redis, "nginx": Nginx, "node": Node,
         "python3": Python}


def start(name):
    load = START[name]()
    tap.diag("%s: processes %s" % (name, " ".join(map(str, load.pids()))))
    return load
