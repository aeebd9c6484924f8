"""The composition root of `run`: opens every room, introduces them, closes them in reverse."""

from consumer.app.errors import ServiceDiedError, StartFailedError
from consumer.app.service import Service
from consumer.app.serving import serve

__all__ = ["Service", "ServiceDiedError", "StartFailedError", "serve"]
