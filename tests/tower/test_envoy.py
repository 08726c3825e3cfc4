"""Releases behind a real Envoy, flown by the tower in virtual time: away, slow, restarted, or moved behind our back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.contracts.edge import DIGEST, LEFT_OUT, OLD_DIGEST, WITHOUT, Edge, Impostor, http, wait_until
from tests.tower.world import CATALOG, STAGING, Nature, World

from airboss.act.targets import EnvoyConnection, EnvoyTarget, UnitRef
from airboss.demo.edge import ROUTES, Side, routes
from airboss.kernel.clock import SystemClock
from airboss.kernel.errors import AirbossError

pytestmark = pytest.mark.skipif(LEFT_OUT, reason=WITHOUT)

ENDED = ("reviewing", "closed")
UNIT = "checkout@production"
CONNECTION = """
apiVersion: airboss/v1
kind: Connection
metadata: {name: %s}
spec: {envoy: {admin: "%s", route_file: {path: %s}}}
"""
TARGET = "{envoy: {connection: %s, route: checkout, old: checkout-blue, new: checkout-green}}"
STEPS = """
          - {expose: 10%, bake: {least: 10s, most: 40s}}
          - {expose: 100%, bake: {least: 10s, most: 40s}}
"""


def stage(environment: str = "production", *, steps: str = STEPS, more: str = "", edge: str | None = None) -> str:
    target = TARGET % (edge or f"edge-{environment}")
    return f"      - environment: {environment}\n{more}        target: {target}\n        steps: {steps}\n"


def release(*stages: str, strategy: str = "canary", digest: str = DIGEST) -> str:
    return f"""
apiVersion: airboss/v1
kind: Change
spec:
  template: service-release
  title: Checkout 2.4.0
  why: new tax rules
  services: [checkout]
  owner: {{team: payments}}
  artifact: {{version: 2.4.0, digest: "{digest}"}}
  impact: {{users_percent: 5, reversible: true, data: none}}
  rollback: {{plan: traffic back to 2.3.9}}
  rollout:
    strategy: {strategy}
    stages:
{"".join(stages or (stage(),))}
    gates: [data]
    allowance: 0.5%
    verification: {{least: 10s}}
    on_error: {{hold: 60s, then: rollback}}
"""


class Shop(World):
    """A world whose checkout is reached through a real Envoy in each environment."""

    edges: dict[str, Edge]

    def released(self, document: str | None = None) -> str:
        change = self.propose(document or release())
        self.run(5, step_s=5)
        self.approve(change)
        return change

    def ends(self, change: str, outcome: str, seconds: int = 900, step_s: int = 5) -> None:
        assert self.run(seconds, until=lambda: self.phase(change) in ENDED, step_s=step_s), self.told(change)
        assert self.change(change).outcome == outcome

    def stands(self, change: str, percent: float, seconds: int = 200) -> None:
        """Run until an exposure was observed."""

        def reached() -> bool:
            return any(body["percent"] == percent for body in self.bodies(change, "exposure.reached"))

        assert self.run(seconds, until=reached, step_s=1), self.told(change)


@pytest.fixture
def open_shop(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Opens a shop with an Envoy in each environment named."""
    opened: list[Shop] = []

    def opens(*environments: str) -> Shop:
        edges = {name: Edge(tmp_path / name, f"edge-{name}") for name in environments}
        for one in edges.values():
            one.start()
        documents = [CATALOG, STAGING]
        documents += [CONNECTION % (one.name, one.admin, one.routes.relative_to(tmp_path)) for one in edges.values()]
        home = tmp_path / "server"
        home.mkdir()
        nature = Nature(per_s=30, environments=environments)
        shop = Shop(home, nature=nature, catalog="---".join(documents), route_folder=tmp_path)
        shop.edges = edges
        opened.append(shop)
        return shop

    yield opens
    for shop in opened:
        shop.close()
        for one in shop.edges.values():
            one.close()


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop("production")


@pytest.fixture
def edge(shop: Shop) -> Edge:
    """The one Envoy of `shop`."""
    return shop.edges["production"]


@pytest.fixture
def papers(make_world: Callable[..., World], tmp_path: Path) -> World:
    """A world in which a connection is known and no Envoy runs: enough for what is decided before one is asked."""
    edge = Edge(tmp_path / "production")
    known = CONNECTION % ("edge-production", "http://127.0.0.1:1", edge.routes.relative_to(tmp_path))
    return make_world(catalog=f"{CATALOG}---{known}", route_folder=tmp_path)


# -- as planned ----------------------------------------------------------------------------------------------------------


