"""Reports: tables, figures and the page, made from the records of runs. Never imports torch."""

from archbench.reports.page.assemble import build

__all__ = ["build"]
