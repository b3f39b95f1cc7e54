# SPDX-License-Identifier: Apache-2.0
"""Real programs as targets: servers on loopback, with a load on them.

Each function gives the pids to profile, ready and busy; everything ends with
the test function that asked for it. What is missing here is a skip.
"""

import glob
import grp
import os
import pwd
import re
import socket
import subprocess

import procs
import tap


def answers(port, process):
    assert process.poll() is None, "%s ended" % process.args[0]
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def _quiet(argv, **options):
    return procs.spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def _unprivileged():
    """The user whom servers run as: None when the test is not root itself."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    tap.skip("no user to run a server as")
    return None


def _as(user):
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def redis(load=True):
    server = procs.program("redis-server")
    benchmark = procs.program("redis-benchmark")
    port = procs.free_port()
    directory = procs.temp_dir()
    process = _quiet([server, "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                      "--appendonly", "no", "--dir", directory])
    procs.wait_until("redis-server answers", lambda: answers(port, process))
    if not load:
        return process.pid
    load = _quiet([benchmark, "-p", str(port), "-q", "-l", "-t", "set,get,lpush", "-c", "20",
                   "-P", "4"])
    procs.wait_until("redis-server works", lambda: procs.cpu_ns(process.pid) > 300000000)
    assert load.poll() is None, "redis-benchmark ended"
    return process.pid


_NGINX_CONF = """
daemon off;
master_process on;
worker_processes %(workers)d;
pid %(dir)s/nginx.pid;
error_log %(log)s warn;
%(user)s
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path %(dir)s/body;
    proxy_temp_path %(dir)s/proxy;
    fastcgi_temp_path %(dir)s/fastcgi;
    uwsgi_temp_path %(dir)s/uwsgi;
    scgi_temp_path %(dir)s/scgi;
    gzip on;
    gzip_min_length 1;
    gzip_types text/plain;
    keepalive_requests 100000000;
    server {
        listen 127.0.0.1:%(port)d;
        root %(dir)s;
        location / { default_type text/plain; }
        location = /count { stub_status; }
    }
}
"""


def nginx_command(directory, port, log, workers):
    """How to start an nginx that compresses /page.txt; its files are put into directory,
    and /count says how it is used."""
    os.chmod(directory, 0o755)
    user = ""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user = "user nobody %s;" % grp.getgrgid(nobody.pw_gid).gr_name
    with open(directory + "/page.txt", "w", encoding="ascii") as f:
        f.writelines("line %d of a page that is worth compressing\n" % i for i in range(300))
    with open(directory + "/nginx.conf", "w", encoding="ascii") as f:
        f.write(_NGINX_CONF % {"dir": directory, "port": port, "user": user, "log": log,
                               "workers": workers})
    return [procs.program("nginx", "/usr/sbin/nginx"), "-p", directory, "-c",
            directory + "/nginx.conf"]


def nginx():
    """The worker process of an nginx that compresses what it sends."""
    wrk = procs.program("wrk")
    directory = procs.temp_dir()
    port = procs.free_port()
    master = _quiet(nginx_command(directory, port, directory + "/error.log", 1))
    procs.wait_until("nginx answers", lambda: answers(port, master))
    worker = procs.wait_until("nginx has a worker", lambda: procs.children(master.pid))[0]
    _quiet([wrk, "-t", "1", "-c", "10", "-d", "600", "-H", "Accept-Encoding: gzip",
            "http://127.0.0.1:%d/page.txt" % port])
    procs.wait_until("nginx works", lambda: procs.cpu_ns(worker) > 300000000)
    return worker


def postgres_bin():
    for directory in sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True):
        if os.path.exists(directory + "/initdb"):
            return directory
    initdb = procs.program("initdb")
    return os.path.dirname(os.path.realpath(initdb))


def postgres(clients=2, rate=None):
    """The backend processes that pgbench's clients talk to, as fast as they can or so
    many times a second."""
    programs = postgres_bin()
    pgbench = procs.program(programs + "/pgbench", "pgbench")
    user = _unprivileged()
    directory = procs.temp_dir(user)
    data = directory + "/data"
    port = procs.free_port()
    env = dict(os.environ, PGUSER="bench", PGDATABASE="postgres", PGHOST=directory,
               PGPORT=str(port), HOME=directory, LC_ALL="C")
    options = dict(env=env, cwd=directory, **_as(user))
    subprocess.run([programs + "/initdb", "-D", data, "-U", "bench", "-A", "trust", "--no-sync",
                    "--no-instructions"], check=True, stdout=subprocess.DEVNULL, **options)
    server = _quiet([programs + "/postgres", "-D", data, "-p", str(port), "-k", directory, "-F",
                     "-c", "listen_addresses=", "-c", "shared_buffers=32MB"], **options)
    procs.wait_until("postgres answers", lambda: subprocess.run(
        [programs + "/pg_isready", "-q"], check=False, **options).returncode == 0)
    subprocess.run([pgbench, "-i", "-q", "-s", "1"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, **options)
    slowly = ["-R", str(rate)] if rate else []
    _quiet([pgbench, "-n", "-S", "-c", str(clients), "-T", "600"] + slowly, **options)

    def backends():
        found = []
        for pid in procs.children(server.pid):
            # pgbench looks around first, by a backend that ends again at once.
            if re.search(r"postgres: bench postgres .*(SELECT|idle|BIND|PARSE)",
                         procs.cmdline(pid)):
                found.append(pid)
        return found if len(found) >= clients else None

    least = 5000000 if rate else 200000000

    def busy():
        try:
            pids = backends()
            return pids[:clients] if pids and procs.cpu_ns(pids[0]) > least else None
        except OSError:
            return None

    return procs.wait_until("postgres works", busy)


_PYTHON = """
import sys

