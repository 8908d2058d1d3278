// Compile-time shape of the kernel, and where things lie in shared memory.
//
// Given: LATENT, HIDDEN (256 or 512), BLOCKS, TILES (8 rows each: 1 or 2), HELD (blocks whose mix stays in registers),
// ADJOINT, SAVE (leave the hidden layers for the weight gradients), HALF (operands: 0 bf16, 1 fp16), PROFILE (note the
// clock at the marks below).
#pragma once

constexpr int PROGRAMS = 8;  // of a cluster; one a multiprocessor
constexpr int WARPS = 8;
constexpr int THREADS = 32 * WARPS;
constexpr int OWNER = WARPS - 1;                                // the warp that owns rows of the state
constexpr int LP = LATENT <= 16 ? 16 : LATENT <= 32 ? 32 : 64;  // latent size, padded
constexpr int SLICE = HIDDEN / PROGRAMS;                        // mix units a program, and hidden units a warp
constexpr int ROWS = 8 * TILES;

// Tiles of mma.m16n8k16.
constexpr int MT = SLICE / 16;  // m-tiles of the mix
constexpr int KT = SLICE / 16;  // k-tiles of a warp's share of the mix
constexpr int NT = SLICE / 8;   // n-tiles of a warp's share of the lift
constexpr int KS = LP / 16;     // k-steps of the lift
constexpr int DT = LP / 16;     // m-tiles of the drop

// Shares of the work.
constexpr int HALVES = MT * TILES > 4 ? 1 : 2;            // parts of a tile in the sum over warps
constexpr int JOBS = MT * TILES * HALVES;                 // of that sum, one a warp
constexpr int VALUES = 4 / HALVES;                        // a thread's share of a job
constexpr int DROPS = DT * TILES;                         // warps that multiply by the drop
constexpr int EARLY = NT * KS > 16 ? 16 / KS : NT;        // n-tiles of the lift read before the state arrives
constexpr int PER = LP > 32 ? LP / 32 : 1;                // latents a lane of the owner
constexpr int HELD_ROOM = HELD > 0 ? HELD : 1;            // C++ has no empty arrays
static_assert(HIDDEN % 256 == 0 && TILES <= 2, "a program's slice is two or four m-tiles");
static_assert(JOBS <= WARPS && DROPS <= WARPS, "one job a warp");
static_assert(NT <= PROGRAMS, "each program tells the signs of one n-tile of the lift");

// Shared memory in bytes, as kernels/latent_rollout/cluster/variant.py reckons it.
constexpr int LIFT_BYTES = HIDDEN * LP * 2;
constexpr int DROP_BYTES = DT * MT * 512;
constexpr int MIX_BYTES = WARPS * MT * KT * 512;
constexpr int SUM_BYTES = MT * TILES * 512;  // partial sums of a warp
constexpr int STATE_BYTES = ROWS * LP * 2;
constexpr int PARTS_BYTES = PROGRAMS * LP * TILES * 4;
constexpr int BIAS1_BYTES = ADJOINT ? 0 : HIDDEN * 4;
constexpr int BIAS2_BYTES = ADJOINT ? 0 : SLICE * 4;
constexpr int AT_LIFT = 0;                                     // (BLOCKS, HIDDEN, LP)
constexpr int AT_DROP = AT_LIFT + BLOCKS * LIFT_BYTES;         // fragments (BLOCKS, DT, MT, 32, 4)
constexpr int AT_MIX = AT_DROP + BLOCKS * DROP_BYTES;          // fragments (BLOCKS - HELD, WARPS, MT, KT, 32, 4)
constexpr int AT_SUMS = AT_MIX + (BLOCKS - HELD) * MIX_BYTES;  // partial sums of the mix (WARPS, JOBS, 32, VALUES)
constexpr int AT_MIXED = AT_SUMS + WARPS * SUM_BYTES;          // the mix's result as B operands (TILES, MT, 32, 2)
constexpr int AT_STATE = AT_MIXED + TILES * MT * 256;          // the state as A operands (KS, 32, 2·TILES)
constexpr int AT_PARTS = AT_STATE + STATE_BYTES;               // partial sums of the new state (PROGRAMS, LP, TILES)
constexpr int AT_BIAS1 = AT_PARTS + PARTS_BYTES;               // float32 (BLOCKS, HIDDEN), in the order of n-tiles
constexpr int AT_BIAS2 = AT_BIAS1 + BLOCKS * BIAS1_BYTES;      // float32 (BLOCKS, SLICE), the same
constexpr int AT_BARRIERS = AT_BIAS2 + BLOCKS * BIAS2_BYTES;   // two mbarriers: the state's, the parts'
constexpr int SHARED_BYTES = AT_BARRIERS + 16;

// The unit of a slice in column `column` of n-tile t: units of lane (g, q) are then neighbours in memory.
DEVICE constexpr int unit_of(int t, int column) { return (SLICE / 4) * (column >> 1) + 2 * t + (column & 1); }

struct Arguments {  // as kernels/latent_rollout/cluster/launch.py fills it
  const float* start;  // forward: T_0 (B, L); adjoint: dLoss/dT (N + 1, B, L)
  float* states;       // (S + 1, B, L), written
  const u16* w_lift;   // (R, H, L)
  const u16* w_mix;    // (R, H, H)
  const u16* w_drop;   // (R, L, H)
  const u16* b1;       // (R, H); the biases are read forward only
  const u16* b2;       // (R, H)
  const float* b3;     // (R, L)
  u16* out_lift;       // (R, N, B, H) h1; adjoint: dz2
  u16* out_mix;        // (R, N, B, H) h2; adjoint: dz1
  u8* signs_lift;      // (S, G, 8, 32, 8) signs of h1: written forward, read by the mix backward
  u8* signs_mix;       // the same of h2, read by the lift backward
  u32* marks;          // (S, PROGRAMS, WARPS, MARKS) clocks of the first cluster, written when PROFILE
  int batch, transitions;
};

// When a warp was where in a block-step; kernels/latent_rollout/cluster/phases.py reads them.
enum Mark {
  BEGUN, STATE_SEEN, SUMS_STORED, BARRIER_1, MIX_STORED, BARRIER_2, DROP_SENT, PARTS_SEEN, STATE_SENT, ENDED, MARKS
};

struct Frame {  // what a thread knows for good
  int lane, warp;
  int g, q;  // lane = 4·g + q: row and column of a fragment
  int rank;  // of its program in the cluster
  int row0, batch, group, groups, transitions;
  u32 smem, state_bar, parts_bar;
};

DEVICE void mark(const Arguments& a, const Frame& f, u32 turn, Mark m) {
  if (PROFILE && f.group == 0 && f.lane == 0)
    store_global4(a.marks + ((turn * PROGRAMS + f.rank) * WARPS + f.warp) * MARKS + m, clock_now());
}

// What a warp adds up of the mix: tile (m, r), rows 0-7 or 8-15 of it or both.
struct Job {
  int m, r, half;
};
DEVICE Job job_of(const Frame& f) {
  const int tile = f.warp / HALVES;
  return {tile / TILES, tile % TILES, f.warp % 2};
}
DEVICE bool has_job(const Frame& f) { return JOBS == WARPS || f.warp < JOBS; }
DEVICE bool has_drop(const Frame& f) { return DROPS == WARPS || f.warp < DROPS; }
