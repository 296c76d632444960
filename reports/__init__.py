"""Reports: tables, figures and the page, made from the records of runs. Never imports torch."""

from reports.assemble import build

__all__ = ["build"]
