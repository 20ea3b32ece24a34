"""Exhaustive interleavings of actors: each order of their steps is run once.

An actor is a function that calls `pause` before each step that others can see, and `wait` when it can only go
on after a step of another. A run begins anew for each order. States that were reached before are not explored
twice: an actor depends only on what its steps have returned.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent, greenlet


class Fiber(greenlet):
    """The greenlet of an actor; a test runs in one of pytest-twisted."""


class Actor:
    """A function in progress; `history` has the names and results of its steps."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.history: list[Hashable] = []
        self.alive = True
        self.blocked = False
        self.outcome: Any = None
        self._work = work
        self._fiber = Fiber(self._run)
        self._fiber.actor = self

    def step(self) -> None:
        """Run up to the next pause."""
        self.blocked = False
        self._fiber.switch()

    def close(self) -> None:
        """End it, wherever it is."""
        if self.alive:
            self._fiber.throw()
            self.alive = False

    def _run(self) -> None:
        self.outcome = self._work()
        self.alive = False


def current() -> Actor | None:
    """Return the actor that runs, or None in the test itself."""
    fiber = getcurrent()
    return fiber.actor if isinstance(fiber, Fiber) else None


def pause() -> None:
    """Let the others run before the next step."""
    if (actor := current()) is not None:
        actor._fiber.parent.switch()


def wait() -> None:
    """Let the others run, until one of them has made a step."""
    if (actor := current()) is not None:
        if actor.history[-1:] == ["awake"]:
            actor.history.pop()
        actor.blocked = True
        actor.history.append("waiting")
        actor._fiber.parent.switch()
        actor.history[-1] = "awake"


def note(step: Hashable) -> None:
    """Add a step with its result to the history."""
    if (actor := current()) is not None:
        actor.history.append(step)


def restart() -> None:
    """Forget the history: what follows does not depend on it."""
    if (actor := current()) is not None:
        actor.history = [None]


@dataclass
class Scene:
    """One run: its actors, the state that all of them see, and the check of its end."""

    actors: Sequence[Callable[[], Any]]
    state: Callable[[], Hashable]
    check: Callable[[list[Any]], None]
    close: Callable[[], None] = lambda: None
    awaken: Callable[[], bool] = lambda: False
    """Called when all actors wait, for example to let time pass; return whether they may go on."""


def explore(begin: Callable[[], Scene]) -> int:
    """Run all interleavings of the scene that `begin` makes; return the number of runs to their end."""
    seen: set[Hashable] = set()
    todo: list[tuple[int, ...]] = [()]
    complete = 0
    while todo:
        complete += _run(begin(), todo.pop(), todo, seen)
    return complete


def _run(scene: Scene, prefix: tuple[int, ...], todo: list[tuple[int, ...]], seen: set[Hashable]) -> bool:
    """Run one order, which begins with `prefix`; add those that branch off. Return whether it was new."""
    actors = [Actor(work) for work in scene.actors]
    order: list[int] = []
    try:
        for actor in actors:  # up to the first pause there is nothing that others can see
            actor.step()
        while any(actor.alive for actor in actors):
            ready = _ready(actors, scene)
            chosen = ready[0]
            if len(order) < len(prefix):
                chosen = prefix[len(order)]
            else:
                key = (scene.state(), *((actor.alive, actor.blocked, *actor.history) for actor in actors))
                if key in seen:
                    return False
                seen.add(key)
                todo += [(*order, other) for other in ready[1:]]
            order.append(chosen)
            _step(actors, chosen)
        scene.check([actor.outcome for actor in actors])
        return True
    finally:
        for actor in actors:
            actor.close()
        scene.close()


def _ready(actors: list[Actor], scene: Scene) -> list[int]:
    while True:
        ready = [number for number, actor in enumerate(actors) if actor.alive and not actor.blocked]
        if ready:
            return ready
        assert scene.awaken(), "all actors wait for each other"
        for actor in actors:
            actor.blocked = False


def _step(actors: list[Actor], chosen: int) -> None:
    actors[chosen].step()
    if not actors[chosen].blocked:
        for actor in actors:
            actor.blocked = False
