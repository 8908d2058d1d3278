"""Links between GPUs by name, and how long a ring of GPUs takes to sum up what each of them holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

START = 8.4e-6
"""Seconds until a collective operation moves anything: NCCL's own model, src/graph/tuning.cc, Ring and Simple."""


@dataclass(frozen=True)
class Link:
    """A link by name: bytes a second in one direction of one GPU or adapter, and what each hop of a ring waits.

    Waits are those of NCCL's own model (src/graph/tuning.cc, Ring and Simple: NVLink, PCIe, network).
    """

    name: str
    bytes_per_second: float
    hop: float
    source: str


LINKS = {
    "nvlink3": Link("NVLink 3", 300e9, 3.4e-6, "NVIDIA A100 datasheet: 600 GB/s, both directions"),
    "nvlink4": Link("NVLink 4", 450e9, 3.4e-6, "NVIDIA H100 and H200 datasheets: 900 GB/s, both directions"),
    "nvlink5": Link("NVLink 5", 900e9, 3.4e-6, "NVIDIA B200 datasheet: 1.8 TB/s, both directions"),
    "pcie4": Link("PCIe 4 x16", 31.5e9, 5.7e-6, "PCI-SIG: 16 lanes of 16 GT/s, 128 of 130 bits"),
    "pcie5": Link("PCIe 5 x16", 63e9, 5.7e-6, "PCI-SIG: 16 lanes of 32 GT/s, 128 of 130 bits"),
    "hdr": Link("InfiniBand HDR", 25e9, 9.6e-6, "IBTA: 200 Gb/s a port of four lanes"),
    "ndr": Link("InfiniBand NDR", 50e9, 9.6e-6, "IBTA: 400 Gb/s a port of four lanes"),
    "xdr": Link("InfiniBand XDR", 100e9, 9.6e-6, "IBTA: 800 Gb/s a port of four lanes"),
    "ethernet100": Link("100 Gb Ethernet", 12.5e9, 9.6e-6, "IEEE 802.3: 100 Gb/s"),
    "ethernet10": Link("10 Gb Ethernet", 1.25e9, 9.6e-6, "IEEE 802.3: 10 Gb/s"),
}


@dataclass(frozen=True)
class Machine:
    """How GPUs are joined."""

    inside: Link = LINKS["nvlink4"]
    """Between the GPUs of a node."""
    between: Link = LINKS["ndr"]
    """Between nodes; of one adapter."""
    gpus_per_node: int = 8
    adapters: int = 8
    """Of a node, all used at once."""
    reached: float = 0.8
    """Share of a link's speed that an all-reduce reaches."""


def all_reduce(size: float, gpus: int, machine: Machine) -> float:
    """Seconds in which a ring sums ``size`` bytes over ``gpus`` GPUs."""
    if gpus == 1:
        return 0.0
    nodes = math.ceil(gpus / machine.gpus_per_node)
    hops, outside = 2 * (gpus - 1), 2 * (nodes - 1)
    speed = machine.inside.bytes_per_second
    if nodes > 1:
        speed = min(speed, machine.adapters * machine.between.bytes_per_second)
    waits = START + (hops - outside) * machine.inside.hop + outside * machine.between.hop
    return waits + hops / gpus * size / (machine.reached * speed)
