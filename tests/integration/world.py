"""What the tests of one file share."""


class BaseWorld:
    """A mesh, and what its tests ask of it over and over. See the fixtures `variant` and `healthy` of
    conftest.py."""

    mesh = None

    def before(self):
        """Before each test."""

    def after(self):
        """After each test, before the mesh is looked at."""

    def rules(self, *objects, until=None, what="", timeout=10):
        """These rules and no others, in force on every proxy; then what `until` says once that is
        true."""
        self.mesh.apply_live("rules", list(objects))
        return self.mesh.eventually(until, timeout, what) if until else None

    def stop(self):
        self.mesh.stop()
