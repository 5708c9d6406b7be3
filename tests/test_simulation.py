"""The simulation obeys Lambda's rules and the textbook's, and the documentation's table is its own."""

import random
from dataclasses import replace
from itertools import pairwise
from math import factorial, inf
from pathlib import Path

import pytest

from benchmarks import simulate as program
from benchmarks.lambda_model import OLDEST_EVENT, Function, Pool, TokenBucket, Work
from benchmarks.simulate import API, PIPELINE, SCENARIOS, Scenario, Simulation, of, simulate

DOCUMENT = Path(__file__).parent.parent / "docs" / "scaling.md"


def exactly(seconds: float) -> "Function":
    return Function(limit=10**6, work=lambda _: seconds, cold=0.0, new_environments=10**6)


def exponential(mean: float, limit: int, waiting: str | None) -> Function:
    return Function(
        limit=limit,
        work=lambda chance: chance.expovariate(1 / mean),
        cold=0.0,
        waiting=waiting,
        new_environments=10**6,
        kept=inf,
    )


def erlang_b(servers: int, load: float) -> float:
    """Share of the calls that are lost when `load` is offered to `servers` without a queue (Erlang, 1917)."""
    states = [load**n / factorial(n) for n in range(servers + 1)]
    return states[-1] / sum(states)


def erlang_c(servers: int, load: float) -> float:
    """Share of the calls that wait when `load` is offered to `servers` with a queue (Erlang, 1917)."""
    lost = erlang_b(servers, load)
    return lost / (1 - load / servers * (1 - lost))


def test_the_textbooks_formulas_give_the_textbooks_values() -> None:
    assert erlang_b(1, 1) == pytest.approx(1 / 2)
    assert erlang_b(2, 1) == pytest.approx(1 / 5)
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1) == pytest.approx(1 / 3)


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "rate"), [(1, 0.5), (2, 1), (3, 2), (10, 6)])
def test_a_line_is_as_long_as_erlang_c_says(servers: int, rate: float) -> None:
    """M/M/c with a mean service of a second."""
    scenario = Scenario("", rate, 50_000 / rate, exponential(1, servers, "line"), api=None, failing=0)
    waits = [wait for seed in range(4) for wait in simulate(scenario, seed).waits]
    waiting = erlang_c(servers, rate)
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(waiting, rel=0.03)
    assert sum(waits) / len(waits) == pytest.approx(waiting / (servers - rate), rel=0.04)


@pytest.mark.parametrize("service", ["exponential", "constant"])
@pytest.mark.parametrize(("servers", "rate"), [(2, 1), (10, 8)])
def test_a_function_without_a_queue_refuses_as_many_as_erlang_b_says(
    servers: int, rate: float, service: str
) -> None:
    api = exponential(1, servers, None)
    if service == "constant":  # the formula holds for any distribution
        api = replace(api, work=lambda _: 1.0)
    found = simulate(Scenario("", rate, 60_000 / rate, exactly(0), api, failing=0))
    assert found.refused / found.arrived == pytest.approx(erlang_b(servers, rate), rel=0.05)
    assert found.refused == found.throttled_api
    assert found.peak_api == servers


HARD = [
    Scenario("nothing", 0.001, 1),
    Scenario("steady", 50, 30),
    Scenario("bursts", 90, 90, of(30), replace(API, limit=20), burst_factor=5),
    Scenario("the gateway refuses", 500, 10, gateway=(50, 20)),
    Scenario("the pipeline is much too small", 100, 30, of(2)),
    Scenario("in line", 100, 30, replace(PIPELINE, waiting="line")),
    Scenario("half of all fail", 50, 30, failing=0.5),
    Scenario("all fail", 20, 30, failing=1.0),
    Scenario("outage", 50, 400, outage=(100, 300)),
    Scenario("outage, no API", 20, 400, api=None, outage=(10, 390)),
    Scenario("environments come slowly", 90, 20, replace(PIPELINE, new_environments=5)),
    Scenario("scaled", 3000, 20, of(500), scale=100),
]


@pytest.mark.parametrize("scenario", HARD, ids=lambda scenario: scenario.name)
def test_every_upload_ends_and_nothing_is_left_behind(scenario: Scenario) -> None:
    simulation = Simulation(scenario, seed=3)
    found = simulation.run()
    assert found.arrived == found.refused + len(found.ready) + found.failed
    assert simulation.backlog == 0
    assert not simulation.waiting
    assert simulation.pipeline.busy == 0
    assert simulation.api is None or simulation.api.busy == 0
    assert found.peak_pipeline <= simulation.scenario.pipeline.limit
    assert all(seconds > 0 for seconds in found.ready)


@pytest.mark.parametrize("scenario", HARD[1:], ids=lambda scenario: scenario.name)
def test_the_seed_decides_everything(scenario: Scenario) -> None:
    assert simulate(scenario, seed=5) == simulate(scenario, seed=5)
    assert simulate(scenario, seed=5) != simulate(scenario, seed=6)


