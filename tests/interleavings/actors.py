"""Who acts in a model: callers, and the work that follows from theirs, each a graph that is found as it is walked.

A caller is a generator: it yields what it asks for (Ask) and is sent the outcomes of its items. Each ask is a dispatch
of the project's own operations (simulation/replay.py), in a worker of its own. A node stands for where an actor is: its
answers so far, and the results that its running dispatch has had; it knows the steps that may be taken next. The
records of a batch may be taken in any order, those of one key in theirs.

Where a worker dies, its caller is told what it would be told, `unknown`, and goes on; what of the batch was not taken
yet is in flight.
"""

from collections.abc import Callable, Generator, Hashable, Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from protocol import codes, wire
from protocol.codes import UNKNOWN
from protocol.wire import Error
from protocol.worker_wire import Assignment, FollowUp
from store import RecordOperation, Result, Status, StoreError
from tests.simulation.replay import Exchange, Finished, Job, Replayer

_FAR: Final = 1 << 62
T = TypeVar("T")

Outcome = tuple[Any, Error | None]
Outcomes = tuple[Outcome, ...]


class Ask(NamedTuple):
    """One dispatch. requests: the items of each, from submitters who asked at the same time."""

    operation: str
    requests: tuple[tuple[tuple[Any, ...], ...], ...]
    flags: int = 0

    @property
    def items(self) -> list[tuple[Any, ...]]:
        return [item for request in self.requests for item in request]

    def job(self, token: bytes) -> Job:
        assignments = tuple(Assignment(_FAR, len(items), self.flags) for items in self.requests)
        return Job(self.operation, assignments, tuple(wire.pack_body(items) for items in self.requests), token)


Caller = Callable[[], Generator[Ask, Outcomes, None]]


class Op(NamedTuple):
    """A step that an operation takes: of one record; or of a whole batch, in a store that is atomic."""

    operation: str
    records: tuple[RecordOperation, ...]

    @property
    def key(self) -> bytes:
        """Those of a batch that have the same are taken in their order."""
        return self.records[0].key


# What came of a step: a result for each of its records, or what was raised.
Came = tuple[Result, ...] | StoreError


class Told(NamedTuple):
    """What a caller has asked for and been told; outcomes: None while it waits."""

    ask: Ask
    outcomes: Outcomes | None


class Numbers(Generic[T]):
    """Small numbers for large values: equal ones have the same. known: the values, by number."""

    def __init__(self) -> None:
        self.known: list[T] = []
        self._by_key: dict[Hashable, int] = {}

    def of(self, value: T, key: Hashable = None) -> int:
        """key: what tells it from others, where it can't be hashed itself."""
        key = value if key is None else key
        number = self._by_key.get(key)
        if number is None:
            number = self._by_key[key] = len(self.known)
            self.known.append(value)
        return number


class Place(NamedTuple):
    """actor: its number. answers: numbers of the outcomes it was told. stage: what its ask has come to so far, the
    dispatch itself and then the parts that its answer waits for. history: results of the batches that are through.
    partial: of the one that is not, -1 where there is none yet."""

    actor: int
    answers: tuple[int, ...]
    stage: tuple[int, ...] = ()
    history: tuple[tuple[int, ...], ...] = ()
    partial: tuple[int, ...] = ()


class Node(NamedTuple):
    """ops: of the running batch, by place. open: places whose step may be taken next. begun: something of its dispatch
    was taken. ended: nothing is left to do."""

    place: Place
    ops: tuple[int, ...]
    open: tuple[int, ...]
    begun: bool
    ended: bool


class Move(NamedTuple):
    """Where a step, or a death, leads an actor. jobs: nodes of the work that follows. told: whether it was answered.
    flying: what is in flight, in order for each key."""

    node: int
    jobs: tuple[int, ...] = ()
    told: bool = False
    flying: tuple[tuple[int, ...], ...] = ()