def test_a_release_goes_out_and_the_route_file_is_what_stays(shop: Shop, edge: Edge):
    """Each share is what requests really get; at the end the file says everything to green, and no runtime key is left."""
    change = shop.released()
    shop.stands(change, 10)
    assert edge.share(4_000) == pytest.approx(10, abs=3)
    shop.ends(change, "completed")
    assert edge.share(500) == 100
    assert edge.runtime() == {}
    text = edge.routes.read_text()
    assert "name: checkout-green, weight: 100000" in text
    assert "the rest is yours" in text  # what the operator wrote beside it is still there
    assert change not in text


def test_two_environments_go_one_after_the_other_each_through_its_own_envoy(open_shop: Callable[..., Shop]):
    """Production begins when staging stands at 100 %, on the same artifact; an abort brings both back."""
    shop = open_shop("staging", "production")
    first = stage("staging", steps="[{expose: 100%, bake: {least: 10s, most: 40s}}]")
    change = shop.released(release(first, stage("production", more="        needs: staging\n")))
    shop.stands(change, 10)
    assert shop.edges["staging"].share(300) == 100
    assert shop.edges["production"].share(4_000) == pytest.approx(10, abs=3)
    shop.order(change, "abort")
    shop.ends(change, "rolled back")
    assert [one.share(300) for one in shop.edges.values()] == [0, 0]


def test_the_sides_swap_for_the_next_release(shop: Shop, edge: Edge):
    """After green is everybody's, the next version goes to blue; the same direction again is refused by what is wrong."""
    shop.ends(shop.released(), "completed")
    again = shop.released(release(digest="sha256:" + "b" * 64))
    shop.run(10, step_s=5)
    assert "already sends 100 %" in shop.told(again)
    shop.order(again, "abort")
    target = TARGET.replace("old: checkout-blue, new: checkout-green", "old: checkout-green, new: checkout-blue")
    back = stage().replace(TARGET % "edge-production", target % "edge-production")
    edge.clusters(Side(name="checkout-blue", digest="sha256:" + "c" * 64, ports=edge.split.old.ports), edge.split.new)
    wait_until(lambda: "c" * 64 in edge._ask("/config_dump"))
    shop.ends(shop.released(release(back, digest="sha256:" + "c" * 64)), "completed")
    assert edge.share(300) == 0


# -- behind our back -----------------------------------------------------------------------------------------------------


def test_an_envoy_that_was_restarted_keeps_the_share(shop: Shop, edge: Edge):
    """Its runtime weights are lost with the process; the route file holds the share, so nothing moves and it goes on."""
    change = shop.released()
    shop.stands(change, 10)
    edge.kill()
    edge.start()
    assert edge.runtime() == {}
    assert edge.share(4_000) == pytest.approx(10, abs=3)
    shop.ends(change, "completed")
    assert "exposure.drifted" not in shop.facts(change)


def test_an_envoy_restarted_with_an_older_route_file_is_brought_to_the_share_again(shop: Shop, edge: Edge):
    """A redeployed edge begins with everything on blue: told as drift, put right, and the step's bake begins anew."""
    before = edge.routes.read_text()
    change = shop.released()
    shop.stands(change, 10)
    edge.kill()
    edge.rename(before)
    edge.start()
    assert edge.share(500) == 0
    shop.run(3, step_s=1)
    assert edge.share(4_000) == pytest.approx(10, abs=3)
    (drift,) = shop.bodies(change, "exposure.drifted")
    assert (drift["wanted"], drift["observed"]) == (10, 0)
    shop.ends(change, "completed")


def test_weights_turned_by_hand_are_told_and_put_right(shop: Shop, edge: Edge):
    """Somebody turns the runtime weights: the drift is a fact with both numbers, and the share is what was wanted again."""
    change = shop.released()
    shop.stands(change, 10)
    edge.modify(blue=30, green=70)
    shop.run(2, step_s=1)
    (drift,) = shop.bodies(change, "exposure.drifted")
    assert (drift["wanted"], drift["observed"]) == (10, 70)
    assert edge.share(4_000) == pytest.approx(10, abs=3)
    shop.ends(change, "completed")


def test_a_route_file_replaced_by_another_tool_does_not_move_anybody(shop: Shop, edge: Edge):
    """The runtime weights hold the share while a deployment tool renames its own file in; the next step goes on from there."""
    change = shop.released()
    shop.stands(change, 10)
    edge.rename(routes([edge.split]).replace('version_info: "1"', 'version_info: "theirs"'))
    wait_until(lambda: edge.loaded() == "theirs")
    assert edge.share(4_000) == pytest.approx(10, abs=3)
    shop.ends(change, "completed")
    assert edge.share(300) == 100


