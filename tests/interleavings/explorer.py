"""Every interleaving of a model's steps: breadth first, so that what is found is the shortest way to it.

A state holds what each record holds, where each actor is, the work that follows and has not ended, what is in flight of
workers that died, how many faults may still come, and what the model wants to remember (its *memory*: promises made).
From each state every step that could come next is taken: of each actor, and of what is in flight, which may land at any
time or never. As long as there are faults left a worker may die before any step; owed work may be given out twice; and
a step may go unanswered, done or not.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from store import Mode, RecordOperation, Result, RuleCall, Status, StoreError, Write
from store.layout import ABANDONED
from tests.interleavings.actors import Actors, Ask, Move, Numbers, Op, follow_up_job
from tests.interleavings.models import Landed, Model
from tests.simulation.records import Bins, Steps
from tests.simulation.replay import Replayer, run_through

MOST_STATES: Final = 2_000_000


class Verdict(NamedTuple):
    """violation: what does not hold, and `trace` the shortest way there; None where all is well. complete: whether no
    state was left out."""

    states: int
    violation: str | None = None
    trace: tuple[str, ...] = ()
    complete: bool = True


class State(NamedTuple):
    """Numbers throughout. jobs, flying: in order of their numbers, since it does not matter whose they are. older: who
    is at work that was when the model's `bars` were written last: the caller, and how often it had been answered."""

    records: tuple[int, ...]
    callers: tuple[int, ...]
    jobs: tuple[int, ...]
    flying: tuple[tuple[int, ...], ...]
    faults: int
    memory: int
    older: frozenset[tuple[int, int]] = frozenset()


Event = tuple[Any, ...]


