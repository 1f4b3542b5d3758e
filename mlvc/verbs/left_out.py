"""Keeps the `.gitignore`s whole that a sparse checkout leaves out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from shlex import quote

from mlvc.model.names import encode_name
from mlvc.repo import Repo, SparseCheckoutError
from mlvc.worktree.ignore import ignore_lines

__all__ = ["check_ignores"]


def check_ignores(repo: Repo, paths: Iterable[bytes]) -> None:
    """Refuses paths beside which a `.gitignore` would be made anew that git has, and would then lack its other lines.

    Costs one git child where there is none in the work tree.

    Raises:
        SparseCheckoutError: A sparse checkout leaves one out.
    """
    missing = [file for file in ignore_lines(paths) if not repo.view.exists(file)]
    left_out = repo.code.left_out(*missing) if missing else ()
    if left_out:
        file = left_out[0]
        # A cone is made of directories, and what stands at the top is always in it.
        is_cone = repo.code.get_config("core.sparseCheckoutCone") == "true"
        pattern = os.fsdecode(file.rpartition(b"/")[0] if is_cone else b"/" + file)
        raise SparseCheckoutError(
            f"the sparse checkout leaves out {encode_name(file)}, which keeps git away from data",
            hint=f"git sparse-checkout add {quote(pattern)}",
        )
