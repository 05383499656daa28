"""The rights of people in channels of IRC, from the lines of servers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from irc.features import FeatureSet

from engine.interfaces.bots.irc_members import IrcDialect, IrcMembers


def dialect(*features: str) -> IrcDialect:
    """Return that of a server which says this in its line 005."""
    said = FeatureSet()
    said.load(["rosey", *features, "are supported on this server"])
    return IrcDialect.of(said)


NGIRCD = dialect(
    "CASEMAPPING=ascii", "PREFIX=(qaohv)~&@%+", "CHANMODES=beI,k,l,imMnOPQRstVz", "CHANTYPES=#&+"
)


def members(*names: str, of: IrcDialect = NGIRCD) -> IrcMembers:
    found = IrcMembers(of)
    for each in names:
        found.names("#a", each)
    return found


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("alice", ()),
        ("@alice", ("op",)),
        ("@+alice", ("op", "voice")),
        ("%alice", ("halfop",)),
        ("&alice", ("op", "protected")),
        ("~@alice", ("op", "owner")),
    ],
)
def test_the_names_of_a_channel_come_with_rights(name: str, roles: tuple[str, ...]) -> None:
    found = members("bob @carol", f"{name} dave")
    assert found.roles("#a", "alice") == found.roles("#A", "ALICE") == roles
    assert found.roles("#b", "alice") == found.roles("#a", "dave") == ()
    assert found.roles("#a", "carol") == ("op",)


def test_no_right_makes_an_admin() -> None:
    assert "admin" not in members("~&@%+alice").roles("#a", "alice")


def test_a_change_of_modes_gives_and_takes_rights() -> None:
    found = members("@alice bob carol")
    found.modes("#a", ["+vo-o", "bob", "carol", "alice"])
    assert [found.roles("#a", nick) for nick in ("alice", "bob", "carol")] == [
        (),
        ("voice",),
        ("op",),
    ]
    found.modes("#a", ["-v+ntb-k+l-l+v", "bob", "*!*@*", "key", "9", "alice"])
    assert found.roles("#a", "bob") == ()
    assert found.roles("#a", "alice") == ("voice",)
    for odd in ([], [""], ["+"], ["+o"], ["oo", "carol"], ["+x", "bob"], ["-o", "stranger"]):
        found.modes("#a", odd)
    assert found.roles("#a", "bob") == found.roles("#a", "stranger") == ()


def test_rights_follow_a_new_name_and_end_with_the_person() -> None:
    found = members("@alice @bob @carol @dave")
    found.renamed("alice", "alice2")
    found.left("#a", "bob")
    found.quit("carol")
    found.joined("#a", "dave")  # somebody else, whom the server did not see leave
    for nick in ("alice", "bob", "carol", "dave"):
        assert found.roles("#a", nick) == ()
    assert found.roles("#a", "alice2") == ("op",)
    found.forget("#a")
    assert found.roles("#a", "alice2") == ()


@pytest.mark.parametrize(
    ("mapping", "same"),
    [("CASEMAPPING=ascii", False), ("CASEMAPPING=rfc1459", True), ("CHANTYPES=#", True)],
)
def test_the_server_says_which_names_are_one(mapping: str, same: bool) -> None:
    found = members("@a[b]", of=dialect(mapping))
    assert found.roles("#a", "A{B}") == (("op",) if same else ())
    assert found.roles("#a", "A[B]") == ("op",)


def test_a_server_that_says_nothing_of_itself_has_operators_and_voices() -> None:
    for odd in (dialect(), dialect("PREFIX=(ov)@+"), IrcDialect.of(FeatureSet())):
        found = members("@alice +bob", of=odd)
        assert (found.roles("#a", "alice"), found.roles("#a", "bob")) == (("op",), ("voice",))
        found.modes("#a", ["-o+b", "alice", "*!*@*"])
        assert found.roles("#a", "alice") == ()
    for none in (SimpleNamespace(prefix=True), SimpleNamespace(chanmodes="x"), SimpleNamespace()):
        assert members("@alice", of=IrcDialect.of(none)).roles("#a", "alice") == ()