def test_a_route_that_was_taken_away_is_held_told_and_ends_with_people_called(shop: Shop, edge: Edge):
    """Nobody can move what is no longer there: held with that sentence, and the rollback fails by name, not in silence."""
    change = shop.released()
    shop.stands(change, 10)
    edge.rename(edge.routes.read_text().replace("name: checkout\n", "name: other\n"))
    wait_until(lambda: "name: other" in edge.routes.read_text() and edge.loaded().startswith("checkout/"))
    shop.run(4, step_s=2)
    assert "no route checkout" in shop.told(change)
    assert shop.run(1500, until=lambda: shop.phase(change) == "rollback_failed", step_s=60)
    edge.rename(edge.routes.read_text().replace("name: other\n", "name: checkout\n"))
    shop.order(change, "retry")
    shop.ends(change, "rolled back")
    assert edge.share(300) == 0


def test_another_artifact_behind_the_same_cluster_counts_for_nothing_and_is_taken_back(shop: Shop, edge: Edge):
    """The cluster is redeployed with something nobody approved: held at once, and taken back at the deadline."""
    change = shop.released()
    shop.stands(change, 10)
    edge.clusters(edge.split.old, Side(name="checkout-green", digest="sha256:other", ports=edge.split.new.ports))
    shop.run(4, step_s=1)
    assert "not what was approved" in shop.told(change)
    shop.ends(change, "rolled back")
    assert edge.share(300) == 0


# -- away, slow ----------------------------------------------------------------------------------------------------------


def test_an_envoy_that_is_away_for_a_while_holds_the_step(shop: Shop, edge: Edge):
    """Nothing advances while it does not answer; when it is back the rollout goes on by itself."""
    change = shop.released()
    shop.stands(change, 10)
    edge.kill()
    shop.run(30, step_s=5)
    assert "does not answer" in shop.told(change)
    assert [body["percent"] for body in shop.bodies(change, "step.started")] == [10]
    edge.start()
    shop.ends(change, "completed")


def test_an_envoy_away_past_the_deadline_begins_with_the_old_side(shop: Shop, edge: Edge):
    """The way back is in the file though nobody hears it: an Envoy that starts again sends nobody to green."""
    change = shop.released()
    shop.stands(change, 10)
    edge.kill()
    assert shop.run(200, until=lambda: shop.phase(change) == "rolling_back", step_s=5)
    shop.run(20, step_s=5)
    assert shop.phase(change) == "rolling_back"
    assert "name: checkout-green, weight: 0" in edge.routes.read_text()
    edge.start()
    assert edge.share(300) == 0
    shop.ends(change, "rolled back")


def test_a_stopped_envoy_is_not_waited_for_beyond_its_time_and_goes_back_when_it_wakes(shop: Shop, edge: Edge):
    """It accepts connections and says nothing: held; an abort meanwhile is taken, and carried out once it answers."""
    change = shop.released()
    shop.stands(change, 10)
    edge.freeze()
    shop.run(1, step_s=1)
    assert "does not answer" in shop.told(change)
    shop.order(change, "abort")
    shop.run(1, step_s=1)
    assert shop.phase(change) == "rolling_back"
    edge.thaw()
    shop.ends(change, "rolled back", step_s=1)
    assert edge.share(300) == 0


# -- before the start ----------------------------------------------------------------------------------------------------


def _held(shop: Shop, document: str | None = None) -> str:
    change = shop.released(document)
    shop.run(10, step_s=5)
    assert shop.phase(change) not in ("rolling_out", *ENDED)
    return shop.told(change)


def test_nothing_is_sent_to_a_cluster_that_runs_something_else(shop: Shop, edge: Edge):
    """What is deployed is not what was approved: held before the start with both digests, and nobody met it."""
    told = _held(shop, release(digest="sha256:" + "a" * 64))
    assert DIGEST in told
    assert "was approved" in told
    assert edge.share(500) == 0


def test_a_cluster_that_says_nothing_of_itself_is_not_taken_on_trust(shop: Shop, edge: Edge):
    """No declared artifact is not the approved one."""
    edge.clusters(edge.split.old, Side(name="checkout-green", digest="", ports=edge.split.new.ports))
    assert "an artifact nobody declared" in _held(shop)


def test_without_room_for_the_way_back_nothing_starts(shop: Shop, edge: Edge):
    """The old side has no endpoint: a rollback would lead nowhere, so the start is held and says so."""
    edge.clusters(Side(name="checkout-blue", digest=OLD_DIGEST, ports=()), edge.split.new)
    wait_until(lambda: edge.split.old.name in edge._ask("/clusters"))
    assert "checkout-blue" in (told := _held(shop))
    assert "no healthy endpoint" in told


