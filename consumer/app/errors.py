"""How a service ends that does not end well."""


class StartFailedError(Exception):
    """Something needed is not there: with --fail-fast, or where no waiting helps."""


class ServiceDiedError(Exception):
    """A fault in the program ended the service; the log has the traceback."""
