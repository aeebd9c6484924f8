"""How a service ends that does not end well."""


class StartFailedError(Exception):
    """With --fail-fast something needed is not there; else a file of settings can't be used."""


class ServiceDiedError(Exception):
    """A fault in the program ended the service; the log has the traceback."""