def one(pipeline: Function, **kwargs: float | tuple[float, float]) -> Scenario:
    """A scenario with few arrivals, straight into the bucket."""
    return replace(Scenario("", 0.01, 1000, pipeline, api=None, failing=0), **kwargs)  # type: ignore[arg-type]


def test_an_event_that_fails_comes_again_after_one_and_two_minutes_and_never_after_that() -> None:
    found = simulate(one(exactly(1), outage=(0, 10**9)))
    assert found.failed == found.arrived > 1
    scenario = one(exactly(1), rate=0.2, outage=(0, 500.0))
    late = [seconds for seconds in simulate(scenario).ready if seconds > 1.001]
    # One second for each of two or three invocations, and the pauses between them.
    assert all(seconds == pytest.approx(62) or seconds == pytest.approx(183) for seconds in late)
    assert {round(seconds) for seconds in late} == {62, 183}


def test_a_throttled_event_is_given_up_after_six_hours() -> None:
    found = simulate(one(replace(exactly(9 * 3600), limit=1, waiting="backoff"), seconds=300))
    assert len(found.ready) == 1
    assert found.failed == found.arrived - 1 > 0
    assert found.ended == pytest.approx(9 * 3600, abs=300)
    assert found.throttled_events >= found.failed * OLDEST_EVENT / (1.5 * 300)
    patient = simulate(one(replace(exactly(5 * 3600), limit=1, waiting="backoff"), rate=0.02, seconds=300))
    assert len(patient.ready) > 1, "five hours of waiting are not too many"


def test_a_function_gets_a_thousand_environments_at_once_and_a_hundred_a_second_after_that() -> None:
    pool = Pool(replace(exactly(10**6), new_environments=1000))
    chance = random.Random(1)
    started = [
        sum(pool.start(now, chance) is not None for _ in range(5000)) for now in (0.0, 1.0, 3.0, 100.0)
    ]
    assert started == [1000, 100, 200, 1000]


def test_an_environment_is_used_again_until_it_has_been_idle_for_too_long() -> None:
    pool = Pool(replace(exactly(1), cold=5, kept=600))
    chance = random.Random(1)
    assert pool.start(0, chance) == 6
    pool.end(6)
    assert pool.start(600, chance) == 1
    pool.end(601)
    assert pool.start(1202, chance) == 6
    assert pool.cold_starts == 2


def test_a_token_bucket_lets_a_burst_pass_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=10, size=3)
    assert [bucket.take(now) for now in (0, 0, 0, 0, 0.1, 0.1, 9, 9, 9, 9)] == [True] * 3 + [False] + [
        True,
        False,
    ] + [True] * 3 + [False]


@pytest.mark.parametrize("burst_factor", [1, 3, 10])
def test_bursts_change_when_uploads_arrive_and_not_how_many(burst_factor: float) -> None:
    scenario = Scenario("", 50, 1200, burst_factor=burst_factor)
    times = list(scenario.arrivals(random.Random(2)))
    assert len(times) == pytest.approx(60_000, rel=0.02)
    assert all(earlier <= later for earlier, later in pairwise(times))
    in_bursts = sum(now % 60 < 6 for now in times) / len(times)
    assert in_bursts == pytest.approx(burst_factor / 10, rel=0.03)


def test_work_takes_what_it_is_said_to_take() -> None:
    chance = random.Random(4)
    one_request = sorted(Work(0.5, 1).draw(chance) for _ in range(20_000))
    assert one_request[10_000] == pytest.approx(0.6, rel=0.01)
    assert sum(seconds > 0.5 + 2 * 0.1 for seconds in one_request) / 20_000 == pytest.approx(0.05, abs=0.005)
    assert Work(0.25, 0).draw(chance) == 0.25


def test_scale_divides_everything_that_counts() -> None:
    small = Scenario("", 1000, 60, of(300), scale=10).scaled()
    assert (small.rate, small.gateway) == (100, (10, 20))
    assert small.api is not None
    assert (small.api.limit, small.pipeline.limit, small.pipeline.new_environments) == (98, 30, 100)
    assert all(scenario.pipeline.limit >= scenario.scale for scenario in SCENARIOS), "nothing is rounded up"


@pytest.mark.slow
def test_the_table_in_the_documentation_is_what_the_simulation_gives() -> None:
    quick = [scenario for scenario in SCENARIOS if scenario.rate * scenario.seconds / scenario.scale < 20_000]
    document = DOCUMENT.read_text(encoding="utf-8")
    rows = program.table(quick).splitlines()
    assert len(rows) > 6
    for row in rows:
        assert f"{row}\n" in document, "run: make simulate"
    for scenario in SCENARIOS:
        assert f"| {scenario.name} |" in document, "run: make simulate"