def test_a_route_or_cluster_that_is_not_there_is_named_before_the_start(shop: Shop):
    """The start is held, with the name and the place."""
    wrong = {"route: checkout,": "no route nowhere", "new: checkout-green": "does not split between"}
    for written, told in wrong.items():
        other = written.replace(": checkout", ": nowhere")
        assert told in _held(shop, release(stage()).replace(written, other))


@contextmanager
def impostor(answer: bytes) -> Iterator[Impostor]:
    one = Impostor(answer)
    try:
        yield one
    finally:
        one.close()


def test_what_answers_rubbish_is_not_believed(papers: World):
    """Some page sits at the admin address: one sentence that names it, no stack trace, nothing started. What else may
    answer there is tried at the adapter alone.
    """
    with impostor(http(b"<html>It works!</html>")) as one:
        routes_file = f"production/{ROUTES}"
        papers.apply(CONNECTION % ("edge-production", f"http://127.0.0.1:{one.port}", routes_file))
        change = papers.propose(release())
        papers.run(5, step_s=5)
        papers.approve(change)
        papers.run(10, step_s=5)
    assert papers.phase(change) not in ("rolling_out", *ENDED)
    assert papers.told(change).startswith("Held before the start: Envoy edge-production at http://127.0.0.1:")
    assert "Traceback" not in papers.told(change)


@pytest.mark.parametrize(
    "answer",
    [
        http(b"<html>It works!</html>"),
        http(b"[]"),
        http(b'{"configs": [7], "cluster_statuses": "none", "entries": []}'),
        http(b"{" * 100_000),
        http(b"", status="302 Found"),
        http(b"no", status="401 Unauthorized"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
    ids=["page", "list", "wrong shapes", "deep", "redirect", "no entry", "not http", "hangs up"],
)
def test_whatever_answers_instead_of_an_envoy_is_one_refusal_that_names_it(tmp_path: Path, answer: bytes):
    """The adapter turns each kind of rubbish into a refusal with the place; the tower holds on any of them."""
    with impostor(answer) as one:
        edge = Edge(tmp_path)
        connection = EnvoyConnection(name="edge", admin=f"http://127.0.0.1:{one.port}", route_file=edge.routes.name)
        target = EnvoyTarget(
            connections={"edge": connection}.__getitem__, folder=tmp_path, secret=lambda _: None, clock=SystemClock()
        )
        params = {"connection": "edge", "route": "checkout", "old": "checkout-blue", "new": "checkout-green"}
        unit = UnitRef(
            change_id="chg_1", unit=UNIT, service="checkout", environment="production", kind="envoy", params=params,
            digest=DIGEST,
        )  # fmt: skip
        with pytest.raises(AirbossError) as refused:
            asyncio.run(target.prepare(unit, key="chg_1/1/prepare"))
    assert refused.value.detail.startswith("Envoy edge at http://127.0.0.1:")
    assert "Traceback" not in refused.value.detail


def test_a_connection_changed_after_the_approval_is_another_change(shop: Shop, edge: Edge):
    """Who is told to move traffic is part of what was approved: led elsewhere, nothing starts."""
    change = shop.propose(release())
    shop.run(5, step_s=5)
    shop.apply(CONNECTION % ("edge-production", "http://127.0.0.1:1", "production/routes.yaml"))
    shop.approve(change)
    shop.run(10, step_s=5)
    assert shop.phase(change) not in ("rolling_out", *ENDED)
    assert "connection/edge-production" in shop.told(change)


@pytest.mark.parametrize(
    ("written", "instead", "code"),
    [
        ("connection: edge-production", "connection: edge-nowhere", "unknown-reference"),
        ("route: checkout", "route: 'a b'", "bad-envoy-target"),
        ("route: checkout", "route: 'x&y=1'", "bad-envoy-target"),
        ("new: checkout-green", "new: checkout-blue", "bad-envoy-target"),
        ("new: checkout-green", "nwe: checkout-green", "bad-envoy-target"),
        (f'  artifact: {{version: 2.4.0, digest: "{DIGEST}"}}\n', "", "payload-unpinned"),
    ],
)
def test_a_target_nobody_can_mean_is_refused_at_its_line(papers: World, written: str, instead: str, code: str):
    """Unknown connection, odd letters, the same cluster twice, a slip of the pen: refused at submit, with the line."""
    with pytest.raises(AirbossError) as refused:
        papers.propose(release().replace(written, instead))
    assert refused.value.code == code
    assert (refused.value.place or "").startswith("change.yaml:")
    assert refused.value.way_out
