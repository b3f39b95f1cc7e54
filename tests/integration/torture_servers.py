#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/torture-servers in small: no request fails and no server complains because
it is profiled."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import profiler
import tap
import underload

SECONDS = float(os.environ.get("CPROF_TEST_SERVER_SECONDS", "4"))
ATTACHES = int(os.environ.get("CPROF_TEST_ROUNDS", "3"))


def check(name):
    result = underload.run(name, SECONDS, 2, 2, ATTACHES)
    tap.diag("%s: %d requests, %d samples, %.0f s profiled, requests a second to those without: "
             "%s" % (name, result.requests, result.samples, result.profiled_s,
                     " ".join("%.2f" % r for r in result.ratios)))
    tap.at_least(result.samples, 20, name + " is sampled")
    tap.equal(result.failures, [], name + ": no request fails")
    tap.equal(result.log_errors, [], name + ": no error is in its log")
    tap.equal(result.bad_runs, [], "%s: %d more runs end well" % (name, ATTACHES))
    tap.equal(result.held, [], name + ": nobody stays traced or stopped")


def test_postgres():
    check("postgres")


def test_redis():
    check("redis")


def test_nginx():
    check("nginx")


def test_node():
    check("node")


def test_python():
    check("python3")


if __name__ == "__main__":
    profiler.require()
    tap.run([test_postgres, test_redis, test_nginx, test_node, test_python])