class Actors:
    """callers: by name."""

    def __init__(self, replayer: Replayer, callers: dict[str, Caller]) -> None:
        self.ops: Numbers[Op] = Numbers()
        self.results: Numbers[Came] = Numbers()
        self.nodes: Numbers[Node] = Numbers()
        self.names = list(callers)
        no_answer = Result(Status.TIMEOUT, in_doubt=True, message="no answer")
        fault = StoreError("no answer", in_doubt=True)
        self.in_doubt = self.results.of(fault if replayer.is_atomic else (no_answer,), "in doubt")
        self._replayer = replayer
        self._callers: list[Caller] = list(callers.values())
        self._followers: dict[tuple[str, bytes], int] = {}
        self._outcomes: Numbers[Outcomes] = Numbers()
        self._finished: Numbers[Finished] = Numbers()
        self._asked: dict[tuple[Any, ...], list[RecordOperation] | Finished] = {}
        self._moves: dict[tuple[int, int, int], Move] = {}
        self._deaths: dict[int, Move] = {}

    def start(self, actor: int) -> Move:
        return self._walk(Place(actor, ()))

    def take(self, node: int, place: int, result: int) -> Move:
        """The step at this place of the batch has had this result."""
        move = self._moves.get((node, place, result))
        if move is None:
            move = self._moves[node, place, result] = self._take(self.nodes.known[node].place, place, result)
        return move

    def die(self, node: int) -> Move:
        """Its worker is gone."""
        move = self._deaths.get(node)
        if move is None:
            move = self._deaths[node] = self._die(self.nodes.known[node])
        return move

    def told(self, node: int) -> list[Told]:
        """All that the node's actor has asked for, and was told."""
        place = self.nodes.known[node].place
        outcomes = [self._outcomes.known[answer] for answer in place.answers]
        script = self._callers[place.actor]()
        asks = [next(script, None)]
        for answer in outcomes:
            asks.append(_send(script, answer))
        return [Told(ask, told) for ask, told in zip(asks, [*outcomes, None], strict=True) if ask is not None]

    def token(self, node: int) -> bytes:
        """What the node's dispatch draws by chance."""
        return _token(self.nodes.known[node].place)

    def name(self, node: int) -> str:
        return self.names[self.nodes.known[node].place.actor]

    def _take(self, place: Place, index: int, result: int) -> Move:
        partial = (*place.partial[:index], result, *place.partial[index + 1 :])
        if -1 in partial:
            return Move(self._node(place._replace(partial=partial)))
        return self._walk(place._replace(history=(*place.history, partial), partial=()))

    def _walk(self, place: Place, told: bool = False) -> Move:
        """On to where the actor asks the store for something, or has ended."""
        jobs: list[int] = []
        while True:
            job = self._job(place)
            if job is None:
                return Move(self._node(place), tuple(jobs), told)
            asked = self._advance(place, job)
            if isinstance(asked, list):
                steps = 1 if self._replayer.is_atomic else len(asked)
                return Move(self._node(place._replace(partial=(-1,) * steps)), tuple(jobs), told)
            jobs += [self._follower(follow_up) for follow_up in asked.follow_ups if follow_up.request_index is None]
            finished = self._finished.of(asked)
            place = Place(place.actor, place.answers, (*place.stage, finished))
            if len(place.stage) > len(_parts(self._finished.known[place.stage[0]])):
                place = self._answer(place, self._outcome(place.stage))
                told = True

    def _job(self, place: Place) -> Job | None:
        """What the actor's worker has to do next; None where the actor has ended."""
        token = _token(place)
        if place.stage:
            part = _parts(self._finished.known[place.stage[0]])[len(place.stage) - 1]
            return follow_up_job(part, token)
        script = self._callers[place.actor]()
        ask = next(script, None)
        for answer in place.answers:
            ask = _send(script, self._outcomes.known[answer])
        return None if ask is None else ask.job(token)

    def _advance(self, place: Place, job: Job) -> list[RecordOperation] | Finished:
        asked = self._asked.get(place[:4])
        if asked is None:
            history: list[Exchange] = []
            for count, results in enumerate(place.history):
                records = self._asked[place.actor, place.answers, place.stage, place.history[:count]]
                assert isinstance(records, list)
                history.append((records, self._gathered(results)))
            asked = self._asked[place[:4]] = self._replayer.advance(job, history)
        return asked

    def _gathered(self, results: tuple[int, ...]) -> list[Result] | StoreError:
        gathered: list[Result] = []
        for number in results:
            came = self.results.known[number]
            if isinstance(came, StoreError):
                return came
            gathered += came
        return gathered

    def _node(self, place: Place) -> int:
        job = self._job(place) if place.partial else None
        ops: tuple[int, ...] = ()
        if job is not None:
            records = self._asked[place[:4]]
            assert isinstance(records, list)
            steps = [tuple(records)] if self._replayer.is_atomic else [(record,) for record in records]
            ops = tuple(self.ops.of(Op(job.operation, step), (job.operation, repr(step))) for step in steps)
        begun = bool(place.stage or place.history or any(result >= 0 for result in place.partial))
        taken: set[bytes] = set()
        still_open = []
        for index, op in enumerate(ops):
            key = self.ops.known[op].key
            if place.partial[index] < 0 and key not in taken:
                still_open.append(index)
                taken.add(key)
        return self.nodes.of(Node(place, ops, tuple(still_open), begun, ended=job is None), place)

    def _die(self, node: Node) -> Move:
        place = node.place
        if place.stage:  # a part of the answer is lost
            outcomes = self._outcome(place.stage, lost=True)
        else:
            error = Error(codes.WORKER_CRASHED, UNKNOWN, "its worker died")
            outcomes = tuple(
                (None, error) for assignment in self._known_job(place).assignments for _ in range(assignment.item_count)
            )
        move = self._walk(self._answer(place, outcomes), told=True)
        waiting: dict[bytes, list[int]] = {}
        for index, op in enumerate(node.ops):
            if place.partial[index] < 0:
                waiting.setdefault(self.ops.known[op].key, []).append(op)
        return move._replace(flying=tuple(map(tuple, waiting.values())))

    def _known_job(self, place: Place) -> Job:
        job = self._job(place)
        assert job is not None
        return job

    def _answer(self, place: Place, outcomes: Outcomes) -> Place:
        answer = self._outcomes.of(outcomes, repr(outcomes))
        return Place(place.actor, (*place.answers, answer))

    def _outcome(self, stage: tuple[int, ...], lost: bool = False) -> Outcomes:
        """Of the dispatch, where the items whose parts failed fail. lost: the next part has failed too."""
        own, *done = [self._finished.known[number] for number in stage]
        outcomes = _read(own)
        errors = [_read(part)[0][1] for part in done]
        if lost:
            errors.append(Error(codes.WORKER_CRASHED, UNKNOWN, "its worker died"))
        starts = _starts(own)
        for part, error in zip(_parts(own), errors, strict=False):
            if error is not None:
                outcomes[starts[part.request_index or 0] + part.item_index] = (None, error._replace(executed=UNKNOWN))
        return tuple(outcomes)

    def _follower(self, follow_up: FollowUp) -> int:
        """The node at which owed work begins."""
        key = follow_up.operation, follow_up.body
        actor = self._followers.get(key)
        if actor is None:
            actor = self._followers[key] = len(self._callers)
            self.names.append(f"{follow_up.operation} {actor}")
            items = tuple(map(_frozen, wire.unpack_body(follow_up.body, None)))
            self._callers.append(lambda: _ask_once(Ask(follow_up.operation, (items,))))
        return self.start(actor).node


