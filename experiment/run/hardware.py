"""What follows from the machine, not from the user: precision, and how memory is kept and given back."""

import ctypes
import gc
import platform

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
KEPT_FREE = 256 * 2**20


def best_precision(accelerator: str) -> str:
    """``bf16-mixed`` where the device multiplies bfloat16 in hardware, ``32-true`` elsewhere."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        able = torch.cpu.get_capabilities()
        return "bf16-mixed" if able.get("avx512_bf16") or able.get("amx_bf16") else "32-true"
    return "32-true"


def keep_freed_memory() -> None:
    """Let glibc keep freed activations for the next batch instead of returning them to the kernel.

    Without it each batch on a CPU faults its activations in anew, page by page. Other allocators need nothing.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, KEPT_FREE)


def return_memory() -> None:
    """What nobody uses any more goes back to the kernel, models and trainers that hold each other too."""
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
