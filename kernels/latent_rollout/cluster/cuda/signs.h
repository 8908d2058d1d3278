// Signs of the hidden layers: a bit each, written forward by the lanes that will want them backward.
//
// Forward, a lane's units in the mix are its units in the lift backward and the other way round, so the bytes need no
// exchange. Layout: (block-step, cluster, 8, lane, 8); of h1 the 8s are warp and program, of h2 program and warp.
#pragma once

struct Signs {  // of the hidden layers of the next block-step backward
  uint2 lift;   // h2: what the lift's results are masked with
  u32 mix;      // h1
};

// Which of up to two operand pairs are positive (none is negative): bits 1 and 3 for x, 0 and 2 for y.
DEVICE u32 signs(u32 x, u32 y) {
  x = (x + 0x7fff7fffu) & 0x80008000u;
  y = (y + 0x7fff7fffu) & 0x80008000u;
  u32 z = x | y >> 1;
  return z >> 28 | (z >> 14 & 3);
}

// 0xffff in each half of a pair whose bit is set: byte `at` of `word`, pair x or y of signs().
DEVICE u32 keep(u32 word, int at, bool second) {
  u32 low = word << (second ? 7 : 6), high = word << (second ? 5 : 4);
  return prmt(low, high, (u32)(at | 8) * 0x11 | (u32)(at | 12) * 0x1100);
}

// Signs of block-step i: this warp's hidden units, and its job's units of the slice.
DEVICE Signs load_signs(const Arguments& a, const Frame& f, int i) {
  size_t at = ((size_t)i * f.groups + f.group) * 8;
  Signs s;
  s.lift = ahead_global8(a.signs_mix + ((at + f.warp) * 32 + f.lane) * 8);
  const u8* p = a.signs_lift + ((at + f.rank) * 32 + f.lane) * 8;
  if (HALVES == 1)
    s.mix = ahead_global2(p + f.warp / TILES * 2);
  else
    s.mix = ahead_global1(p + (has_job(f) ? f.warp / (2 * TILES) * 2 + f.warp % 2 : 0));
  return s;
}

// The mask of n-tile t, row tile r, of the lift: from the byte of the job that told these signs.
DEVICE u32 lift_mask(const Signs& s, int t, int r) {
  int byte = HALVES == 1 ? t / 2 * TILES + r : (t / 2 * TILES + r) * 2 + t % 2;
  return keep(byte < 4 ? s.lift.x : s.lift.y, byte & 3, HALVES == 1 && t % 2);
}

// The signs that this warp and lane tell of the lift and of the mix. Every program has all of the lift: each tells of
// one n-tile.
DEVICE void store_signs(const Arguments& a, const Frame& f, int i, const u32 (&lifted)[NT][TILES],
                        const u32 (&mixed)[2]) {
  const size_t at = ((size_t)i * f.groups + f.group) * 8;
  u8* of_lift = a.signs_lift + ((at + f.warp) * 32 + f.lane) * 8 + f.rank;
  u8* of_mix = a.signs_mix + ((at + f.rank) * 32 + f.lane) * 8 + f.warp;
  u32 pick[TILES];
#pragma unroll
  for (int r = 0; r < TILES; ++r) {
    pick[r] = lifted[0][r];
#pragma unroll
    for (int t = 1; t < NT; ++t) {
      const u32 value = lifted[t][r];  // a choice of values: one of addresses would send the array to local memory
      pick[r] = f.rank == t ? value : pick[r];
    }
  }
  if (NT == PROGRAMS || f.rank < NT) store_global1(of_lift, signs(pick[0], TILES > 1 ? pick[TILES - 1] : 0));
  if (has_job(f)) store_global1(of_mix, signs(mixed[0], mixed[1]));
}