def _token(place: Place) -> bytes:
    return (b"%d.%d.%d" % (place.actor, len(place.answers), len(place.stage))).rjust(16, b".")


def _ask_once(ask: Ask) -> Generator[Ask, Outcomes, None]:
    yield ask


def _send(script: Generator[Ask, Outcomes, None], outcomes: Outcomes) -> Ask | None:
    try:
        return script.send(outcomes)
    except StopIteration:
        return None


def _parts(finished: Finished) -> list[FollowUp]:
    """The work that the answer waits for."""
    return [follow_up for follow_up in finished.follow_ups if follow_up.request_index is not None]


def follow_up_job(part: FollowUp, token: bytes) -> Job:
    return Job(part.operation, (Assignment(_FAR, 1, 0),), (part.body,), token)


def _read(finished: Finished) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for header, body in zip(finished.replies[::2], finished.replies[1::2], strict=True):
        reply = wire.unpack_reply_header(header)
        results = wire.unpack_body(body, None)
        outcomes += [
            (results[index] if reply.error is None else None, reply.error or reply.errors.get(index))
            for index in range(reply.count)
        ]
    return outcomes


def _starts(finished: Finished) -> list[int]:
    """Of each request, the place of its first item among all."""
    starts = [0]
    for header in finished.replies[::2]:
        starts.append(starts[-1] + wire.unpack_reply_header(header).count)
    return starts


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def codes_of(outcomes: Iterable[Outcome]) -> list[str]:
    return [error.code if error else codes.OK for _, error in outcomes]
