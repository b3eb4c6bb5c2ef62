"""
What the pacing achieves, against bounds; and full jitter, which knows nothing, beside it.

Means over many seeded runs of 60 starts, beginning with nothing known. Holds are lognormal with a
sigma of 0.3 unless said otherwise.
"""

import random
import statistics
from dataclasses import dataclass

import pytest

from airflow_provider_enos.api.pacing import Pacing
from tests.simulation.world import FullJitterHost, PacedHost, World

RUNS = 60


def constant(seconds):
    return lambda rng: lambda n: seconds


def lognormal(mean):
    return lambda rng: lambda n: mean * rng.lognormvariate(-0.045, 0.3)


def changing(before, after):
    return lambda rng: lambda n: (before if n < 30 else after) * rng.lognormvariate(-0.045, 0.3)


@dataclass(frozen=True)
class Mean:
    makespan: float
    requests: float
    unfairness: float


def mean(make_host, hosts, hold, *, starts=60, runs=RUNS, **world):
    found = []
    for seed in range(runs):
        random.seed(seed)  # what the pacing itself draws
        rng = random.Random(seed)
        lock = hold(random.Random(10**6 + seed))
        queue = starts // hosts
        found.append(World(rng, [make_host() for _ in range(hosts)], queue, lock, **world).run())
    return Mean(
        statistics.mean(one.makespan for one in found),
        statistics.mean(one.requests for one in found),
        statistics.mean(one.unfairness for one in found),
    )


def ours(**known):
    return lambda: PacedHost(Pacing(**known))


LAN = {"round_trip": (0.003, 0.02), "starts": 50}
KNOWN_2_S = ours(holds=[1.5, 1.7, 1.8, 1.9, 2.0, 2.1, 2.3, 2.6])

CASES = {
    # name: (host, hosts, hold, world, most makespan, most requests)
    "one host, constant 2 s, near": (ours(), 1, constant(2.0), LAN, 1.06, 2.3),
    "one host, constant 1 s, near": (ours(), 1, constant(1.0), LAN, 1.06, 2.5),
    "one host, constant 0.5 s": (ours(), 1, constant(0.5), {}, 1.3, 2.5),
    "one host, constant 2 s": (ours(), 1, constant(2.0), {}, 1.08, 2.5),
    "one host, constant 5 s": (ours(), 1, constant(5.0), {}, 1.08, 2.5),
    "one host, constant 60 s": (ours(), 1, constant(60.0), {}, 1.08, 2.5),
    "one host, 2 s": (ours(), 1, lognormal(2.0), {}, 1.15, 4),
    "one host, 5 s": (ours(), 1, lognormal(5.0), {}, 1.13, 3),
    "one host, 60 s": (ours(), 1, lognormal(60.0), {}, 1.15, 4),
    "one host, 5 s grows to 40 s": (ours(), 1, changing(5.0, 40.0), {}, 1.15, 4),
    "one host, 40 s falls to 5 s": (ours(), 1, changing(40.0, 5.0), {}, 1.15, 4),
    "one host, answered when done": (ours(), 1, lognormal(5.0), {"blocking": True}, 1.03, 1.0),
    "one host, answered when done, near": (
        ours(),
        1,
        constant(2.0),
        {"blocking": True, **LAN},
        1.02,
        1.05,
    ),
    "three hosts, 5 s": (ours(), 3, lognormal(5.0), {}, 1.16, 5),
    "three hosts, constant 5 s": (ours(), 3, constant(5.0), {}, 1.2, 7),
    "three hosts, 60 s": (ours(), 3, lognormal(60.0), {}, 1.2, 12),
    "three hosts, 2 s, known": (KNOWN_2_S, 3, lognormal(2.0), {}, 1.17, 5.5),
    "three hosts, answered when done": (ours(), 3, lognormal(5.0), {"blocking": True}, 1.1, 3),
    "ten hosts, 5 s": (ours(), 10, lognormal(5.0), {}, 1.2, 10),
    "fifty hosts, 5 s": (ours(), 50, lognormal(5.0), {"starts": 100}, 1.15, 30),
    "one host, strangers": (ours(), 1, lognormal(5.0), {"strangers": 0.2}, 1.25, 3.5),
    "three hosts, strangers": (ours(), 3, lognormal(5.0), {"strangers": 0.2}, 1.25, 5),
    # Where the list never shows RUNNING in time, nothing stalls; it only takes longer.
    "one host, no hints": (ours(), 1, lognormal(5.0), {"hints": False}, 1.15, 3.5),
    "three hosts, no hints": (ours(), 3, lognormal(5.0), {"hints": False}, 1.45, 6),
    "ten hosts, no hints": (ours(), 10, lognormal(5.0), {"hints": False}, 1.5, 12),
}


@pytest.mark.parametrize("name", CASES)
def test_queue_moves_almost_as_fast_as_it_can_with_few_requests(name):
    host, hosts, hold, world, makespan, requests = CASES[name]

    found = mean(host, hosts, hold, **world)

    assert found.makespan <= makespan
    assert found.requests <= requests


@pytest.mark.parametrize("hosts", [1, 3, 10])
def test_it_is_faster_and_no_less_fair_than_full_jitter(hosts):
    paced = mean(ours(), hosts, lognormal(5.0), runs=2 * RUNS)
    jitter = mean(FullJitterHost, hosts, lognormal(5.0), runs=2 * RUNS)

    assert paced.makespan < jitter.makespan
    assert paced.unfairness <= jitter.unfairness * 1.05


def test_a_thousand_hosts_all_start():
    """Far more strangers than there will ever be; World fails if one of them starves."""
    found = mean(ours(), 1000, lognormal(1.0), starts=2000, runs=1, spread=60.0)

    assert found.makespan <= 1.1