def leaf(n):
    total = 0
    for i in range(n):
        total += i * i % 7
    return total

def middle(n):
    return leaf(n) + len(sorted(str(x) for x in range(n // 10)))

def outer():
    while True:
        middle(3000)

print("ready", flush=True)
outer()
"""


def python():
    interpreter = procs.program("/usr/bin/python3", "python3")
    process = procs.spawn([interpreter, "-c", _PYTHON], stdout=subprocess.PIPE)
    procs.Lines(process.stdout).wait_for("ready")
    return process.pid


_NODE = """
function leaf(n, seed) {
    let x = seed;
    for (let i = 0; i < n; i++) x = (x * 1103515245 + 12345 + i) % 2147483648;
    return x;
}
function Basket(n) { this.items = []; for (let i = 0; i < n; i++) this.items.push({k: i}); }
Basket.prototype.sum = function () {
    return this.items.map((o) => leaf(20, o.k)).reduce((a, b) => a + b, 0);
};
let total = 0;
console.log('ready');
function round() {
    for (let i = 0; i < 200; i++) total += new Basket(100).sum() + leaf(1000, i);
    setImmediate(round);
}
round();
"""


def node(*options):
    """A script that compiles to machine code as it runs, and makes garbage."""
    interpreter = procs.program("node", "nodejs")
    process = procs.spawn([interpreter, *options, "-e", _NODE], stdout=subprocess.PIPE)
    procs.Lines(process.stdout).wait_for("ready")
    procs.wait_until("node works", lambda: procs.cpu_ns(process.pid) > 1500000000)
    return process.pid


_COMPILATION = """
#include <algorithm>
#include <map>
#include <string>
#include <vector>
template <int N> struct Kind { std::map<std::string, std::vector<int>> all; int rank = N; };
template <int N> int work(Kind<N> &k, const std::vector<int> &v)
{
    std::vector<int> sorted(v);
    std::sort(sorted.begin(), sorted.end(), [&](int a, int b) { return a % (N + 2) < b; });
    for (int i : sorted)
        k.all[std::to_string(i + N)].push_back(i * N);
    return static_cast<int>(k.all.size()) + k.rank;
}
template int work<0>(Kind<0> &, const std::vector<int> &);
"""


def compilation(functions=4000):
    """g++'s own compiler, busy with templates for minutes."""
    compiler = procs.program("g++", "c++")
    directory = procs.temp_dir()
    with open(directory + "/long.cc", "w", encoding="ascii") as f:
        f.write(_COMPILATION)
        f.writelines("template int work<%d>(Kind<%d> &, const std::vector<int> &);\n" % (i, i)
                     for i in range(1, functions))
    driver = _quiet([compiler, "-O2", "-S", "-o", directory + "/long.s", directory + "/long.cc"])
    pids = procs.wait_until("g++ compiles", lambda: procs.children(driver.pid))
    # A driver that is ended leaves it behind.
    tap.cleanup(procs.kill, pids[0])
    procs.wait_until("g++ works", lambda: procs.cpu_ns(pids[0]) > 500000000)
    return pids[0]
