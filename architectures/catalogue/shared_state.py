"""Another name of ``errors.listed``, for checks of the contract."""

from archbench.tasks.base.errors import listed

__all__ = ["listed"]
