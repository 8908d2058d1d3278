// Weights: from global memory to registers and shared memory once, from there to operands every turn.
#pragma once

// One A fragment of the mix: 16 units of the program's slice by 16 of this warp's hidden units.
DEVICE uint4 mix_fragment(const u16* w, const Frame& f, int m, int j) {
  const u16* p = w + (size_t)(f.rank * SLICE) * HIDDEN + f.warp * SLICE + (SLICE / 4) * f.q + 4 * j;
  uint2 low = load_global8(p + unit_of(2 * m, f.g) * HIDDEN), high = load_global8(p + unit_of(2 * m + 1, f.g) * HIDDEN);
  return uint4{low.x, high.x, low.y, high.y};
}

// Fragments of the blocks that stay in registers.
DEVICE void hold_mix(const Arguments& a, const Frame& f, uint4 (&held)[HELD_ROOM][MT][KT]) {
#pragma unroll
  for (int block = 0; block < HELD; ++block)
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int j = 0; j < KT; ++j) held[block][m][j] = mix_fragment(a.w_mix + (size_t)block * HIDDEN * HIDDEN, f, m, j);
}

// The lift's rows to shared memory, padded to LP.
DEVICE void preload_lift(const Arguments& a, const Frame& f, int thread) {
  if (LATENT == LP) {
#pragma unroll 8
    for (int e = thread; e < BLOCKS * LIFT_BYTES / 16; e += THREADS)
      copy_ahead16(f.smem + AT_LIFT + e * 16, a.w_lift + e * 8);
    return;
  }
#pragma unroll 1
  for (int row = thread; row < BLOCKS * HIDDEN; row += THREADS) {
    u32 pair[LP / 2];
#pragma unroll
    for (int n = 0; n < LP / 2; ++n) {
      const u16* p = a.w_lift + (size_t)row * LATENT + 2 * n;
      if (LATENT % 2 == 0)
        pair[n] = 2 * n < LATENT ? load_global4(p) : 0;
      else
        pair[n] = (2 * n < LATENT ? load_global2(p) : 0) | (2 * n + 1 < LATENT ? load_global2(p + 1) << 16 : 0);
    }
#pragma unroll
    for (int n = 0; n < LP / 2; n += 4)
      sts128(f.smem + AT_LIFT + row * (LP * 2) + n * 4, uint4{pair[n], pair[n + 1], pair[n + 2], pair[n + 3]});
  }
}

// The drop's slice as A fragments, padded to LP.
DEVICE void preload_drop(const Arguments& a, const Frame& f, int thread) {
#pragma unroll 4
  for (int e = thread; e < BLOCKS * DT * MT * 128; e += THREADS) {  // (block, m, k, lane, register)
    int r = e & 3, lane = e >> 2 & 31, k = (e >> 7) % MT, m = (e >> 7) / MT % DT, block = (e >> 7) / (MT * DT);
    int latent = 16 * m + (lane >> 2) + 8 * (r & 1), unit = unit_of(2 * k + (r >> 1), 2 * (lane & 3));
    const u16* p = a.w_drop + ((size_t)block * LATENT + latent) * HIDDEN + f.rank * SLICE + unit;
    sts32(f.smem + AT_DROP + e * 4, latent < LATENT ? load_global4(p) : 0);
  }
}

// Biases as float32, in the order of n-tiles.
DEVICE void preload_biases(const Arguments& a, const Frame& f, int thread) {
#pragma unroll 2
  for (int e = thread; e < BLOCKS * HIDDEN; e += THREADS)
    sts32(f.smem + AT_BIAS1 + e * 4, widen(load_global2(a.b1 + e / SLICE * SLICE + unit_of(e % SLICE / 8, e % 8))));
  for (int e = thread; e < BLOCKS * SLICE; e += THREADS) {
    int block = e / SLICE, unit = unit_of(e % SLICE / 8, e % 8);
    sts32(f.smem + AT_BIAS2 + e * 4, widen(load_global2(a.b2 + block * HIDDEN + f.rank * SLICE + unit)));
  }
}

// Fragments of the blocks that are not held.
DEVICE void preload_mix(const Arguments& a, const Frame& f) {
#pragma unroll 1
  for (int block = HELD; block < BLOCKS; ++block)
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int j = 0; j < KT; ++j)
        sts128(f.smem + AT_MIX + (block - HELD) * MIX_BYTES + ((f.warp * MT + m) * KT + j) * 512 + f.lane * 16,
               mix_fragment(a.w_mix + (size_t)block * HIDDEN * HIDDEN, f, m, j));
}

DEVICE void preload(const Arguments& a, const Frame& f, int thread) {
  preload_lift(a, f, thread);
  preload_drop(a, f, thread);
  if (!ADJOINT) preload_biases(a, f, thread);
  preload_mix(a, f);
  copy_wait();
}

// An n-tile of the lift as B operand.
template <int BLOCK>
DEVICE void lift_fragment(const Frame& f, int t, u32 (&w)[2 * KS]) {
  u32 at = f.smem + AT_LIFT + BLOCK * LIFT_BYTES + (f.warp * SLICE + unit_of(t, f.g)) * LP * 2 + f.q * (LP / 2);
  if (KS == 1) {
    uint2 v = lds64(at);
    w[0] = v.x, w[1] = v.y;
  } else {
#pragma unroll
    for (int s = 0; s < KS / 2; ++s) {
      uint4 v = lds128(at + 16 * s);
      w[4 * s] = v.x, w[4 * s + 1] = v.y, w[4 * s + 2] = v.z, w[4 * s + 3] = v.w;
    }
  }
}

// An A fragment of the mix, wherever it is.
template <int BLOCK>
DEVICE uint4 mix_operand(const Frame& f, const uint4 (&held)[HELD_ROOM][MT][KT], int m, int j) {
  if constexpr (BLOCK < HELD)
    return held[BLOCK][m][j];
  else
    return lds128(f.smem + AT_MIX + (BLOCK - HELD) * MIX_BYTES + ((f.warp * MT + m) * KT + j) * 512 + f.lane * 16);
}
