"""The laboratory: real Envoy, mock providers and a plain HTTP client, on loopback and on free ports.

End-to-end tests, the demo and the bench all work with it. Its one invariant: what it started, it ends, by process id,
and the kernel ends it too if the laboratory itself is killed.
"""

from .client import Answer, Client
from .config import caller_key, render
from .laboratory import BACKUP, FURTHER, TENANTS, Lab, calm, charged, dying, provider, steady
from .mock import Mock
from .proxy import Envoy
from .waiting import read_until, until

__all__ = ["BACKUP", "FURTHER", "TENANTS", "Answer", "Client", "Envoy", "Lab", "Mock",
           "calm", "caller_key", "charged", "dying", "provider", "read_until", "render", "steady",
           "until"]
