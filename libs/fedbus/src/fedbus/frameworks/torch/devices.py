"""Where PyTorch computes here, and what that can do."""

import torch


def device() -> torch.device:
    """Name the GPU if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes faster in bfloat16; processors mostly imitate it, slowly."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
