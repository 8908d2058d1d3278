"""The reader of shared-memory traffic, on PTX whose conflicts are known."""

from __future__ import annotations

import pytest

from kernels.latent_rollout.banks import Traffic, loop_traffic

PTX = """
    mov.u32  %r1, %tid.x;
    mov.b32  %r7, global_smem;
    mov.b32  %r9, 0;
    mul.lo.s32  %r2, %r1, {stride};
    add.s32  %r3, %r7, %r2;
    st.shared.b32 [ %r3 + 0 ], {{ %r1 }};
$L__BB0_1:
    {access}
    bar.sync  0;
    add.s32  %r9, %r9, 1;
    setp.lt.s32  %p1, %r9, %r8;
    @%p1 bra  $L__BB0_1;
    bar.sync  0;
    shfl.sync.bfly.b32  %r4, %r1, 1, 31, -1;
    ret;
"""


@pytest.mark.parametrize(
    "stride, access, cycles, conflicts",
    [
        (4, "st.shared.b32 [ %r3 + 0 ], { %r1 };", 2, 0),
        (8, "st.shared.b32 [ %r3 + 0 ], { %r1 };", 4, 2),
        (128, "ld.shared.b32 { %r5 }, [ %r3 + 512 ];", 64, 62),
        (132, "ld.shared.b32 { %r5 }, [ %r3 ];", 2, 0),
        (0, "ld.shared.b32 { %r5 }, [ %r3 ];", 2, 0),  # all read the same word
        (16, "st.shared.v4.b32 [ %r3 + 0 ], { %r1, %r1, %r1, %r1 };", 8, 0),
        (32, "st.shared.v4.b32 [ %r3 + 0 ], { %r1, %r1, %r1, %r1 };", 16, 8),
        (16, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r5, %r6, %r10, %r11}, [%r3];", 8, 0),
        (128, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r5, %r6, %r10, %r11}, [%r3+64];", 64, 56),
        (144, "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r5, %r6}, [%r3];", 4, 0),
    ],
)
def test_cycles_of_two_warps(stride, access, cycles, conflicts):
    found = loop_traffic(PTX.format(stride=stride, access=access), threads=64)
    assert found == Traffic(cycles, conflicts, unknown=0, shuffles=0, barriers=1)


def test_an_address_that_moves_between_banks_is_unknown():
    moving = PTX.format(stride=4, access="ld.shared.b32 { %r5 }, [ %r9 ];")
    assert loop_traffic(moving, threads=64) == Traffic(0, 0, unknown=1, shuffles=0, barriers=1)


def test_the_same_tile_elsewhere_has_the_same_conflicts():
    for other, unknown in ((4096, 0), (4100, 1)):
        which = (
            f"selp.b32  %r6, 128, {other}, %p2;\n    add.s32  %r20, %r3, %r6;\n    st.shared.b32 [ %r20 ], {{ %r1 }};"
        )
        found = loop_traffic(PTX.format(stride=8, access=which), threads=64)
        assert (found.conflicts, found.unknown) == (2 - 2 * unknown, unknown)
    twice = "add.s32  %r20, %r3, 128;\n    add.s32  %r20, %r3, 4096;\n    st.shared.b32 [ %r20 + 0 ], { %r1 };"
    found = loop_traffic(PTX.format(stride=8, access=twice), threads=64)
    assert (found.conflicts, found.unknown) == (2, 0)
