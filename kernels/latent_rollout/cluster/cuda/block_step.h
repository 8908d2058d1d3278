// One block-step, phase by phase. Two barriers: before the sum over warps, and before the drop.
#pragma once

// What the lift needs beside the state; read before the state arrives.
struct LiftAhead {
  u32 weights[EARLY][2 * KS];
  uint2 bias[NT];
};

template <int BLOCK>
DEVICE void read_ahead(const Frame& f, LiftAhead& ahead) {
#pragma unroll
  for (int t = 0; t < EARLY; ++t) lift_fragment<BLOCK>(f, t, ahead.weights[t]);
  if (!ADJOINT)
#pragma unroll
    for (int t = 0; t < NT; ++t)
      ahead.bias[t] = lds64(f.smem + AT_BIAS1 + BLOCK * BIAS1_BYTES + (f.warp * SLICE + 8 * t + 2 * f.q) * 4);
}

// The lift, of this warp's hidden units: its results (rows, hidden) are, packed, the mix's B operands (hidden, rows).
template <int BLOCK>
DEVICE void lift(const Frame& f, const LiftAhead& ahead, const u32 (&x)[KS][4], const Signs& s,
                 u32 (&lifted)[NT][TILES]) {
#pragma unroll
  for (int t = 0; t < NT; ++t) {
    u32 w[2 * KS];
    if (t < EARLY) {
#pragma unroll
      for (int k = 0; k < 2 * KS; ++k) w[k] = ahead.weights[t < EARLY ? t : 0][k];
    } else {
      lift_fragment<BLOCK>(f, t, w);
    }
    float c[4] = {0, 0, 0, 0};
    if (!ADJOINT) {
      c[0] = as_float(ahead.bias[t].x), c[1] = as_float(ahead.bias[t].y);
      if (TILES > 1) c[2] = c[0], c[3] = c[1];
    }
#pragma unroll
    for (int k = 0; k < KS; ++k) mma(c, x[k][0], x[k][1], x[k][2], x[k][3], w[2 * k], w[2 * k + 1]);
#pragma unroll
    for (int r = 0; r < TILES; ++r)
      lifted[t][r] = ADJOINT ? pack(c[2 * r], c[2 * r + 1]) & lift_mask(s, t, r) : pack_relu(c[2 * r], c[2 * r + 1]);
  }
}

// The mix: this warp's part of the sum to shared memory, two m-tiles at a time, so that the first are stored while the
// last are made.
template <int BLOCK>
DEVICE void mix(const Frame& f, const uint4 (&held)[HELD_ROOM][MT][KT], const u32 (&lifted)[NT][TILES]) {
#pragma unroll
  for (int m0 = 0; m0 < MT; m0 += 2) {
    float c[2][TILES][4] = {};
#pragma unroll
    for (int j = 0; j < KT; ++j)
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        uint4 w = mix_operand<BLOCK>(f, held, m0 + m, j);
#pragma unroll
        for (int r = 0; r < TILES; ++r) mma(c[m][r], w.x, w.y, w.z, w.w, lifted[2 * j][r], lifted[2 * j + 1][r]);
      }
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int r = 0; r < TILES; ++r) {
        u32 at = f.smem + AT_SUMS + f.warp * SUM_BYTES + ((m0 + m) * TILES + r) * 512 + f.lane * (VALUES * 4);
        if (HALVES == 1) {
          sts128(at, uint4{as_u32(c[m][r][0]), as_u32(c[m][r][1]), as_u32(c[m][r][2]), as_u32(c[m][r][3])});
        } else {
          sts64(at, uint2{as_u32(c[m][r][0]), as_u32(c[m][r][1])});
          sts64(at + 256, uint2{as_u32(c[m][r][2]), as_u32(c[m][r][3])});
        }
      }
  }
}

// What a warp's job and its tile of the drop need beside the sums, read before the barrier.
template <int BLOCK>
DEVICE void read_ahead(const Frame& f, float (&bias)[2], uint4 (&weights)[MT]) {
  const Job job = job_of(f);
  if (!ADJOINT && has_job(f))
#pragma unroll
    for (int h = 0; h < 3 - HALVES; ++h) {
      int tile = 2 * job.m + (HALVES == 1 ? h : job.half);
      bias[h] = as_float(lds32(f.smem + AT_BIAS2 + (BLOCK * SLICE + 8 * tile + f.g) * 4));
    }
  if (has_drop(f))
#pragma unroll
    for (int k = 0; k < MT; ++k)
      weights[k] = lds128(f.smem + AT_DROP + BLOCK * DROP_BYTES + (f.warp / TILES * MT + k) * 512 + f.lane * 16);
}