class Explorer:
    def __init__(self, model: Model, steps: Steps, replayer: Replayer) -> None:
        self._model = model
        self._steps = steps
        self._replayer = replayer
        self._actors = Actors(replayer, model.callers)
        self._keys = list(model.records)
        self._held: Numbers[Bins | None] = Numbers()
        self._memories: Numbers[Any] = Numbers()
        self._taken: dict[tuple[int, tuple[int, ...]], tuple[int, tuple[int, ...]]] = {}
        self._judged: dict[tuple[Any, ...], str | None] = {}
        self._places: dict[int, tuple[int, ...]] = {}  # of an op's records among those of a state

    def run(self, most_states: int = MOST_STATES) -> Verdict:
        first = self._first()
        reached: dict[State, tuple[State, Event] | None] = {first: None}
        waiting = deque([first])
        while waiting:
            state = waiting.popleft()
            violation = self._judge(state)
            if violation is not None:
                return Verdict(len(reached), violation, tuple(self._trace(state, reached)))
            for next_one, event in self._follow(state):
                following = self._without_the_ended(next_one)
                if following not in reached:
                    reached[following] = state, event
                    waiting.append(following)
            if len(reached) > most_states:
                return Verdict(len(reached), complete=False)
        return Verdict(len(reached))

    def _first(self) -> State:
        moves = [self._actors.start(number) for number in range(len(self._model.callers))]
        records = tuple(self._number(bins) for bins in self._model.records.values())
        memory = self._memories.of(self._model.start)
        return State(records, tuple(move.node for move in moves), (), (), self._model.faults, memory)

    def _number(self, bins: Bins | None) -> int:
        return self._held.of(bins, (None if bins is None else repr(_sorted(bins)),))

    # ---- what may come next

    def _follow(self, state: State) -> Iterator[tuple[State, Event]]:
        nodes = self._actors.nodes.known
        for number, node in enumerate(state.callers):
            if not nodes[node].ended:
                yield from self._act(state, node, number, None)
        previous = None
        for number, node in enumerate(state.jobs):
            if node != previous:  # two that are at the same place do the same
                yield from self._act(state, node, None, number)
            previous = node
        for number, ops in enumerate(state.flying):
            yield from self._land(state, number, ops)
        for place, key in enumerate(self._keys):
            if key in self._model.locks:
                yield from self._expire(state, place)
            if key in self._model.bars and self._is_old(state):
                yield from self._unbar(state, place)
                yield from self._prune(state, place)

    def _act(self, state: State, node: int, caller: int | None, job: int | None) -> Iterator[tuple[State, Event]]:
        actors, known = self._actors, self._actors.nodes.known[node]
        for index in known.open:
            op = known.ops[index]
            records, result = self._apply(state.records, op)
            memory = self._remember(state, op, records)
            own = set() if caller is None else {(caller, len(known.place.answers))}
            older = self._older(state, op, result, own)
            move = actors.take(node, index, result)
            stepped = State(records, state.callers, state.jobs, state.flying, state.faults, memory, older)
            yield self._moved(stepped, move, caller, job), (node, op, result)
        if not state.faults:
            return
        less = state._replace(faults=state.faults - 1)
        move = actors.die(node)
        flying = tuple(sorted((*state.flying, *move.flying))) if self._model.late else ()
        yield self._moved(less._replace(flying=flying), move, caller, job), (node, "its worker dies")
        if self._model.in_doubt:
            for index in known.open:
                flying = tuple(sorted((*state.flying, (known.ops[index],))))
                move = actors.take(node, index, actors.in_doubt)
                doubtful = self._moved(less._replace(flying=flying), move, caller, job)
                yield doubtful, (node, known.ops[index], actors.in_doubt)
        if self._model.doubles and job is not None and not known.begun:
            yield less._replace(jobs=tuple(sorted((*state.jobs, node)))), (node, "is given out twice")

    def _moved(self, state: State, move: Move, caller: int | None, job: int | None) -> State:
        jobs = list(move.jobs) + list(state.jobs)
        if job is not None:
            del jobs[len(move.jobs) + job]
            if not self._actors.nodes.known[move.node].ended:
                jobs.append(move.node)
            return state._replace(jobs=tuple(sorted(jobs)))
        assert caller is not None
        callers = (*state.callers[:caller], move.node, *state.callers[caller + 1 :])
        memory = state.memory
        if move.told and self._model.told is not None:
            told = [told for told in self._actors.told(move.node) if told.outcomes is not None][-1]
            memory = self._memories.of(self._model.told(self._memories.known[memory], caller, told))
        return State(state.records, callers, tuple(sorted(jobs)), state.flying, state.faults, memory, state.older)

    def _land(self, state: State, number: int, ops: tuple[int, ...]) -> Iterator[tuple[State, Event]]:
        """What is in flight takes its step. Where that changes nothing, and nothing follows, it may as well never
        land."""
        records, result = self._apply(state.records, ops[0])
        if records == state.records and len(ops) == 1:
            return
        others = state.flying[:number] + state.flying[number + 1 :]
        flying = tuple(sorted((*others, ops[1:]))) if len(ops) > 1 else others
        memory = self._remember(state, ops[0], records)
        older = self._older(state, ops[0], result, set())
        yield state._replace(records=records, flying=flying, memory=memory, older=older), (None, ops[0], result)

    def _expire(self, state: State, place: int) -> Iterator[tuple[State, Event]]:
        """A lock, where its holder is dead."""
        bins = self._held.known[state.records[place]]
        if bins is None or any(self._actors.token(node) == bins["token"] for node in (*state.callers, *state.jobs)):
            return
        records = self._without(state, place)
        yield state._replace(records=records, flying=()), (None, "a lock expires")

    def _without(self, state: State, place: int) -> tuple[int, ...]:
        return (*state.records[:place], self._number(None), *state.records[place + 1 :])

    # ---- a creation that is barred, and a transaction that is pruned

    def _without_the_ended(self, state: State) -> State:
        return state._replace(older=state.older & self._at_work(state)) if state.older else state

    def _at_work(self, state: State) -> frozenset[tuple[int, int]]:
        nodes = [self._actors.nodes.known[node] for node in state.callers]
        return frozenset((number, len(node.place.answers)) for number, node in enumerate(nodes) if node.begun)

    def _older(self, state: State, op: int, result: int, own: set[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """After a step. state: before it. own: who takes it, whose first step it may be."""
        came = self._actors.results.known[result]
        if not self._model.bars or isinstance(came, StoreError):
            return state.older
        steps = zip(self._actors.ops.known[op].records, came, strict=True)
        is_written = any(
            isinstance(step, Write)
            and step.key in self._model.bars
            and step.mode is not Mode.UPDATE
            and said.status is Status.OK
            for step, said in steps
        )
        return self._at_work(state) | own if is_written else state.older

    def _is_old(self, state: State) -> bool:
        return not state.older

    def _bars(self, op: int) -> bool:
        record = self._actors.ops.known[op].records[0]
        return isinstance(record, Write) and ABANDONED in record.bins

    def _unbar(self, state: State, place: int) -> Iterator[tuple[State, Event]]:
        """What was in flight when it came has landed, or never will; who has begun since does nothing but bar."""
        bins = self._held.known[state.records[place]]
        if bins is not None and ABANDONED in bins:
            flying = tuple(ops for ops in state.flying if self._bars(ops[0]))
            yield state._replace(records=self._without(state, place), flying=flying), (None, "a creation may be again")

    def _prune(self, state: State, place: int) -> Iterator[tuple[State, Event]]:
        """As above; but an abandon that has begun since may have something in flight. One at a time."""
        bins = self._held.known[state.records[place]]
        known = self._actors.ops.known
        if not bins or not bins.get("conflicting") or bins["locked"] or bins.get("creating"):
            return
        if any(known[ops[0]].operation == "prune" for ops in state.flying):
            return
        steps = [Op("prune", (step,)) for step in self._model.prunings[self._keys[place]]]
        pruning = tuple(self._actors.ops.of(op, (op.operation, repr(op.records))) for op in steps)
        flying = [ops for ops in state.flying if known[ops[0]].operation == "abandon"]
        yield state._replace(flying=tuple(sorted((*flying, pruning)))), (None, "its pruning begins")

    def _apply(self, records: tuple[int, ...], op: int) -> tuple[tuple[int, ...], int]:
        places = self._places.get(op)
        if places is None:
            keys = dict.fromkeys(record.key for record in self._actors.ops.known[op].records)
            places = self._places[op] = tuple(self._keys.index(key) for key in keys if key in self._model.records)
        before = tuple(records[place] for place in places)
        taken = self._taken.get((op, before))
        if taken is None:
            taken = self._taken[op, before] = self._take(op, places, before)
        result, after = taken
        if after == before:
            return records, result
        changed = list(records)
        for place, number in zip(places, after, strict=True):
            changed[place] = number
        return tuple(changed), result

    def _take(self, op: int, places: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """The number of what comes of it, and those of what the records hold then."""
        records = self._actors.ops.known[op].records
        held = {self._keys[place]: self._held.known[number] for place, number in zip(places, before, strict=True)}
        results, after = self._take_whole(records, held)
        came = self._actors.results.of(tuple(results), repr([_plain(result) for result in results]))
        return came, tuple(self._number(bins) for bins in after.values())

    def _take_whole(
        self, records: Sequence[RecordOperation], held: Mapping[bytes, Bins | None]
    ) -> tuple[list[Result], dict[bytes, Bins | None]]:
        """The results, and what these records hold then."""
        others = {record.key: None for record in records if record.key not in held}
        results, after = self._steps.take_whole(records, {**held, **others})
        if any(after.pop(key) is not None for key in others):
            raise ValueError(f"the model has no such record: {records}")
        return results, after

    def _remember(self, state: State, op: int, records: tuple[int, ...]) -> int:
        """Of each record that the step has changed."""
        if self._model.landed is None or records == state.records:
            return state.memory
        memory, known = self._memories.known[state.memory], self._held.known
        told = [self._actors.told(node) for node in state.callers]
        for place in self._places[op]:
            before, after = state.records[place], records[place]
            if before != after:
                landed = Landed(self._actors.ops.known[op], self._keys[place], known[before], known[after])
                memory = self._model.landed(memory, landed, told)
        return self._memories.of(memory)

    # ---- what must hold

    def _judge(self, state: State) -> str | None:
        model, nodes = self._model, self._actors.nodes.known
        key: tuple[Any, ...] = (state.records, state.memory)
        if model.always is not None and key not in self._judged:
            self._judged[key] = model.always(self._hold(state), self._memories.known[state.memory])
        if self._judged.get(key):
            return self._judged[key]
        if model.at_rest is None or state.jobs or not all(nodes[node].ended for node in state.callers):
            return None
        key = (state.records, state.memory, state.callers)
        if key not in self._judged:
            told = {self._actors.name(node): self._actors.told(node) for node in state.callers}
            held = self._hold(state)
            for ask in model.again(held, told) if model.again else ():
                self._ask(held, ask)
            self._judged[key] = model.at_rest(held, self._memories.known[state.memory], told)
        return self._judged[key]

    def _hold(self, state: State) -> dict[bytes, Bins | None]:
        return {key: self._held.known[number] for key, number in zip(self._keys, state.records, strict=True)}

    def _ask(self, held: dict[bytes, Bins | None], ask: Ask) -> None:
        """All of it at once, with what follows."""

        def take(records: list[RecordOperation]) -> list[Result]:
            results, after = self._take_whole(records, held)
            held.update(after)
            return results

        jobs = [ask.job(b"again")]
        for job in jobs:
            finished = run_through(self._replayer, job, take)
            jobs += [follow_up_job(follow_up, b"again") for follow_up in finished.follow_ups]

    # ---- in words

    def _trace(self, state: State, reached: Mapping[State, tuple[State, Event] | None]) -> list[str]:
        lines = []
        while (before := reached[state]) is not None:
            previous, event = before
            lines.append(self._describe(event))
            state = previous
        return lines[::-1]

    def _describe(self, event: Event) -> str:
        node, what, *result = event
        who = "late" if node is None else self._actors.name(node)
        if isinstance(what, str):
            return f"{who}: {what}"
        op = self._actors.ops.known[what]
        came = self._actors.results.known[result[0]]
        if isinstance(came, StoreError):
            return f"{who}: {' and '.join(map(self._in_words, op.records))} -> {came}"
        steps = [
            f"{self._in_words(record)} -> {said.value if said.status is Status.OK else said.status}"
            for record, said in zip(op.records, came, strict=True)
        ]
        return f"{who}: {'; '.join(steps)}"

    def _in_words(self, record: RecordOperation) -> str:
        name = self._model.names.get(record.key, record.key.hex()[:8])
        what = type(record).__name__.lower()
        if isinstance(record, RuleCall):
            return f"{record.function} {name} {_short(record.args)}"
        return f"{what} {name}" + (f" {_short(dict(record.bins))}" if isinstance(record, Write) else "")


def _sorted(value: Any) -> Any:
    """The same value, where maps that are equal look equal."""
    if isinstance(value, Mapping):
        return sorted((repr(name), _sorted(inner)) for name, inner in value.items())
    return [_sorted(inner) for inner in value] if isinstance(value, list | tuple) else value


def _plain(result: Result) -> Any:
    return result.status, _sorted(result.value), result.in_doubt, result.message, result.key


def _short(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()[:6]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_short(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return " ".join(map(_short, value))
    return str(value)
