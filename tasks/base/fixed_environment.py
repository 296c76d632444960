"""The environment in which users' files run: a fixed hash seed, the variables on a list, and what an experiment adds.

Otherwise a number could depend on the shell that archbench was called from. Variables of libraries that change results
(``ONEDNN_MAX_CPU_ISA``, ``MKL_*``, ``TORCH_*``, ``NVIDIA_TF32_OVERRIDE``, ...) and Python's options are not on the
list.

A command or a call begins in the caller's environment. Where it would load a user's file, ``Elsewhere`` is raised
before any of the file's code has run; the command then starts again, and the call continues in a child process.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from archbench.tasks.base.errors import Signalled

FIXED = {"PYTHONHASHSEED": "0"}
# Who and where; what finds modules and libraries; threads and memory; devices and compilers; the network; figures.
_NAMES = """
    PATH HOME USER LOGNAME SHELL HOSTNAME TERM COLUMNS LINES LANG LANGUAGE TZ TMPDIR TEMP TMP VIRTUAL_ENV CONDA_PREFIX
    PYTHONPATH PYTHONHOME PYTHONUTF8 PYTHONIOENCODING PYTHONPYCACHEPREFIX PYTHONDONTWRITEBYTECODE
    LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH
    OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS TOKENIZERS_PARALLELISM
    MALLOC_MMAP_MAX_ MALLOC_TRIM_THRESHOLD_ PYTORCH_CUDA_ALLOC_CONF PYTORCH_ALLOC_CONF
    NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES CC CXX TORCHINDUCTOR_CACHE_DIR TRITON_CACHE_DIR
    HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
    MPLBACKEND MPLCONFIGDIR
"""
NAMES = frozenset(_NAMES.split())  # also in lower case, as proxies usually are
PREFIXES = (
    *("LC_", "XDG_", "ARCHBENCH_"),
    *("CUDA_", "NCCL_"),
    *("HF_", "HUGGINGFACE_", "TRANSFORMERS_OFFLINE", "PIP_", "WANDB_"),
    *("SLURM", "SBATCH_", "SUBMITIT_", "RAY_", "COVERAGE_"),
)
EXCEPT = frozenset({"NCCL_ALGO", "NCCL_PROTO"})  # in which order numbers are added up
DECLARED = "ARCHBENCH_ENVIRONMENT"  # the experiment's variables as JSON, in a process that was started with them


class Elsewhere(Signalled):
    """Users' code has to run in a process that is started with these variables besides those on the list."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(
            "users' code runs only in processes that archbench starts: use archbench.compare, or a command"
        )
        self.variables = dict(variables)


_guarded = ContextVar("guarded", default=False)


def passes(name: str) -> bool:
    """True if a variable of the caller reaches users' files."""
    return (name.upper() in NAMES or name.startswith(PREFIXES)) and name not in EXCEPT


def environment(variables: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The environment of a process for users' files; ``variables`` are the experiment's."""
    passed = {name: value for name, value in os.environ.items() if passes(name)}
    return {**passed, **FIXED, **variables, DECLARED: json.dumps(dict(variables), sort_keys=True)}


def declared() -> dict[str, str] | None:
    """The experiment's variables in this process; None where it was not started for users' files."""
    text = os.environ.get(DECLARED)
    return None if text is None else dict(json.loads(text))


@contextmanager
def guarded() -> Iterator[None]:
    """A block that may begin in any environment: users' files are not loaded in it unless the process is for them."""
    token = _guarded.set(True)
    try:
        yield
    finally:
        _guarded.reset(token)


def require(variables: Mapping[str, str] = MappingProxyType({})) -> None:
    """Raises ``Elsewhere`` unless this process is for users' files and has these variables; none: any will do."""
    present = declared()
    if (variables and present != variables) or (present is None and _guarded.get()):
        raise Elsewhere(variables)