// The sum over warps, always in the same order, and what follows it: bias and ReLU, or the mask. movmatrix turns units
// by rows into rows by units, the drop's B operand.
DEVICE void sum_over_warps(const Frame& f, const float (&bias)[2], const Signs& s, u32 (&mixed)[2]) {
  const Job job = job_of(f);
  float y[WARPS][VALUES], c[VALUES];
#pragma unroll
  for (int w = 0; w < WARPS; ++w) {
    u32 at = f.smem + AT_SUMS + w * SUM_BYTES + f.warp * (VALUES * 128) + f.lane * (VALUES * 4);
    if (HALVES == 1) {
      uint4 v = lds128(at);
      y[w][0] = as_float(v.x), y[w][1] = as_float(v.y);
      y[w][VALUES - 2] = as_float(v.z), y[w][VALUES - 1] = as_float(v.w);
    } else {
      uint2 v = lds64(at);
      y[w][0] = as_float(v.x), y[w][1] = as_float(v.y);
    }
  }
#pragma unroll
  for (int v = 0; v < VALUES; ++v)
    c[v] = ((y[0][v] + y[1][v]) + (y[2][v] + y[3][v])) + ((y[4][v] + y[5][v]) + (y[6][v] + y[7][v]));
#pragma unroll
  for (int h = 0; h < 3 - HALVES; ++h) {
    if (ADJOINT)
      mixed[h] = movmatrix(pack(c[2 * h], c[2 * h + 1])) &
                 (TILES > 1 && job.r ? keep(s.mix, h, true) : keep(s.mix, h, false));
    else
      mixed[h] = movmatrix(pack_relu(c[2 * h] + bias[h], c[2 * h + 1] + bias[h]));
  }
  u32 to = f.smem + AT_MIXED + (job.r * MT + job.m) * 256 + f.lane * 8;
  if (HALVES == 1)
    sts64(to, uint2{mixed[0], mixed[1]});
  else
    sts32(to + 4 * job.half, mixed[0]);
}

// A tile of the drop, whose rows go to their owners.
DEVICE void drop(const Frame& f, const uint4 (&weights)[MT]) {
  const int m = f.warp / TILES, r = f.warp % TILES;
  float c[2][4] = {};  // two chains
#pragma unroll
  for (int k = 0; k < MT; ++k) {
    uint2 v = lds64(f.smem + AT_MIXED + (r * MT + k) * 256 + f.lane * 8);
    mma(c[k & 1], weights[k].x, weights[k].y, weights[k].z, weights[k].w, v.x, v.y);
  }
#pragma unroll
  for (int v = 0; v < 4; ++v) c[0][v] += c[1][v];
  u32 at = f.smem + AT_PARTS + (f.rank * LP + (m * 8 + f.g) * 2) * (TILES * 4);
  if (TILES == 2) {
    u32 to = 4 * r + f.q;
    st_async4(mapa(at, to), mapa(f.parts_bar, to), c[0][0], c[0][1], c[0][2], c[0][3]);
  } else {
    st_async2(mapa(at, 2 * f.q), mapa(f.parts_bar, 2 * f.q), c[0][0], c[0][2]);
    st_async2(mapa(at, 2 * f.q + 1), mapa(f.parts_bar, 2 * f.q + 1), c[0][1], c[0][3]);
  }
}

// Both hidden layers for the weight gradients. Every program has all of the lift: each stores one row of eight.
template <int BLOCK>
DEVICE void save(const Arguments& a, const Frame& f, int step, const u32 (&lifted)[NT][TILES],
                 const u32 (&mixed)[2]) {
  const Job job = job_of(f);
  const size_t base = ((size_t)BLOCK * f.transitions + step) * f.batch;  // rows before this step's
  if (f.g == f.rank)
#pragma unroll
    for (int r = 0; r < TILES; ++r)
      if (f.row0 + 8 * r + f.g < f.batch) {
        u16* p = a.out_lift + (base + f.row0 + 8 * r + f.g) * HIDDEN + f.warp * SLICE + (SLICE / 4) * f.q;
#pragma unroll
        for (int t = 0; t < NT; t += 4)
          store_global16(p + 2 * t, uint4{lifted[t][r], lifted[t + 1][r], lifted[t + 2][r], lifted[t + 3][r]});
      }
  const int row = f.row0 + 8 * job.r + f.g;
  if (has_job(f) && row < f.batch) {
    u16* p = a.out_mix + (base + row) * HIDDEN + f.rank * SLICE + (SLICE / 4) * f.q + 4 * job.m;
    if (HALVES == 1)
      store_global8(p, uint2{mixed[0], mixed[1]});
    else
      store_global4(p + 2 * job.half, mixed[0]);
  }
}

template <int BLOCK>
DEVICE void block_step(const Arguments& a, const Frame& f, const uint4 (&held)[HELD_ROOM][MT][KT], Owned& o, int step,
                       u32 turn, Signs& s) {
  const int i = step * BLOCKS + BLOCK;
  LiftAhead for_lift;
  u32 x[KS][4], lifted[NT][TILES], mixed[2] = {0, 0};
  mark(a, f, turn, BEGUN);
  read_ahead<BLOCK>(f, for_lift);
  receive_state(a, f, turn, x);
  lift<BLOCK>(f, for_lift, x, s, lifted);
  mix<BLOCK>(f, held, lifted);
  float bias[2] = {0, 0};
  uint4 weights[MT];
  read_ahead<BLOCK>(f, bias, weights);
  mark(a, f, turn, SUMS_STORED);
  bar_sync(1, THREADS);
  mark(a, f, turn, BARRIER_1);
  if (has_job(f)) sum_over_warps(f, bias, s, mixed);
  mark(a, f, turn, MIX_STORED);
  if (has_drop(f)) {
    bar_sync(2, THREADS);
    mark(a, f, turn, BARRIER_2);
    drop(f, weights);
    mark(a, f, turn, DROP_SENT);
  } else {
    bar_arrive(2, THREADS);
  }
  if (f.warp == OWNER) advance_owned(a, f, o, i, BLOCK, turn);
  // While the state is on its way.
  if (SAVE) {
    save<BLOCK>(a, f, step, lifted, mixed);
    if (!ADJOINT) store_signs(a, f, i, lifted, mixed);
  }
  if (ADJOINT) s = load_signs(a, f, i > 0 ? i - 1 : 0);
  mark(a, f, turn, ENDED);
}
