"""busy_error: a body has one reader at a time."""


def busy_error(method: str) -> RuntimeError:
    """What the second of two readers gets."""
    return RuntimeError(
        f"{method}() called while another coroutine is already waiting for incoming data: "
        "a body has one reader at a time; let that call end or cancel it first"
    )
