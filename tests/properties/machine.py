"""The steps of the property test, which hypothesis puts in any order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from engine.commands.records import (
    Chat,
    Command,
    Complete,
    Help,
    Reset,
    SetModel,
    SetPersona,
    ShowModel,
    ShowPersonas,
    Stop,
)
from tests.properties.world import CHANNELS, USERS, World

channels = st.sampled_from(CHANNELS)
commands: st.SearchStrategy[Command] = st.sampled_from(
    [
        *[Chat("hello")] * 5,
        Chat("hello", stream=True),
        Chat("poison"),
        Complete("complete"),
        *[Reset()] * 3,
        SetPersona("concise"),
        SetPersona("creative"),
        SetPersona("pirate"),
        ShowPersonas(),
        SetModel("scripted/big"),
        SetModel("scripted/fast-1"),
        SetModel("scripted/slow"),
        SetModel("default"),
        ShowModel(),
        Help(),
    ]
)
users = st.sampled_from(USERS)
stops = st.sampled_from([Stop(), Stop(), Stop(everything=True)])
rounds = st.integers(1, 8)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def teardown(self) -> None:
        try:
            self.world.finish()
        finally:
            self.world.close()

    # Commands.

    @rule(batch=st.lists(st.tuples(channels, commands, users), min_size=1, max_size=3))
    def tell(self, batch: list[tuple[str, Command, str]]) -> None:
        self.world.tell(
            *[self.world.new(channel, command, user=user) for channel, command, user in batch]
        )

    @rule(batch=st.lists(st.tuples(channels, commands), min_size=1, max_size=4))
    def carry_out(self, batch: list[tuple[str, Command]]) -> None:
        self.carry_out_all(*batch)

    def carry_out_all(self, *batch: tuple[str, Command]) -> None:
        for channel, command in batch:
            self.world.tell(self.world.new(channel, command))
            self.world.engine_run.run_until_idle()
            for call in self.world.engine_run.scripted_model.waiting:
                call.released.set()
            self.world.engine_run.run_until_idle()

    @rule(channel=channels, count=st.integers(4, 10), user=users)
    def tell_too_many(self, channel: str, count: int, user: str) -> None:
        self.world.tell(*[self.world.new(channel, Chat("hello"), user=user) for _ in range(count)])

    @rule(channel=channels, count=st.integers(4, 20), user=users)
    def tell_too_many_controls(self, channel: str, count: int, user: str) -> None:
        self.world.tell(*[self.world.new(channel, Reset(), user=user) for _ in range(count)])

    @precondition(lambda self: self.world.requests)
    @rule(index=st.integers(0, 40))
    def tell_again(self, index: int) -> None:
        self.world.tell(self.world.requests[-1 - index % len(self.world.requests)])

    @rule(channel=channels, stop=stops, user=users)
    def stop(self, channel: str, stop: Stop, user: str) -> None:
        self.world.tell(self.world.new(channel, stop, user=user))

    @rule(
        channel=channels,
        batch=st.lists(st.tuples(commands, users), min_size=2, max_size=6),
        ahead=rounds,
        stop=stops,
        user=users,
        behind=st.lists(st.tuples(commands, users), max_size=2),
    )
    def stop_what_waits(
        self,
        channel: str,
        batch: list[tuple[Command, str]],
        ahead: int,
        stop: Stop,
        user: str,
        behind: list[tuple[Command, str]],
    ) -> None:
        self.world.tell(*[self.world.new(channel, each, user=who) for each, who in batch])
        self.world.run_rounds(ahead, committing=1)
        told = [(stop, user), *behind]
        self.world.tell(*[self.world.new(channel, each, user=who) for each, who in told])

    @rule(
        channel=channels,
        batch=st.lists(st.tuples(commands, users), min_size=2, max_size=6),
        stop=stops,
        user=users,
        rounds=st.integers(1, 12),
    )
    def kill_while_dropping(
        self,
        channel: str,
        batch: list[tuple[Command, str]],
        stop: Stop,
        user: str,
        rounds: int,
    ) -> None:
        self.world.tell(*[self.world.new(channel, each, user=who) for each, who in batch])
        self.world.engine_run.run_until_idle()
        self.world.tell(self.world.new(channel, stop, user=user))
        self.world.run_rounds(rounds, committing=1)
        self.world.kill()

    @rule(
        channel=channels,
        command=st.sampled_from([Chat("hello"), Complete("complete")]),
        rounds=rounds,
    )
    def stop_under_the_same_id(self, channel: str, command: Command, rounds: int) -> None:
        request = self.world.new(channel, command)
        self.world.tell(request)
        self.world.run_rounds(rounds)
        self.world.tell(self.world.new(channel, Stop(), request.request_id))

    # The provider.

    @precondition(lambda self: self.world.engine_run.scripted_model.waiting)
    @rule(index=st.integers(0, 3), how=st.sampled_from(["answers", "answers", "fails", "deaf"]))
    def provider(self, index: int, how: str) -> None:
        waiting = self.world.engine_run.scripted_model.waiting
        call = waiting[index % len(waiting)]
        call.fails, call.deaf = how == "fails", how == "deaf"
        if how != "deaf":
            call.released.set()

    @rule(channel=channels, seconds=st.sampled_from([0.0, 50.0]))
    def provider_goes_deaf(self, channel: str, seconds: float) -> None:
        self.world.tell(self.world.new(channel, Chat("hello")))
        self.world.engine_run.run_until_idle()
        for call in self.world.engine_run.scripted_model.waiting:
            call.deaf = True
        self.world.engine_run.run_until_idle(seconds)

    # The passing of time, by rounds of the loop, commits and seconds.

    @rule(rounds=rounds, committing=st.integers(1, 3))
    def go(self, rounds: int, committing: int) -> None:
        self.world.run_rounds(rounds, committing=committing)

    @rule(rounds=rounds)
    def go_without_disk(self, rounds: int) -> None:
        for _ in range(rounds):
            self.world.engine_run.run_round()

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, 16.0, 31.0, 50.0, 70.0]))
    def rest(self, seconds: float) -> None:
        self.world.engine_run.run_until_idle(seconds)

    # The supervisor's own work.

    @rule()
    def passivate(self) -> None:
        self.world.engine_run.passivate()

    @rule(channel=channels, rounds=st.integers(0, 3))
    def tell_while_passivating(self, channel: str, rounds: int) -> None:
        self.carry_out_all((channel, Chat("hello")))
        self.world.engine_run.passivate()
        for _ in range(rounds):
            self.world.engine_run.run_round()
        for _ in range(2):
            self.world.tell(self.world.new(channel, Chat("hello")))
            self.world.engine_run.run_until_idle()

    @rule()
    def snapshot(self) -> None:
        self.world.engine_run.snapshot()

    @rule(seed=st.integers(0, 2))
    def reload(self, seed: int) -> None:
        self.world.engine_run.reload(seed)

    @rule(channel=channels, rounds=st.integers(1, 20), seed=st.integers(0, 2))
    def reload_on_the_way(self, channel: str, rounds: int, seed: int) -> None:
        """Reload at any point of the command's turn: `run_rounds` waits for each commit."""
        self.world.tell(self.world.new(channel, Chat("hello")))
        self.world.run_rounds(rounds, committing=1)
        self.world.engine_run.reload(seed)

    # Faults.

    @rule(again=st.lists(rounds, max_size=1))
    def kill(self, again: list[int]) -> None:
        self.world.kill(*again)

    @rule(channel=channels, command=commands, rounds=st.integers(1, 20))
    def kill_on_the_way(self, channel: str, command: Command, rounds: int) -> None:
        """Kill at any point of the command's turn: `run_rounds` waits for each commit."""
        self.world.engine_run.scripted_model.release_all()
        self.world.tell(self.world.new(channel, command))
        self.world.run_rounds(rounds, committing=1)
        self.world.kill()

    @rule()
    def drain(self) -> None:
        self.world.drain()

    @rule(jobs=st.integers(1, 4))
    def fill_disk(self, jobs: int) -> None:
        self.world.engine_run.commit(jobs, full=True)

    @rule(channel=channels)
    def break_channel(self, channel: str) -> None:
        self.world.break_channel(channel)

    @rule(channel=channels)
    def mend_channel(self, channel: str) -> None:
        self.world.mend_channel(channel)
