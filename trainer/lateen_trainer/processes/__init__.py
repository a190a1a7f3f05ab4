"""The life of a trainer process: it joins its peers, notices when one is gone, stops when told, and says
how it ended.

`Lifecycle` is what the training loop holds. Behind it one thread (`watch`, `monitor`) listens to signals,
to the peers (`peer_protocol`) and to the clock, so that a process whose main thread sits in a collective that will
never return still ends in bounded time, with an exit code of `lateen_api.termination`.
"""

from lateen_trainer.processes.join import Peers
from lateen_trainer.processes.lifecycle import Lifecycle
from lateen_trainer.processes.termination import leave

__all__ = ["Lifecycle", "Peers", "leave"]
