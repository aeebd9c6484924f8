"""How a service ends that does not end well."""


class StartFailedError(Exception):
    """Something needed is not there: with --fail-fast, or of what no waiting brings."""


class ServiceDiedError(Exception):
    """A fault in the program ended the service; the log has the traceback."""
