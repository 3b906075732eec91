"""`serve` and `proxy` as service managers and `up` start them, without click, which takes as long to load as a fifth of the daemon.

Owns: telling their two plain forms. Whatever it does not understand at a glance it leaves to click, which explains; failures end as they do there.
"""

import gc
import re
from collections.abc import Sequence

from broker.cli.exits import Exit
from broker.model.errors import BrokerError

_LEAST_DESCRIPTOR = 3  # below are the standard streams
_NUMBER = re.compile("[0-9]{1,9}")


def run(program: str, arguments: Sequence[str]) -> int | None:
    """Run the program (`serve`, `proxy`) and return the exit code; None where its arguments need click."""
    match arguments:
        case []:
            return _run(program, None)
        case ["--until-eof", number] if _NUMBER.fullmatch(number) and int(number) >= _LEAST_DESCRIPTOR:
            return _run(program, int(number))
        case _:
            return None


def _run(program: str, until_eof: int | None) -> int:
    gc.disable()  # what is loaded is there to stay
    try:
        from broker.cli import foreground
        from broker.cli.reading import read_config

        config = read_config()
        if program == "serve":
            return foreground.daemon(config, until_eof)  # which looks for garbage once it is ready
        gc.enable()
        return foreground.proxy(config, until_eof)
    except BrokerError as error:
        from broker.cli.app import failed

        return failed(error, as_json=False)
    except KeyboardInterrupt:
        from broker.cli import output

        output.notice("")
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        from broker.cli import output

        output.give_up()
        return int(Exit.FAILURE)
    finally:
        gc.enable()
