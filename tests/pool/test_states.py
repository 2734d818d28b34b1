"""The life of a channel: every event at every state."""

import pytest

from keepwarm.pool import states

LIFE = {
    ("connecting", "connected"): "leased",
    ("connecting", "connected_idle"): "idle",
    ("connecting", "close"): "closing",
    ("connecting", "lost"): "closed",
    ("idle", "lease"): "leased",
    ("idle", "close"): "closing",
    ("idle", "lost"): "closed",
    ("leased", "release"): "idle",
    ("leased", "hand_over"): "leased",
    ("leased", "detach"): "detached",
    ("leased", "close"): "closing",
    ("leased", "lost"): "closed",
    ("detached", "close"): "closing",
    ("detached", "lost"): "closed",
    ("closing", "lost"): "closed",
}


@pytest.mark.parametrize("state", range(6), ids=states.STATE_NAMES)
@pytest.mark.parametrize("event", range(8), ids=states.EVENT_NAMES)
def test_every_event_at_every_state(state: int, event: int) -> None:
    """What the diagram shows happens; everything else raises and says what was tried."""
    names = states.STATE_NAMES[state], states.EVENT_NAMES[event]
    if names in LIFE:
        assert states.STATE_NAMES[states.step(state, event)] == LIFE[names]
    else:
        with pytest.raises(states.IllegalTransition, match=f"{names[0]} cannot take the event '{names[1]}'"):
            states.step(state, event)


def test_only_the_loss_of_the_transport_ends_a_channel() -> None:
    """A slot comes back in one way: `lost` leads to CLOSED from everywhere else, and nothing leads out of it."""
    into = {(state, event) for state in range(6) for event in range(8) if states.TABLE[state][event] == states.CLOSED}
    assert into == {(state, states.LOST) for state in range(5)}
    assert set(states.TABLE[states.CLOSED]) == {states.NO}


@pytest.mark.parametrize(
    ("column", "event"), [(states.LEASE_FROM, states.LEASE), (states.RELEASE_FROM, states.RELEASE)]
)
def test_the_quick_columns_are_the_table(column: tuple[int, ...], event: int) -> None:
    """The warm path reads the same table; an illegal step leads to a state that no event can leave."""
    for state in range(6):
        legal = states.TABLE[state][event]
        assert column[state] == legal if legal != states.NO else column[state] >= len(states.TABLE)
