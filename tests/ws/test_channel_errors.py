"""What the user of a WebSocket is told."""

from keepwarm.pool.endpoint import Endpoint
from keepwarm.ws.channel_errors import sending_is_over


def test_a_close_code_does_not_say_who_began() -> None:
    """The peer's frame may be the answer to ours."""
    text = str(sending_is_over(Endpoint("h", 80, False), None, 1000))
    assert "it is closed, and the code of the peer's close frame was 1000; open a new one with ws_connect" in text
    assert "the peer closed it" not in text
