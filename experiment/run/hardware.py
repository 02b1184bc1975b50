"""Settings that follow from the machine: precision, and when memory is returned to the system."""

import ctypes
import gc
import platform

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
FREE = 256 * 2**20


def best_precision(accelerator: str) -> str:
    """Return ``bf16-mixed`` where the device multiplies bfloat16 in hardware, ``32-true`` elsewhere."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        able = torch.cpu.get_capabilities()
        return "bf16-mixed" if able.get("avx512_bf16") or able.get("amx_bf16") else "32-true"
    return "32-true"


def keep_freed_memory() -> None:
    """Let glibc keep freed activations for the next batch instead of returning them to the kernel.

    Otherwise each batch on a CPU allocates its activations again, page fault by page fault. Other allocators need no setting.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, FREE)


def return_memory() -> None:
    """Return unused memory to the kernel, that of models and trainers in reference cycles too."""
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
