"""The steps of the property test, for hypothesis to put in any order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from engine.commands.records import (
    Chat,
    Command,
    Complete,
    Help,
    Reset,
    SetPersona,
    ShowPersonas,
    Stop,
)
from tests.properties.world import CHANNELS, World

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
        Help(),
    ]
)
rounds = st.integers(1, 8)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def teardown(self) -> None:
        try:
            self.world.end()
        finally:
            self.world.close()

    # Commands.

    @rule(told=st.lists(st.tuples(channels, commands), min_size=1, max_size=3))
    def tell(self, told: list[tuple[str, Command]]) -> None:
        self.world.tell(*[self.world.new(channel, command) for channel, command in told])

    @rule(told=st.lists(st.tuples(channels, commands), min_size=1, max_size=4))
    def carry_out(self, told: list[tuple[str, Command]]) -> None:
        self.carry_out_all(*told)

    def carry_out_all(self, *told: tuple[str, Command]) -> None:
        for channel, command in told:
            self.world.tell(self.world.new(channel, command))
            self.world.life.rest()
            for call in self.world.life.asked.waiting:
                call.goes_on.set()
            self.world.life.rest()

    @rule(channel=channels, count=st.integers(4, 8))
    def tell_too_many(self, channel: str, count: int) -> None:
        self.world.tell(*[self.world.new(channel, Chat("hello")) for _ in range(count)])

    @precondition(lambda self: self.world.requests)
    @rule(index=st.integers(0, 40))
    def tell_again(self, index: int) -> None:
        self.world.tell(self.world.requests[-1 - index % len(self.world.requests)])

    @rule(channel=channels)
    def stop(self, channel: str) -> None:
        self.world.tell(self.world.new(channel, Stop()))

    @rule(
        channel=channels,
        command=st.sampled_from([Chat("hello"), Complete("complete")]),
        rounds=rounds,
    )
    def stop_under_the_same_id(self, channel: str, command: Command, rounds: int) -> None:
        request = self.world.new(channel, command)
        self.world.tell(request)
        self.world.go(rounds)
        self.world.tell(self.world.new(channel, Stop(), request.request_id))

    # The provider.

    @precondition(lambda self: self.world.life.asked.waiting)
    @rule(index=st.integers(0, 3), how=st.sampled_from(["answers", "answers", "fails", "deaf"]))
    def provider(self, index: int, how: str) -> None:
        waiting = self.world.life.asked.waiting
        call = waiting[index % len(waiting)]
        call.fails, call.deaf = how == "fails", how == "deaf"
        if how != "deaf":
            call.goes_on.set()

    @rule(channel=channels, seconds=st.sampled_from([0.0, 50.0]))
    def provider_goes_deaf(self, channel: str, seconds: float) -> None:
        self.world.tell(self.world.new(channel, Chat("hello")))
        self.world.life.rest()
        for call in self.world.life.asked.waiting:
            call.deaf = True
        self.world.life.rest(seconds)

    # The passing of time, by rounds of the loop, commits and seconds.

    @rule(rounds=rounds, committing=st.integers(1, 3))
    def go(self, rounds: int, committing: int) -> None:
        self.world.go(rounds, committing=committing)

    @rule(rounds=rounds)
    def go_without_disk(self, rounds: int) -> None:
        for _ in range(rounds):
            self.world.life.turn()

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, 16.0, 31.0, 50.0, 70.0]))
    def rest(self, seconds: float) -> None:
        self.world.life.rest(seconds)

    # The supervisor's own work.

    @rule()
    def passivate(self) -> None:
        self.world.life.passivate()

    @rule(channel=channels, rounds=st.integers(0, 3))
    def tell_while_passivating(self, channel: str, rounds: int) -> None:
        self.carry_out_all((channel, Chat("hello")))
        self.world.life.passivate()
        for _ in range(rounds):
            self.world.life.turn()
        for _ in range(2):
            self.world.tell(self.world.new(channel, Chat("hello")))
            self.world.life.rest()

    @rule()
    def snapshot(self) -> None:
        self.world.life.snapshot()

    @rule(seed=st.integers(0, 2))
    def reload(self, seed: int) -> None:
        self.world.life.reload(seed)

    @rule(channel=channels, rounds=st.integers(1, 20), seed=st.integers(0, 2))
    def reload_on_the_way(self, channel: str, rounds: int, seed: int) -> None:
        """The command's turn is at any of its points then: each commit is waited for."""
        self.world.tell(self.world.new(channel, Chat("hello")))
        self.world.go(rounds, committing=1)
        self.world.life.reload(seed)

    # Faults.

    @rule(again=st.lists(rounds, max_size=1))
    def kill(self, again: list[int]) -> None:
        self.world.kill(*again)

    @rule(channel=channels, command=commands, rounds=st.integers(1, 20))
    def kill_on_the_way(self, channel: str, command: Command, rounds: int) -> None:
        """The command's turn is at any of its points then: each commit is waited for."""
        self.world.life.asked.let_all()
        self.world.tell(self.world.new(channel, command))
        self.world.go(rounds, committing=1)
        self.world.kill()

    @rule()
    def drain(self) -> None:
        self.world.drain()

    @rule(jobs=st.integers(1, 4))
    def fill_disk(self, jobs: int) -> None:
        self.world.life.commit(jobs, full=True)

    @rule(channel=channels)
    def break_channel(self, channel: str) -> None:
        self.world.break_channel(channel)

    @rule(channel=channels)
    def mend_channel(self, channel: str) -> None:
        self.world.mend_channel(channel)
