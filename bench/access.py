"""Cost of access control and of limits: CPU time per request with and without them, in interleaved rounds.

Each server is a daemon of its own over the same store. Downloads ask for files of the default bucket, with
and without a token; uploads go into buckets with a quota, with a lifetime, with both and with neither.
"""

from bench.costs import Costs
from bench.request_mixes import AGENT_HEADS
from bench.servers.filestored import Filestored
from bench.servers.filestored_access import Both, Expiry, Guarded, Quota
from bench.workloads import Workload, download_requests, small_uploads

PLAIN, GUARDED = Filestored.name, Guarded.name

MAX_RATIOS = {"access-get-4k": 1.1, "access-get-4k-uncached": 1.1}
"""Goals for the CPU time of a download with a token, as a multiple of that without an access file."""

WORKLOADS = (
    Workload(
        "access-get-4k",
        "GET 4 KiB from the response cache, 64 connections",
        (PLAIN, GUARDED),
        download_requests("4 KiB", 64),
    ),
    Workload(
        "access-get-4k-uncached",
        "GET 4 KiB, 64 connections, each with another User-Agent",
        (PLAIN, GUARDED),
        download_requests("4 KiB", 64, heads=AGENT_HEADS),
    ),
    Workload(
        "access-post-4k",
        "Upload of 4 KiB, 64 connections",
        (GUARDED, PLAIN, Quota.name, Expiry.name, Both.name),
        small_uploads(64),
        ours=GUARDED,
    ),
)
"""The rows, in the order of the report."""

COSTS = Costs((Filestored, Guarded, Quota, Expiry, Both), WORKLOADS, MAX_RATIOS)
