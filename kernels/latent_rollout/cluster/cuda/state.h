// The state, in float32, lives with its owners: the last warp of each program has TILES rows of it.
#pragma once

struct Owned {
  float x[PER][TILES], shift[BLOCKS][PER];  // the state; b3
  int latent[PER];
  bool live[PER][TILES];
  size_t cell[PER];
};

// The first state of the owned rows, to registers and to the output.
DEVICE void load_owned(const Arguments& a, const Frame& f, Owned& o) {
  const size_t size = (size_t)a.batch * LATENT;
  const size_t from = ADJOINT ? a.transitions * size : 0, to = ADJOINT ? (size_t)a.transitions * BLOCKS * size : 0;
  const int row = f.row0 + f.rank * TILES;
#pragma unroll
  for (int p = 0; p < PER; ++p) {
    int index = f.lane + 32 * p;  // in AT_PARTS: the order in which the drop's fragments send
    o.latent[p] = 16 * (index >> 4) + 8 * (index & 1) + (index >> 1 & 7);
    bool live = index < LP && o.latent[p] < LATENT;
    o.cell[p] = (size_t)row * LATENT + o.latent[p];
#pragma unroll
    for (int b = 0; b < BLOCKS; ++b) o.shift[b][p] = !ADJOINT && live ? load_float(a.b3 + b * LATENT + o.latent[p]) : 0;
#pragma unroll
    for (int r = 0; r < TILES; ++r) {
      o.live[p][r] = live && row + r < a.batch;
      size_t at = o.cell[p] + r * LATENT;
      o.x[p][r] = o.live[p][r] ? load_float(a.start + from + at) : 0;
      if (o.live[p][r]) store_float(a.states + to + at, o.x[p][r]);
    }
  }
}

// The owned rows, rounded to operands, to every program.
DEVICE void send(const Frame& f, const Owned& o) {
#pragma unroll
  for (int p = 0; p < PER; ++p) {
    const bool odd = o.latent[p] & 1;
    u32 pair;  // latents 2n and 2n + 1 of a row: with two rows, the even lane packs the first, the odd one the second
    if (TILES == 2) {
      float other = shfl_xor(odd ? o.x[p][0] : o.x[p][TILES - 1], 2);
      pair = odd ? pack(other, o.x[p][TILES - 1]) : pack(o.x[p][0], other);
    } else {
      pair = pack(o.x[p][0], shfl_xor(o.x[p][0], 2));
    }
    const int row = f.rank * TILES + (TILES == 2 && odd), n = o.latent[p] >> 1;
    const int lane = (row & 7) * 4 + n / (LP / 8), step = n % (LP / 8) / 2, half = n & 1;  // a lane reads LP / 8 pairs
    const u32 at = f.smem + AT_STATE + ((step * 32 + lane) * 2 * TILES + half * TILES + (row >> 3)) * 4;
    if ((TILES == 2 || !odd) && (LP >= 32 || f.lane < LP))
#pragma unroll
      for (int to = 0; to < PROGRAMS; ++to) st_async1(mapa(at, to), mapa(f.state_bar, to), pair);
  }
}

// The state as A operand, once it is here: rows g and g + 8, this lane's LP / 4 latents.
DEVICE void receive_state(const Arguments& a, const Frame& f, u32 turn, u32 (&x)[KS][4]) {
  mbar_wait(f.state_bar, turn & 1);
  mark(a, f, turn, STATE_SEEN);
  if (f.warp == 0 && f.lane == 0) mbar_expect(f.state_bar, STATE_BYTES);
#pragma unroll
  for (int k = 0; k < KS; ++k) {
    u32 at = f.smem + AT_STATE + (k * 32 + f.lane) * 8 * TILES;
    if (TILES == 2) {
      uint4 v = lds128(at);
      x[k][0] = v.x, x[k][1] = v.y, x[k][2] = v.z, x[k][3] = v.w;
    } else {
      uint2 v = lds64(at);
      x[k][0] = v.x, x[k][1] = 0, x[k][2] = v.y, x[k][3] = 0;
    }
  }
}

// What every program added to owned latent `index`, always summed in the same order.
DEVICE void add_parts(const Frame& f, int index, float (&x)[TILES]) {
  float y[PROGRAMS][TILES];
#pragma unroll
  for (int s = 0; s < PROGRAMS; ++s) {
    u32 at = f.smem + AT_PARTS + (s * LP + index) * (TILES * 4);
    if (TILES == 2) {
      uint2 v = lds64(at);
      y[s][0] = as_float(v.x), y[s][TILES - 1] = as_float(v.y);
    } else {
      y[s][0] = as_float(lds32(at));
    }
  }
#pragma unroll
  for (int r = 0; r < TILES; ++r)
    x[r] = ((y[0][r] + y[1][r]) + (y[2][r] + y[3][r])) + ((y[4][r] + y[5][r]) + (y[6][r] + y[7][r]));
}

// The sums that make state i + 1 (adjoint: i) from every program, then the new state to every program.
DEVICE void advance_owned(const Arguments& a, const Frame& f, Owned& o, int i, int block, u32 turn) {
  const size_t size = (size_t)a.batch * LATENT, to = (size_t)(ADJOINT ? i : i + 1) * size;
  float extra[PER][TILES];  // b3; adjoint: dLoss/dT, which enters at a transition's first block
#pragma unroll
  for (int p = 0; p < PER; ++p)
#pragma unroll
    for (int r = 0; r < TILES; ++r)
      if (ADJOINT)
        extra[p][r] = block == 0 && o.live[p][r]
                          ? load_float(a.start + (size_t)(i / BLOCKS) * size + o.cell[p] + r * LATENT)
                          : 0;
      else
        extra[p][r] = o.shift[block][p];
  mbar_wait(f.parts_bar, turn & 1);
  mark(a, f, turn, PARTS_SEEN);
  if (f.lane == 0) mbar_expect(f.parts_bar, PARTS_BYTES);
#pragma unroll
  for (int p = 0; p < PER; ++p)
    if (LP >= 32 || f.lane < LP) {
      float sum[TILES];
      add_parts(f, f.lane + 32 * p, sum);
#pragma unroll
      for (int r = 0; r < TILES; ++r) o.x[p][r] += sum[r] + extra[p][r];
    }
  if (turn + 1 < (u32)(a.transitions * BLOCKS)) send(f, o);
  mark(a, f, turn, STATE_SENT);
#pragma unroll
  for (int p = 0; p < PER; ++p)
#pragma unroll
    for (int r = 0; r < TILES; ++r)
      if (o.live[p][r]) store_float(a.states + to + o.cell[p] + r * LATENT, o.x[p][r]);
}
